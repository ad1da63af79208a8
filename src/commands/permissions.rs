//! `hostkit permissions`: who may do what on a project, and whether the server holds to it.

use serde::Serialize;

use super::{Context, app};
use crate::{
    caller::{Access, TABLE},
    error::Result,
    names::ProjectName,
    plan::differences,
    projects,
    registry::Project,
    sys::{sudo, users},
    ui::{Paint, count},
};

/// Show who may do what on a project, and prove it
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Grant(app::GrantArgs),
    Revoke(app::RevokeArgs),
    Show(ShowArgs),
    Verify(VerifyArgs),
}

/// Show who may do what on a project
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit permissions show my-shop
  hostkit permissions show my-shop --json")]
pub struct ShowArgs {
    /// Project to show
    pub name: String,
}

/// Prove that a project's user may do what it should, and nothing else
///
/// Asks sudo itself what it grants, has it check all of its rules, and compares keys, rules,
/// their owners and modes with what hostkit made. Exits with 1 where something differs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit permissions verify my-shop
  hostkit permissions verify my-shop --json | jq '.data.checks[] | select(.holds | not)'")]
pub struct VerifyArgs {
    /// Project to verify
    pub name: String,
}

#[derive(Serialize)]
struct Rights {
    user: String,
    uid: u32,
    operators: Operators,
    /// Whole command lines that sudo takes.
    sudo: Vec<String>,
    /// What the gate takes, each for this project alone.
    gate: Vec<&'static str>,
    /// What its own processes may ask for.
    app: Vec<String>,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Operators {
    group: String,
    members: Vec<String>,
}

#[derive(Serialize)]
struct Key {
    fingerprint: String,
    comment: String,
    /// What it may ask for; none is a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    verbs: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Verified {
    holds: bool,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    what: String,
    holds: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differs: Vec<String>,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Grant(args) => ("permissions grant", Some(&args.of.name)),
            Self::Revoke(args) => ("permissions revoke", Some(&args.of.name)),
            Self::Show(args) => ("permissions show", Some(&args.name)),
            Self::Verify(args) => ("permissions verify", Some(&args.name)),
        }
    }

    /// Whether all holds.
    pub fn run(&self, cx: &mut Context) -> Result<bool> {
        match self {
            Self::Grant(args) => app::grant(args, cx).map(|()| true),
            Self::Revoke(args) => app::revoke(args, cx).map(|()| true),
            Self::Show(args) => show(args, cx).map(|()| true),
            Self::Verify(args) => verify(args, cx),
        }
    }
}

fn show(args: &ShowArgs, cx: &mut Context) -> Result<()> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let name = &project.name;
    let group = cx.config.operators.clone();
    let members = users::find_group(&group)?.map(|(_, members)| members).unwrap_or_default();
    let open = TABLE.iter().filter(|(verb, access)| *access == Access::Project && *verb != "gate");
    let login = project.keys.iter().chain(&cx.config.ssh_keys).map(|key| Key {
        fingerprint: key.fingerprint(),
        comment: key.comment().to_owned(),
        verbs: None,
    });
    let ci = project.ci_keys.iter().map(|ci| Key {
        fingerprint: ci.key.fingerprint(),
        comment: ci.key.comment().to_owned(),
        verbs: Some(ci.verbs.clone()),
    });
    let rights = Rights {
        user: name.to_string(),
        uid: project.uid,
        operators: Operators { group, members },
        sudo: projects::USER_COMMANDS.iter().map(|verb| format!("hostkit {verb} {name}")).collect(),
        gate: open.map(|(verb, _)| *verb).collect(),
        app: project.grants.clone(),
        keys: login.chain(ci).collect(),
    };
    let text = render(&rights, Paint::of(&std::io::stdout()));
    cx.ui.result("permissions show", Some(name.as_str()), &rights, &text);
    Ok(())
}

