//! `hostkit ssh`: who may log in as a project's user, and what a key of its CI may ask for.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Context,
    keys::{self, KeyArg},
    show,
};
use crate::{
    caller::{Access, TABLE},
    error::{Error, Result},
    names::{CiKey, ProjectName, PublicKey, nearest},
    projects,
    registry::{Change, NewOperation, Project, Way},
    ui::{Column, Paint, Table},
};

/// Let keys log in as a project's user, or ask its gate
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    AddKey(AddArgs),
    ListKeys(ListArgs),
    RemoveKey(RemoveArgs),
}

/// Let a key in
///
/// Without --ci it may log in as the project's user. With it, it may ask for a few commands and
/// nothing else: no shell, no terminal, no forwarding, no other project.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssh add-key my-shop ~/.ssh/id_ed25519.pub
  hostkit ssh add-key my-shop --github octocat
  hostkit ssh add-key my-shop ci.pub --ci
  hostkit ssh add-key my-shop ci.pub --ci --verbs deploy,status --from 203.0.113.7 --expires 2027-12-31")]
pub struct AddArgs {
    /// Project that the key is for
    pub name: String,

    /// The public key, or a file of keys
    #[arg(value_name = "KEY|FILE", required_unless_present = "github")]
    key: Option<String>,

    /// The keys that this user shows at GitHub
    #[arg(long, value_name = "USER", conflicts_with = "key")]
    github: Option<String>,

    /// Confine it to commands of the project
    #[arg(long)]
    ci: bool,

    /// What it may ask for
    #[arg(long, requires = "ci", value_delimiter = ',', value_name = "VERBS")]
    verbs: Vec<String>,

    /// Where it may come from: addresses, networks or patterns
    #[arg(long, requires = "ci", value_delimiter = ',', value_name = "HOSTS")]
    from: Vec<String>,

    /// The day from which on it is refused
    #[arg(long, requires = "ci", value_name = "DATE")]
    expires: Option<String>,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Show the keys of a project
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssh list-keys my-shop")]
pub struct ListArgs {
    /// Project whose keys to show
    pub name: String,
}

/// Let a key in no longer
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit ssh remove-key my-shop SHA256:uI2…
  hostkit ssh remove-key my-shop ci@example.com")]
pub struct RemoveArgs {
    /// Project that the key is of
    pub name: String,

