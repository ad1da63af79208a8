//! What is in a project's database in MariaDB.

use std::collections::HashMap;

use serde::Serialize;

use super::super::info::{Connections, Line};
use crate::{
    commands::Context,
    error::{Error, Result},
    registry::Project,
    sys::mysql::{Table, identifier},
    ui::{self, Column, Paint, bytes, count, width},
};

#[derive(Serialize)]
struct Info {
    engine: &'static str,
    name: String,
    login: String,
    size: u64,
    server: String,
    connections: Connections,
    tables: Vec<Table>,
}

/// Lines of `db list`, of those projects that have one.
pub(in crate::commands::db) fn lines(cx: &Context, projects: &[Project]) -> Result<Vec<Line>> {
    let projects: Vec<&Project> = projects.iter().filter(|project| project.mysql).collect();
    if projects.is_empty() {
        return Ok(Vec::new());
    }
    let sizes: HashMap<String, u64> = cx.host.mysql_sizes()?.into_iter().collect();
    let sessions: HashMap<String, u64> = cx.host.mysql_sessions()?.into_iter().collect();
    let limit = cx.config.mysql.connections;
    Ok(projects
        .into_iter()
        .map(|project| {
            let (database, login) = (project.name.database(), project.name.role());
            let used = sessions.get(&login).copied().unwrap_or(0);
            Line {
                project: project.name.to_string(),
                engine: "mariadb",
                size: sizes.get(&database).copied(),
                connections: Connections { used: used.cast_signed(), limit },
                database,
                login,
            }
        })
        .collect())
}

pub(in crate::commands::db) fn info(cx: &Context, project: &Project) -> Result<()> {
    let name = &project.name;
    let (database, login) = (name.database(), name.role());
    if !cx.host.mysql_database(&database)? {
        return Err(Error::missing("no_database", format!("the database `{database}` is gone"))
            .hint(format!("see `hostkit drift {name}`, `hostkit checkpoint list {name}`")));
    }
    let sessions = cx.host.mysql_sessions()?;
    let used = sessions.iter().find(|(user, _)| *user == login).map_or(0, |(_, n)| *n);
    let limit = cx.host.mysql_account(&login)?.map_or(0, |is| is.connections);
    let info = Info {
        engine: "mariadb",
        size: cx.host.mysql_size(&database)?,
        server: cx.host.mysql_version()?,
        connections: Connections {
            used: used.cast_signed(),
            limit: u32::try_from(limit).unwrap_or(0),
        },
        tables: cx.host.mysql_table_list(&database)?,
        name: database,
        login,
    };
    cx.ui.result("db info", Some(name.as_str()), &info, &render(&info));
    Ok(())
}

fn render(info: &Info) -> String {
    let Info { name, login, size, server, connections, tables, .. } = info;
    let told = |what: &str, value: String| format!("{what:<12} {value}\n");
    let mut text = told("database", name.clone());
    text += &told("login", login.clone());
    text += &told("size", bytes(*size));
    text += &told("connections", format!("{} of {}", connections.used, connections.limit));
    text += &told("server", format!("MariaDB {server}"));
    text += &told("tables", count(tables.len(), "table"));
    if tables.is_empty() {
        return text;
    }
    let mut table = ui::Table::new(vec![
        Column::left("TABLE").gives_way_to(20),
        Column::right("ROWS (ABOUT)"),
        Column::right("SIZE"),
    ]);
    for one in tables {
        // Names are the project's to choose, and go to somebody's terminal.
        let name = identifier(&one.name).escape_debug().to_string();
        table.row(vec![name.trim_matches('`').to_owned(), one.rows.to_string(), bytes(one.size)]);
    }
    text + "\n" + &table.render(Paint::of(&std::io::stdout()), width())
}
