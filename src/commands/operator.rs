//! `hostkit operator`: the people who may run every command, and the keys that they log in by.

use std::{io::Read, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    Context,
    keys::{self, KeyArg},
    show,
};
use crate::{
    error::{Context as _, Error, Result},
    names::PublicKey,
    plan::{Ground, Lane, Plan, differences},
    registry::{NewOperation, Way},
    steps::{Contents, Dir, File, Judge, Login, Member, Text},
    sys::users::{self, User},
    ui::{Column, Paint, Table, count},
};

/// The people who may run every hostkit command
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    AddKey(AddKeyArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
    Setup(SetupArgs),
}

/// Let a key log in as an operator
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit operator add-key alice ~/alice.pub
  hostkit operator add-key alice - < alice.pub
  hostkit operator add-key alice --github alice")]
pub struct AddKeyArgs {
    /// Operator whom the key lets in
    user: String,

    /// The public key, or a file of keys; `-` is standard input
    #[arg(value_name = "KEY|FILE", required_unless_present = "github")]
    key: Option<String>,

    /// The keys that this user shows at GitHub
    #[arg(long, value_name = "USER", conflicts_with = "key")]
    github: Option<String>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Show the operators
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit operator list
  hostkit operator list --json | jq -r '.data[].name'")]
pub struct ListArgs {}

/// Take a person's rights away
///
/// The person leaves the operators' group, and the keys that hostkit added let nobody in any
/// more. The account and what is in its home stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit operator revoke alice
  hostkit operator revoke alice --end-sessions")]
pub struct RevokeArgs {
    /// Operator to revoke
    user: String,

    /// End all that the person runs, logins too
    #[arg(long)]
    end_sessions: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Make a person an operator
///
/// Makes the account where there is none, or takes the one that there is; what is in place stays.
/// Operators log in by key and run hostkit by sudo, without a password.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit operator setup alice --key ~/alice.pub
  hostkit operator setup alice --key - < alice.pub
  hostkit operator setup alice --key ~/alice.pub --dry-run")]
pub struct SetupArgs {
    /// Person to make an operator
    user: String,

    /// A public key, or a file of keys; `-` is standard input
    #[arg(long, value_name = "KEY|FILE")]
    key: Vec<String>,

    /// The keys that this user shows at GitHub
    #[arg(long, value_name = "USER")]
    github: Option<String>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    uid: u32,
    /// Fingerprints of the keys that hostkit added.
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Done<'a> {
    operator: &'a str,
    changed: usize,
    keys: usize,
}

const BEGIN: &str = "# hostkit: keys of an operator (`hostkit operator revoke` takes them out)\n";
const END: &str = "# hostkit: end of keys\n";

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::AddKey(_) => ("operator add-key", None),
            Self::List(_) => ("operator list", None),
            Self::Revoke(_) => ("operator revoke", None),
            Self::Setup(_) => ("operator setup", None),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::AddKey(args) => add_key(args, cx),
            Self::List(_) => list(cx),
            Self::Revoke(args) => revoke(args, cx),
            Self::Setup(args) => setup(args, cx),
        }
    }
}

fn read_keys(cx: &Context, keys: &[String], github: Option<&str>) -> Result<Vec<PublicKey>> {
    let mut all = match github {
        Some(user) => keys::of_github(user, &cx.config)?,
        None => Vec::new(),
    };
    for key in keys {
        if key != "-" {
            all.extend(KeyArg::new(key, &cx.started_in).read()?);
            continue;
        }
        let mut text = String::new();
        let read = std::io::stdin().lock().take(1 << 20).read_to_string(&mut text);
        read.context(|| "could not read a key".into())?;
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        for line in lines {
            all.push(line.parse()?);
        }
    }
    Ok(all)
}