    /// Its fingerprint, or its comment
    key: String,
}

#[derive(Serialize)]
struct Shown {
    fingerprint: String,
    comment: String,
    kind: &'static str,
    verbs: Vec<String>,
    from: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// What a CI key may ask for where nothing is said.
const USUAL: &[&str] = &["deploy", "deploys", "releases", "rollback", "status"];

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::AddKey(args) => ("ssh add-key", Some(&args.name)),
            Self::ListKeys(args) => ("ssh list-keys", Some(&args.name)),
            Self::RemoveKey(args) => ("ssh remove-key", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<()> {
        match self {
            Self::AddKey(args) => add(args, cx),
            Self::ListKeys(args) => list(args, cx),
            Self::RemoveKey(args) => remove(args, cx),
        }
    }
}

fn add(args: &AddArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let keys = match (&args.github, &args.key) {
        (Some(user), _) => keys::of_github(user, &cx.config)?,
        (None, key) => KeyArg::new(key.as_deref().unwrap_or_default(), &cx.started_in).read()?,
    };
    let verbs = verbs(&args.verbs)?;
    args.from.iter().try_for_each(|from| CiKey::check_from(from))?;
    let expires = args.expires.as_deref().map(CiKey::expiry).transpose()?;
    if let Some(expires) = &expires
        && *expires <= Timestamp::now().strftime("%Y%m%d").to_string()
    {
        return Err(Error::usage("bad_date", "the key would be refused from the start")
            .caused_by("`--expires` is not after today"));
    }
    let _held = cx.take_project(&name, "ssh add-key")?;
    let mut project = cx.registry()?.living_project(&name)?;
    for key in &keys {
        forget(&mut project, |known| known.fingerprint() == key.fingerprint());
        if args.ci {
            project.ci_keys.push(CiKey {
                project: name.clone(),
                verbs: verbs.clone(),
                from: args.from.clone(),
                expires: expires.clone(),
                key: key.clone(),
            });
        } else {
            project.keys.push(key.clone());
        }
    }
    let changed = apply(cx, &project, "ssh add-key", args.dry_run)?;
    if args.dry_run {
        return Ok(());
    }
    let host = crate::sys::system::hostname();
    let told = match (changed, args.ci) {
        (0, _) => "it was let in already\n".to_owned(),
        (_, true) => format!(
            "{name} answers this key: {}\nfrom there:  tar cz . | ssh {name}@{host} hostkit deploy --archive -\n",
            verbs.join(", ")
        ),
        (_, false) => format!("{name} lets this key in:  ssh {name}@{host}\n"),
    };
    cx.ui.result("ssh add-key", Some(name.as_str()), &shown(&project), &told);
    Ok(())
}

fn verbs(asked: &[String]) -> Result<Vec<String>> {
    if asked.is_empty() {
        return Ok(USUAL.iter().map(|verb| (*verb).to_owned()).collect());
    }
    let open: Vec<&str> = TABLE
        .iter()
        .filter(|(verb, access)| *access == Access::Project && *verb != "gate")
        .map(|(verb, _)| *verb)
        .collect();
    for verb in asked {
        if !open.contains(&verb.as_str()) {
            let error =
                Error::usage("bad_verb", format!("`{}` is not for keys", verb.escape_debug()))
                    .caused_by(format!("these are: {}", open.join(", ")));
            return Err(match nearest(verb, open.iter().copied()) {
                Some(meant) => error.hint(format!("did you mean `{meant}`?")),
                None => error,
            });
        }
    }
    Ok(asked.to_vec())
}

/// Takes matching keys of either kind off; says how many there were.
fn forget(project: &mut Project, is: impl Fn(&PublicKey) -> bool) -> usize {
    let before = project.keys.len() + project.ci_keys.len();
    project.keys.retain(|key| !is(key));
    project.ci_keys.retain(|ci| !is(&ci.key));
    before - project.keys.len() - project.ci_keys.len()
}

fn apply(cx: &mut Context, project: &Project, verb: &str, dry_run: bool) -> Result<usize> {
    let plan = projects::access_plan(project, &cx.config, &cx.templates()?)?;
    if dry_run {
        let differences = crate::plan::differences(&plan, &cx.host)?;
        show::preview(cx, verb, Some(&project.name), &differences);
        return Ok(0);
    }
    let actor = cx.caller.actor();
    let new = NewOperation { project: Some(&project.name), verb, actor: &actor, way: Way::Undo };
    let change = Change::Keys(Box::new(project.clone()));
    cx.carry_out(&new, None, |_, _| Ok((plan, vec![change])))
}

fn list(args: &ListArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let project = cx.registry()?.project(&name)?;
    let shown = shown(&project);
    let paint = Paint::of(&std::io::stdout());
    let mut table = Table::new(vec![
        Column::left("KEY"),
        Column::left("MAY"),
        Column::left("FROM").gives_way_to(8),
        Column::left("UNTIL"),
        Column::left("WHOSE").gives_way_to(8),
    ]);
    for key in &shown {
        let may = if key.kind == "login" { "log in".into() } else { key.verbs.join(", ") };
        let from = if key.from.is_empty() { "anywhere".into() } else { key.from.join(", ") };
        let until = key.expires.clone().unwrap_or_else(|| "-".into());
        table.row(vec![key.fingerprint.clone(), may, from, until, key.comment.clone()]);
    }
    let text = if shown.is_empty() {
        format!("{name} lets no key in  →  hostkit ssh add-key {name} FILE\n")
    } else {
        table.render(paint, crate::ui::width())
    };
    cx.ui.result("ssh list-keys", Some(name.as_str()), &shown, &text);
    Ok(())
}

fn shown(project: &Project) -> Vec<Shown> {
    let login = project.keys.iter().map(|key| Shown {
        fingerprint: key.fingerprint(),
        comment: key.comment().to_owned(),
        kind: "login",
        verbs: Vec::new(),
        from: Vec::new(),
        expires: None,
    });
    let ci = project.ci_keys.iter().map(|ci| Shown {
        fingerprint: ci.key.fingerprint(),
        comment: ci.key.comment().to_owned(),
        kind: "ci",
        verbs: ci.verbs.clone(),
        from: ci.from.clone(),
        expires: ci.expires.clone(),
    });
    login.chain(ci).collect()
}

fn remove(args: &RemoveArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let _held = cx.take_project(&name, "ssh remove-key")?;
    let mut project = cx.registry()?.living_project(&name)?;
    let is = |key: &PublicKey| key.fingerprint() == args.key || key.comment() == args.key;
    let count = forget(&mut project, is);
    if count == 0 {
        return Err(Error::missing("no_key", format!("{name} has no such key"))
            .hint(format!("see `hostkit ssh list-keys {name}`")));
    }
    apply(cx, &project, "ssh remove-key", false)?;
    let text = format!("{name} lets it in no longer; what is connected stays until it ends\n");
    cx.ui.result("ssh remove-key", Some(name.as_str()), &shown(&project), &text);
    Ok(())
}
