//! Which secrets there are, how they are, and the one value that somebody asks for.

use serde::Serialize;

use super::{check_name, values};
use crate::{
    commands::Context,
    error::{Error, Result},
    names::ProjectName,
    registry::SecretRow,
    ui::{Column, Paint, Table, ago, count, width},
};

/// List a project's secrets, without their values
///
/// live: processes have it. waiting: the next deploy brings it. going: the next deploy takes it
/// away. missing: a deploy needs it, and nobody has set it. unset: defined, and not set.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets list my-shop
  ssh my-shop@server hostkit secrets list")]
pub struct ListArgs {
    /// Project whose secrets to list
    pub name: String,
}

/// Print the value of a secret
///
/// It is noted who asked. The value is what the next deploy brings.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets show my-shop SMTP_PASSWORD")]
pub struct ShowArgs {
    /// Project that it is of
    pub name: String,
    /// The secret
    secret: String,
}

/// Say which secrets are missing, malformed or damaged
///
/// Exits with 2 if any is, as a deploy would.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit secrets verify my-shop
  ssh my-shop@server hostkit secrets verify --json")]
pub struct VerifyArgs {
    /// Project whose secrets to look at
    pub name: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Going,
    Live,
    Missing,
    Unset,
    Waiting,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    row: &'a SecretRow,
    state: State,
    /// How processes see it: env or file.
    r#as: &'static str,
}

/// What there is to say of a secret.
#[derive(Serialize)]
pub(super) struct Finding {
    pub name: String,
    pub is_fine: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

fn state(row: &SecretRow) -> State {
    match (row.version, row.live_version) {
        (Some(version), Some(live)) if version == live => State::Live,
        (Some(_), _) => State::Waiting,
        (None, _) if row.required => State::Missing,
        (None, Some(_)) => State::Going,
        (None, None) => State::Unset,
    }
}

pub(super) fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let rows = cx.registry()?.secrets(&name)?;
    let files = project.live.map(|live| live.spec.secret_files).unwrap_or_default();
    let form = |row: &SecretRow| if files.contains(&row.name) { "file" } else { "env" };
    let all: Vec<Listed<'_>> =
        rows.iter().map(|row| Listed { row, state: state(row), r#as: form(row) }).collect();
    let mut table = Table::new(vec![
        Column::left("SECRET"),
        Column::left("STATE"),
        Column::right("VERSION"),
        Column::left("SET"),
        Column::left("BY").extra(),
        Column::left("KIND"),
        Column::left("AS"),
        Column::left("FOR").gives_way_to(10),
    ]);
    let word = |state: State| match state {
        State::Going => "going",
        State::Live => "live",
        State::Missing => "missing",
        State::Unset => "unset",
        State::Waiting => "waiting",
    };
    for Listed { row, state, r#as } in &all {
        table.row(vec![
            row.name.clone(),
            word(*state).to_owned(),
            row.version.map_or("-".into(), |version| version.to_string()),
            row.set_at.map_or("-".into(), ago),
            row.set_by.clone().unwrap_or_default(),
            row.kind.to_string(),
            (*r#as).to_owned(),
            row.about.clone(),
        ]);
    }
    let text = if all.is_empty() {
        format!("{name} has no secrets; set one: hostkit secrets set {name} KEY\n")
    } else {
        table.render(Paint::of(&std::io::stdout()), width())
    };
    cx.ui.result("secrets list", Some(name.as_str()), &all, &text);
    Ok(())
}

pub(super) fn show(args: &ShowArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    check_name(&args.secret)?;
    if cx.ui.voice.json {
        return Err(Error::usage(
            "no_json",
            "`secrets show` has no JSON: a value is no part of a document",
        )
        .hint(format!("leave `--json` out: `hostkit secrets show {name} {}`", args.secret)));
    }
    cx.registry()?.project(&name)?;
    let value = values::show(cx, &name, &args.secret)?;
    cx.record(Some(&name), "secrets show", Ok(()))?;
    cx.ui.say(&format!("{}\n", value.expose()));
    Ok(())
}

/// Each secret that is set or has to be, and whether it is right.
pub(super) fn findings(cx: &mut Context, name: &ProjectName) -> Result<(Vec<Finding>, usize)> {
    let project = cx.registry()?.project(name)?;
    let rows = cx.registry()?.secrets(name)?;
    let files = project.live.map(|live| live.spec.secret_files).unwrap_or_default();
    let mut all = Vec::new();
    for row in &rows {
        let why = match row.version {
            Some(version) => {
                let versions = [(row.name.clone(), version)].into();
                match values::open(cx, name, &versions) {
                    Ok(opened) => opened
                        .get(&row.name)
                        .and_then(|(_, value)| row.kind.check(value.expose()).err())
                        .map(str::to_owned),
                    // Of one value; whatever else keeps us from reading concerns all of them.
                    Err(error) if error.code == "altered" => Some(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
            None if row.required => Some("it is required, and not set".into()),
            None if files.contains(&row.name) => {
                Some("processes read it, and it is not set".into())
            }
            None => continue,
        };
        all.push(Finding { name: row.name.clone(), is_fine: why.is_none(), why });
    }
    for file in files.iter().filter(|file| !rows.iter().any(|row| row.name == **file)) {
        let why = Some("processes read it, and it is not set".to_owned());
        all.push(Finding { name: file.clone(), is_fine: false, why });
    }
    let bad = all.iter().filter(|one| !one.is_fine).count();
    Ok((all, bad))
}

pub(super) fn verify(args: &VerifyArgs, cx: &mut Context) -> Result<bool> {
    let name: ProjectName = args.name.parse()?;
    let (all, bad) = findings(cx, &name)?;
    let mut text = String::new();
    for Finding { name: key, why, .. } in &all {
        if let Some(why) = why {
            text.push_str(&format!("{key}: {why}\n"));
        }
    }
    match (all.len(), bad) {
        (0, _) => text.push_str(&format!("{name} has no secrets\n")),
        (n, 0) => text.push_str(&format!("{} as they have to be\n", count(n, "secret"))),
        (_, _) => text.push_str(&format!("Next:  hostkit secrets set {name} KEY\n")),
    }
    cx.ui.result("secrets verify", Some(name.as_str()), &all, &text);
    Ok(bad == 0)
}