/// Who may be made an operator: a person, and none of those that run something.
fn check(cx: &mut Context, name: &str) -> Result<Option<User>> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || name.len() > 32 || !name.chars().all(fits) {
        let message = format!("`{}` is no name of a user", name.escape_debug());
        return Err(Error::usage("bad_name", message)
            .hint("a name has up to 32 of a-z, 0-9, - and _, and starts with a letter"));
    }
    let refused = |why: &str| {
        Error::conflict("not_a_person", format!("`{name}` can't be an operator"))
            .caused_by(why.to_owned())
            .hint("operators are people: give them an account of their own")
    };
    let projects = cx.registry()?.projects()?;
    if projects.iter().any(|project| project.name.as_str() == name) {
        return Err(refused(
            "it is the user of a project, and whatever breaks into that would be root",
        ));
    }
    let Some(user) = users::find(name)? else {
        if users::find_group(name)?.is_some() {
            return Err(refused("there is a group of that name"));
        }
        return Ok(None);
    };
    let range = cx.config.uids.first..=cx.config.uids.last;
    if user.comment.starts_with("hostkit project ") {
        return Err(refused("it is, or was, the user of a project"));
    }
    if range.contains(&user.owner.uid) {
        return Err(refused("its number is one of those that users of projects get (`uids`)"));
    }
    if user.owner.uid < 1000 || user.owner.uid > 60_000 {
        return Err(refused("it is a user of the system"));
    }
    if user.shell.ends_with("/nologin") || user.shell.ends_with("/false") {
        return Err(refused("it can't log in"));
    }
    Ok(Some(user))
}

fn is_operator(cx: &Context, name: &str) -> Result<bool> {
    let members = users::find_group(&cx.config.operators)?.map(|(_, members)| members);
    Ok(members.unwrap_or_default().iter().any(|member| member == name))
}

/// The file of a person's keys, and what is in it.
fn key_file(cx: &Context, home: &str) -> Result<(PathBuf, String)> {
    let path = PathBuf::from(home).join(".ssh/authorized_keys");
    let text = cx.host.read_text(&path)?.unwrap_or_default();
    Ok((path, text))
}

/// The keys that hostkit added, and the rest of the file.
fn split(text: &str) -> (Vec<PublicKey>, String) {
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            let ours = text[begin + BEGIN.len()..end].lines();
            let keys = ours.filter_map(|line| line.parse().ok()).collect();
            (keys, format!("{}{}", &text[..begin], &text[end + END.len()..]))
        }
        _ => (Vec::new(), text.to_owned()),
    }
}

fn joined(keys: &[PublicKey], rest: &str) -> String {
    if keys.is_empty() {
        return rest.to_owned();
    }
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    let gap = if rest.is_empty() || rest.ends_with('\n') { "" } else { "\n" };
    format!("{rest}{gap}{BEGIN}{lines}{END}")
}

/// The steps of a person's keys. An account that is not there yet gets them when it is.
fn key_steps(plan: &mut Plan, user: &User, path: PathBuf, text: String) {
    let ssh = path.parent().map(PathBuf::from).unwrap_or_default();
    plan.part("keys", path.display().to_string());
    let contents = Contents::Stays;
    plan.step(Lane::Accounts, Dir { path: ssh, owner: user.owner, mode: 0o700, contents });
    let text = Text::Exactly(text);
    let judge = Judge::Nobody;
    plan.step(Lane::Accounts, File { path, owner: user.owner, mode: 0o600, text, judge });
}

fn setup(args: &SetupArgs, cx: &mut Context) -> Result<()> {
    let name = &args.user;
    let keys = read_keys(cx, &args.key, args.github.as_deref())?;
    let known = check(cx, name)?;
    let verb = "operator setup";
    if args.dry_run {
        let plan = group_plan(cx, name, true);
        let mut all = differences(&plan, &cx.host)?;
        if let Some(user) = &known {
            all.extend(differences(&keys_plan(cx, user, &keys)?, &cx.host)?);
        }
        show::preview(cx, verb, None, &all);
        return Ok(());
    }
    let _held = cx.take_operators(verb)?;
    check(cx, name)?;
    let plan = group_plan(cx, name, true);
    let mut changed = carry_out(cx, verb, plan)?;
    let user = users::find(name)?
        .ok_or_else(|| Error::failed(format!("the user `{name}` was made, and is gone")))?;
    if !keys.is_empty() {
        let plan = keys_plan(cx, &user, &keys)?;
        changed += carry_out(cx, verb, plan)?;
    }
    let (_, text) = key_file(cx, &user.home)?;
    let (ours, rest) = split(&text);
    let host = crate::sys::system::hostname();
    let mut told = match changed {
        0 => format!("{name} is an operator already\n"),
        _ => format!("{name} is an operator:  ssh {name}@{host} sudo hostkit status\n"),
    };
    if ours.is_empty() && rest.trim().is_empty() {
        told.push_str(&format!(
            "no key lets {name} in yet  →  hostkit operator add-key {name} FILE\n"
        ));
    }
    let data = Done { operator: name, changed, keys: ours.len() };
    cx.ui.result(verb, None, &data, &told);
    Ok(())
}