fn render(rights: &Rights, paint: Paint) -> String {
    let Rights { user, operators, sudo, gate, app, keys, .. } = rights;
    let members = match &operators.members[..] {
        [] => "nobody yet".to_owned(),
        members => members.join(", "),
    };
    let mut text = format!(
        "{}\n  root, and the group {}: {members}\n\n{}\n  {}\n\n{}\n  {}\n\n{}\n  {}\n\n{}\n",
        paint.bold("everything"),
        operators.group,
        paint.bold(&format!("the user {user}, for this project, by `hostkit …`")),
        gate.join(", "),
        paint.bold("and of that by sudo's own rules"),
        sudo.join("\n  "),
        paint.bold(&format!("the processes of {user}, by their socket")),
        if app.is_empty() { "nothing".into() } else { app.join("\n  ") },
        paint.bold("keys"),
    );
    for Key { fingerprint, comment, verbs } in keys {
        let may = verbs.as_ref().map_or_else(|| "logs in".into(), |verbs| verbs.join(", "));
        text.push_str(&format!("  {fingerprint} {comment}: {may}\n"));
    }
    if keys.is_empty() {
        text.push_str("  none\n");
    }
    text
}

fn verify(args: &VerifyArgs, cx: &mut Context) -> Result<bool> {
    let project = cx.registry()?.project(&args.name.parse()?)?;
    let name = &project.name;
    let checks = vec![grants(cx, name)?, rules(cx), files(cx, &project)?, account(cx, &project)?];
    let holds = checks.iter().all(|check| check.holds);
    let paint = Paint::of(&std::io::stdout());
    let mut text = String::new();
    for check in &checks {
        let mark = if check.holds { paint.check() } else { paint.cross() };
        text.push_str(&format!("  {mark} {}\n", check.what));
        for line in &check.differs {
            text.push_str(&format!("      {line}\n"));
        }
    }
    let wrong = checks.iter().filter(|check| !check.holds).count();
    text.push_str(&match wrong {
        0 => format!("\n{name} may do what it should, and nothing else\n"),
        n => format!("\n{} do not hold  →  hostkit repair {name}\n", count(n, "check")),
    });
    let data = Verified { holds, checks };
    cx.ui.result("permissions verify", Some(name.as_str()), &data, &text);
    Ok(holds)
}

/// What sudo says that it grants, against what it should.
fn grants(cx: &Context, name: &ProjectName) -> Result<Check> {
    let wanted = projects::granted(name);
    let is = projects::read_grants(&sudo::listing(&cx.host, name.as_str())?);
    let lacking = wanted.difference(&is).map(|rule| format!("does not grant: {rule}"));
    let surplus = is.difference(&wanted).map(|rule| format!("grants besides: {rule}"));
    let differs: Vec<String> = lacking.chain(surplus).collect();
    let what =
        format!("sudo grants {} to {name}, and nothing else", count(wanted.len(), "command"));
    Ok(Check { what, holds: differs.is_empty(), differs })
}

fn rules(cx: &Context) -> Check {
    let differs = match sudo::check_all(&cx.host) {
        Ok(()) => Vec::new(),
        Err(error) => vec![error.cause.unwrap_or(error.message)],
    };
    Check { what: "all rules of sudo are well-formed".into(), holds: differs.is_empty(), differs }
}

/// Keys and rules as hostkit made them, with owner and mode.
fn files(cx: &Context, project: &Project) -> Result<Check> {
    let plan = projects::access_plan(project, &cx.config, &cx.templates()?)?;
    let differs: Vec<String> = differences(&plan, &cx.host)?
        .into_iter()
        .map(|difference| format!("{}: {}", difference.what, difference.differs))
        .collect();
    let what = "keys and rules are as hostkit made them, and nobody else's to change".into();
    Ok(Check { what, holds: differs.is_empty(), differs })
}

/// The user is in no group but its own, and can't log in by a password.
fn account(cx: &Context, project: &Project) -> Result<Check> {
    let name = project.name.as_str();
    let mut differs = Vec::new();
    match users::find(name)? {
        None => differs.push(format!("the user {name} is missing")),
        Some(user) => {
            if user.owner.uid != project.uid {
                differs
                    .push(format!("its number is {} (should be {})", user.owner.uid, project.uid));
            }
            let groups = users::groups(&cx.host, name)?;
            for group in groups.iter().filter(|group| *group != name) {
                differs.push(format!("it is in the group {group} too"));
            }
        }
    }
    let what = format!("the user {name} is in no group but its own");
    Ok(Check { what, holds: differs.is_empty(), differs })
}
