//! What a project's database can do besides, and who may give it that.

use serde::Serialize;

use super::with_database;
use crate::{
    commands::{Context, checkpoint::take},
    error::{Error, Result},
    names::{ProjectName, nearest},
    registry::Project,
    sys::database_info::Available,
    ui::{Column, Paint, Table, width},
};

/// List the extensions that a project's database has or may get
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db extensions my-shop
  hostkit db extensions my-shop --all")]
pub struct ListArgs {
    /// Project whose extensions to list
    pub name: String,

    /// Also those that it may not get
    #[arg(long)]
    all: bool,
}

/// Give a project's database an extension
///
/// Those that PostgreSQL trusts are made with the project's own rights. Others only a superuser
/// can make: an operator names them in `postgres.extensions`, and each is made in a schema of its
/// own that is not the project's.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db enable-extension my-shop pgcrypto
  hostkit config set postgres.extensions '[\"postgis\"]' && hostkit db enable-extension my-shop postgis")]
pub struct EnableArgs {
    /// Project whose database is to get it
    pub name: String,

    /// The extension: `hostkit db extensions` names them
    extension: String,
}

#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    extension: Available,
    /// enabled, available or refused
    state: &'static str,
}

#[derive(Serialize)]
struct Enabled<'a> {
    extension: &'a str,
    schema: &'a str,
    /// Whether it was not there before.
    made: bool,
}

fn is_allowed(cx: &Context, one: &Available) -> bool {
    one.trusted || cx.config.postgres.extensions.contains(&one.name)
}

pub(super) fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    with_database(cx, &name)?;
    let mut lines = Vec::new();
    for extension in cx.host.available_extensions(&name.database())? {
        let state = match extension.installed {
            Some(_) => "enabled",
            None if is_allowed(cx, &extension) => "available",
            None => "refused",
        };
        if args.all || state != "refused" {
            lines.push(Line { extension, state });
        }
    }
    let mut table = Table::new(vec![
        Column::left("EXTENSION"),
        Column::left("VERSION"),
        Column::left("STATE"),
        Column::left("ABOUT").gives_way_to(20),
    ]);
    for Line { extension, state } in &lines {
        let version = extension.installed.as_ref().unwrap_or(&extension.version);
        table.row(vec![
            extension.name.clone(),
            version.clone(),
            (*state).to_owned(),
            extension.about.clone(),
        ]);
    }
    let text = table.render(Paint::of(&std::io::stdout()), width());
    cx.ui.result("db extensions", Some(name.as_str()), &lines, &text);
    Ok(())
}

pub(super) fn enable(args: &EnableArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    with_database(cx, &name)?;
    let held = cx.take_project(&name, "db enable-extension")?;
    let project = with_database(cx, &name)?;
    let wanted = args.extension.as_str();
    let all = cx.host.available_extensions(&name.database())?;
    let Some(one) = all.iter().find(|one| one.name == wanted) else {
        return Err(unknown(wanted, &all));
    };
    let made = one.installed.is_none();
    if made {
        let done = make(cx, &project, one);
        let told = done.as_ref().copied().map_err(|e| Error::failed(e.to_string()));
        let _ = cx.record(Some(&name), "db enable-extension", told);
        done?;
    }
    drop(held);
    let info = cx.host.database_info(&name.database())?;
    let schema = info
        .and_then(|info| info.extensions.into_iter().find(|one| one.name == wanted))
        .map(|one| one.schema)
        .unwrap_or_default();
    let already = if made { "" } else { " already" };
    let mut text = format!("{name} has {wanted}{already}, in the schema {schema}\n");
    if !matches!(schema.as_str(), "public" | "pg_catalog") {
        text.push_str(&format!(
            "so that its names are found without the schema's:\n  hostkit db shell {name} -c 'ALTER DATABASE {} SET search_path = \"$user\", public, {schema}'\n",
            name.database()
        ));
    }
    let data = Enabled { extension: wanted, schema: &schema, made };
    cx.ui.result("db enable-extension", Some(name.as_str()), &data, &text);
    Ok(())
}

fn make(cx: &Context, project: &Project, one: &Available) -> Result<()> {
    let (name, database) = (&project.name, project.name.database());
    if one.trusted {
        let login = take::login(cx, project)?;
        return cx.host.make_extension(&database, &login, &one.name);
    }
    if !is_allowed(cx, one) {
        return Err(Error::conflict("not_allowed", format!("{name} may not get the extension {}", one.name))
            .caused_by("only a superuser can make it: whoever may use it may reach more than a database")
            .hint("an operator can allow it for all projects: `postgres.extensions` in /etc/hostkit/hostkit.toml"));
    }
    // The script would look for names there too, with a superuser's rights.
    let foreign = cx.host.foreign_schemas(&database, &one.requires)?;
    if !foreign.is_empty() {
        return Err(Error::conflict(
            "unsafe",
            format!("the extension {} can't be made safely", one.name),
        )
        .caused_by(format!(
            "it needs {}, which {} has in {}: the project may put what it likes there",
            one.requires.join(", "),
            database,
            foreign.join(", ")
        ))
        .hint("take that extension away, allow it too, and enable it first"));
    }
    cx.host.give_new_extension(&database, &name.role(), &one.name)
}

fn unknown(wanted: &str, all: &[Available]) -> Error {
    let message = format!("PostgreSQL has no extension `{}` here", wanted.escape_debug());
    let error = Error::missing("no_extension", message);
    match nearest(wanted, all.iter().map(|one| one.name.as_str())) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint("`hostkit db extensions --all` lists them; others come with packages: `apt-cache search ^postgresql-`"),
    }
}