fn group_plan(cx: &Context, name: &str, is_member: bool) -> Plan {
    let mut plan = Plan::new(Ground::Known);
    let group = cx.config.operators.clone();
    plan.part("operator", format!("{name}, group {group}"));
    if is_member {
        let uids = cx.config.uids;
        // useradd goes on after the highest number, which would be a project's next.
        let numbers =
            if uids.first > 1100 { (1000, uids.first - 1) } else { (uids.last + 1, 60_000) };
        plan.step(Lane::Accounts, Login { user: name.to_owned(), numbers });
    }
    plan.step(Lane::Accounts, Member { user: name.to_owned(), group, is_member });
    plan
}

/// Adds keys to those that hostkit added before.
fn keys_plan(cx: &Context, user: &User, keys: &[PublicKey]) -> Result<Plan> {
    let (path, text) = key_file(cx, &user.home)?;
    let (mut ours, rest) = split(&text);
    for key in keys {
        let is = |known: &PublicKey| known.fingerprint() == key.fingerprint();
        let is_theirs = rest.lines().filter_map(|line| line.parse().ok()).any(|k| is(&k));
        if !is_theirs && !ours.iter().any(is) {
            ours.push(key.clone());
        }
    }
    let mut plan = Plan::new(Ground::Known);
    key_steps(&mut plan, user, path, joined(&ours, &rest));
    Ok(plan)
}

fn carry_out(cx: &mut Context, verb: &str, plan: Plan) -> Result<usize> {
    let actor = cx.caller.actor();
    let new = NewOperation { project: None, verb, actor: &actor, way: Way::Undo };
    cx.carry_out(&new, None, |_, _| Ok((plan, Vec::new())))
}

fn not_one(name: &str) -> Error {
    Error::missing("no_operator", format!("`{}` is no operator", name.escape_debug()))
        .hint("see `hostkit operator list`")
}

fn add_key(args: &AddKeyArgs, cx: &mut Context) -> Result<()> {
    let (name, verb) = (&args.user, "operator add-key");
    let keys = read_keys(cx, args.key.as_slice(), args.github.as_deref())?;
    let Some(user) = check(cx, name)? else { return Err(not_one(name)) };
    if !is_operator(cx, name)? {
        return Err(not_one(name));
    }
    let _held = cx.take_operators(verb)?;
    let plan = keys_plan(cx, &user, &keys)?;
    if args.dry_run {
        show::preview(cx, verb, None, &differences(&plan, &cx.host)?);
        return Ok(());
    }
    let changed = carry_out(cx, verb, plan)?;
    let told = match changed {
        0 => "it was let in already\n".to_owned(),
        _ => format!("{name} is let in by {} more\n", count(keys.len(), "key")),
    };
    cx.ui.result(verb, None, &Done { operator: name, changed, keys: keys.len() }, &told);
    Ok(())
}

fn list(cx: &mut Context) -> Result<()> {
    let group = cx.config.operators.clone();
    let members = users::find_group(&group)?.map(|(_, members)| members).unwrap_or_default();
    let mut shown = Vec::new();
    for name in members {
        let Some(user) = users::find(&name)? else { continue };
        let keys = match key_file(cx, &user.home) {
            Ok((_, text)) => split(&text).0.iter().map(PublicKey::fingerprint).collect(),
            Err(error) => vec![format!("unreadable: {error}")],
        };
        shown.push(Shown { name, uid: user.owner.uid, keys });
    }
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::left("OPERATOR"),
        Column::right("UID"),
        Column::left("KEYS").gives_way_to(12),
    ]);
    for operator in &shown {
        let keys = match &operator.keys[..] {
            [] => "none of hostkit's".to_owned(),
            keys => keys.join(", "),
        };
        table.row(vec![paint.bold(&operator.name), operator.uid.to_string(), keys]);
    }
    let text = if shown.is_empty() {
        format!("nobody is in the group {group} yet  →  hostkit operator setup NAME --key FILE\n")
    } else {
        table.render(paint, crate::ui::width())
    };
    cx.ui.result("operator list", None, &shown, &text);
    Ok(())
}

