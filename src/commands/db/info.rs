//! What databases there are, and what is in one.

use std::collections::HashMap;

use serde::Serialize;

use super::mysql::{self, Engine, Which};
use crate::{
    commands::Context,
    error::{Error, Result},
    projects,
    sys::database_info::DatabaseInfo,
    ui::{Column, Paint, Table, bytes, count, width},
};

/// List the databases of all projects
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db list
  hostkit db list --json | jq '.data[] | select(.size > 1000000000)'")]
pub struct ListArgs {}

/// Show a project's database: its size, tables, connections and extensions
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db info my-shop
  hostkit db info my-shop --json | jq .data.connections")]
pub struct InfoArgs {
    /// Project whose database to show
    pub name: String,

    #[command(flatten)]
    which: Which,
}

#[derive(Serialize)]
pub(super) struct Line {
    pub(super) project: String,
    pub(super) engine: &'static str,
    pub(super) database: String,
    pub(super) login: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    pub(super) connections: Connections,
}

#[derive(Serialize)]
pub(super) struct Connections {
    pub(super) used: i64,
    pub(super) limit: u32,
}

#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    database: DatabaseInfo,
    login: String,
    connections: Connections,
}

/// The role that a project's `.env` names.
fn login_of(cx: &Context, project: &crate::registry::Project) -> Result<String> {
    let env = cx.host.read_text(&project.name.env_file())?.unwrap_or_default();
    let login = projects::database_login(&project.name, &env);
    Ok(login.map_or_else(|| project.name.role(), |(role, _)| role))
}

pub(super) fn list(_: &ListArgs, cx: &mut Context) -> Result<()> {
    let mut projects = cx.registry()?.projects()?;
    let in_mysql = mysql::lines(cx, &projects)?;
    projects.retain(|project| project.postgres);
    let limit = cx.config.postgres.connections;
    let mut sizes = HashMap::new();
    let mut sessions = HashMap::new();
    if !projects.is_empty() {
        let sql = "SELECT datname::text, pg_database_size(oid) FROM pg_database WHERE NOT datistemplate OR datallowconn";
        for row in cx.host.query(sql, &[])? {
            sizes.insert(row.get::<_, String>(0), u64::try_from(row.get::<_, i64>(1)).unwrap_or(0));
        }
        let sql = "SELECT usename::text, count(*) FROM pg_stat_activity WHERE usename IS NOT NULL GROUP BY 1";
        for row in cx.host.query(sql, &[])? {
            sessions.insert(row.get::<_, String>(0), row.get::<_, i64>(1));
        }
    }
    let mut lines = Vec::new();
    for project in &projects {
        let name = &project.name;
        let used = [name.role(), name.second_role()];
        let used = used.iter().filter_map(|role| sessions.get(role)).sum();
        lines.push(Line {
            project: name.to_string(),
            engine: "postgresql",
            database: name.database(),
            login: login_of(cx, project)?,
            size: sizes.get(&name.database()).copied(),
            connections: Connections { used, limit },
        });
    }
    lines.extend(in_mysql);
    lines.sort_by(|one, other| one.project.cmp(&other.project));
    let mut table = Table::new(vec![
        Column::left("PROJECT"),
        Column::left("ENGINE").extra(),
        Column::left("DATABASE"),
        Column::left("LOGIN").extra(),
        Column::right("SIZE"),
        Column::right("CONNECTIONS"),
    ]);
    for line in &lines {
        table.row(vec![
            line.project.clone(),
            line.engine.into(),
            line.database.clone(),
            line.login.clone(),
            line.size.map_or("missing".into(), bytes),
            format!("{} of {}", line.connections.used, line.connections.limit),
        ]);
    }
    let text = if lines.is_empty() {
        "no project has a database\n".into()
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    cx.ui.result("db list", None, &lines, &text);
    Ok(())
}

pub(super) fn info(args: &InfoArgs, cx: &mut Context) -> Result<()> {
    let name = args.name.parse()?;
    let (project, engine) = args.which.of(cx, &name)?;
    if engine == Engine::Mysql {
        return mysql::info(cx, &project);
    }
    let database = cx.host.database_info(&name.database())?.ok_or_else(|| {
        Error::missing("no_database", format!("the database `{}` is gone", name.database()))
            .hint(format!("see `hostkit drift {name}`, `hostkit checkpoint list {name}`"))
    })?;
    let (used, limit) = cx.host.sessions_of(&[&name.role(), &name.second_role()])?;
    let connections = Connections { used, limit: u32::try_from(limit).unwrap_or(0) };
    let info = Info { database, login: login_of(cx, &project)?, connections };
    cx.ui.result("db info", Some(name.as_str()), &info, &render(&info));
    Ok(())
}

fn render(info: &Info) -> String {
    let Info { database, login, connections } = info;
    let told = |what: &str, value: String| format!("{what:<12} {value}\n");
    let extensions: Vec<String> =
        database.extensions.iter().map(|one| format!("{} {}", one.name, one.version)).collect();
    let mut text = told("database", database.name.clone());
    text += &told("owner", database.owner.clone());
    text += &told("login", login.clone());
    text += &told("size", bytes(database.size));
    text += &told("connections", format!("{} of {}", connections.used, connections.limit));
    text += &told("server", format!("PostgreSQL {}, {}", database.server, database.encoding));
    text += &told("extensions", extensions.join(", "));
    text += &told("tables", count(database.tables.len(), "table"));
    if database.tables.is_empty() {
        return text;
    }
    let mut table = Table::new(vec![
        Column::left("TABLE").gives_way_to(20),
        Column::right("ROWS (ABOUT)"),
        Column::right("SIZE"),
    ]);
    for one in &database.tables {
        // Names are the project's to choose, and go to somebody's terminal.
        let name = format!("{}.{}", one.schema.escape_debug(), one.name.escape_debug());
        table.row(vec![name, one.rows.to_string(), bytes(one.size)]);
    }
    text + "\n" + &table.render(Paint::of(&std::io::stdout()), width())
}