/// An operator, for a backup of the server.
#[derive(Deserialize, Serialize)]
pub struct Known {
    name: String,
    keys: Vec<PublicKey>,
}

/// The operators, with the keys that hostkit added.
pub fn known(cx: &Context) -> Result<Vec<Known>> {
    let members = users::find_group(&cx.config.operators)?.map(|(_, members)| members);
    let mut all = Vec::new();
    for name in members.unwrap_or_default() {
        let Some(user) = users::find(&name)? else { continue };
        // Whoever made the own file unreadable is an operator all the same.
        let text = key_file(cx, &user.home).map(|(_, text)| text).unwrap_or_default();
        all.push(Known { name, keys: split(&text).0 });
    }
    Ok(all)
}

/// Makes operators of those that a backup names; how many.
pub fn bring_back(cx: &mut Context, text: &str) -> Result<usize> {
    let all: Vec<Known> = serde_json::from_str(text)
        .map_err(|e| Error::failed("could not understand who was an operator").caused_by(e))?;
    for Known { name, keys } in &all {
        check(cx, name)?;
        let _held = cx.take_operators("operator setup")?;
        let plan = group_plan(cx, name, true);
        carry_out(cx, "operator setup", plan)?;
        let Some(user) = users::find(name)? else { continue };
        if !keys.is_empty() {
            let plan = keys_plan(cx, &user, keys)?;
            carry_out(cx, "operator setup", plan)?;
        }
    }
    Ok(all.len())
}

fn take_keys_out(cx: &mut Context, verb: &str, user: &User) -> Result<usize> {
    let (path, text) = key_file(cx, &user.home)?;
    let (ours, rest) = split(&text);
    if ours.is_empty() {
        return Ok(0);
    }
    let mut plan = Plan::new(Ground::Known);
    key_steps(&mut plan, user, path, rest);
    carry_out(cx, verb, plan)
}

fn revoke(args: &RevokeArgs, cx: &mut Context) -> Result<()> {
    let (name, verb) = (&args.user, "operator revoke");
    let Some(user) = users::find(name)? else { return Err(not_one(name)) };
    let keys = key_file(cx, &user.home);
    let has_keys = keys.as_ref().is_ok_and(|(_, text)| !split(text).0.is_empty());
    if !is_operator(cx, name)? && !has_keys && keys.is_ok() {
        return Err(not_one(name));
    }
    let _held = cx.take_operators(verb)?;
    let mut plan = group_plan(cx, name, false);
    if args.dry_run {
        if let Ok((path, text)) = keys {
            key_steps(&mut plan, &user, path, split(&text).1);
        }
        show::preview(cx, verb, None, &differences(&plan, &cx.host)?);
        return Ok(());
    }
    // Rights first: whatever the person has made of the own home, they end.
    let mut changed = carry_out(cx, verb, plan)?;
    if args.end_sessions {
        users::kill_all(&cx.host, user.owner.uid)?;
    }
    changed += take_keys_out(cx, verb, &user).map_err(|error| {
        error.hint(format!(
            "{name} is no operator any more; look at the keys yourself: `{}/.ssh/authorized_keys`",
            user.home
        ))
    })?;
    let mut told = format!("{name} is no operator any more\n");
    if !args.end_sessions {
        told.push_str(
            "what is logged in stays so until it ends (`--end-sessions`): sudo still knows it as an operator's, and hostkit refuses it\n",
        );
    }
    if crate::sys::sudo::may_become_root(&cx.host, name) {
        told.push_str(&format!("sudo lets {name} become root all the same, by a rule of yours\n"));
    }
    cx.ui.result(verb, None, &Done { operator: name, changed, keys: 0 }, &told);
    Ok(())
}
