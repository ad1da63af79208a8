//! `hostkit git`: where a project's code comes from, and how hostkit gets in there.

pub mod answer;
pub mod fetch;
pub mod refused;
pub mod store;

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

use serde::Serialize;

use self::{answer::Credential, store::Store};
use super::Context;
use crate::{
    config::Config,
    error::{Context as _, Error, Result},
    names::{GitUrl, ProjectName, Revision, Transport},
    registry::GitSource,
    secret::Secret,
};

/// Remember where a project is deployed from, and how to get in there
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    #[command(hide = true)]
    Answer(answer::Args),
    Config(ConfigArgs),
    Credential(CredentialArgs),
    #[command(hide = true)]
    Fetch(fetch::Args),
    Forget(ForgetArgs),
    Key(KeyArgs),
    Show(ShowArgs),
}

/// Remember the repository that a project is deployed from
///
/// From then on `hostkit deploy NAME` alone fetches it and deploys the newest commit of the branch.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit git config my-shop --url https://forge.example/me/shop.git
  hostkit git config my-shop --url git@forge.example:me/shop.git --branch release
  hostkit git config my-shop --url https://forge.example/me/shop.git --submodules")]
pub struct ConfigArgs {
    /// Project that is deployed from it
    pub name: String,

    /// The repository, by https or ssh
    #[arg(long, value_name = "URL")]
    url: String,

    /// The branch, if not the repository's own default
    #[arg(long, value_name = "BRANCH")]
    branch: Option<String>,

    /// Fetch submodules too
    #[arg(long)]
    submodules: bool,
}

/// Keep a token for a forge, read from standard input
///
/// It is kept where root alone may read, and given to git for https on that one host, by a pipe:
/// it is in no argument, no log and no registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit git credential my-shop < token-file
  hostkit git credential my-shop --host forge.example --username deploy-token < token-file
  hostkit git credential my-shop --remove")]
pub struct CredentialArgs {
    /// Project that it is for
    pub name: String,

    /// The forge, if not that of the remembered repository
    #[arg(long, value_name = "HOST", conflicts_with = "remove")]
    host: Option<String>,

    /// The user name that goes with it, for forges that look at it
    #[arg(long, value_name = "NAME", default_value = "git", conflicts_with = "remove")]
    username: String,

    /// Take it away
    #[arg(long)]
    remove: bool,
}

/// Forget a project's repository, token, deploy key, host keys and mirror
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit git forget my-shop
  hostkit git forget my-shop --hosts")]
pub struct ForgetArgs {
    /// Project whose repository to forget
    pub name: String,

    /// Forget only the host keys of forges: the next deploy takes the one that it is shown
    #[arg(long)]
    hosts: bool,
}

/// Print the deploy key of a project, made when it is first asked for
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit git key my-shop
  hostkit git key my-shop --rotate")]
pub struct KeyArgs {
    /// Project whose key to print
    pub name: String,

    /// Make a new one; the old one is of no more use
    #[arg(long)]
    rotate: bool,
}

/// Show where a project is deployed from
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit git show my-shop")]
pub struct ShowArgs {
    /// Project whose repository to show
    pub name: String,
}

#[derive(Serialize)]
struct Shown {
    source: Option<GitSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

impl Command {
    pub fn subject(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Answer(_) => ("git answer", None),
            Self::Config(args) => ("git config", Some(&args.name)),
            Self::Credential(args) => ("git credential", Some(&args.name)),
            Self::Fetch(_) => ("git fetch", None),
            Self::Forget(args) => ("git forget", Some(&args.name)),
            Self::Key(args) => ("git key", Some(&args.name)),
            Self::Show(args) => ("git show", Some(&args.name)),
        }
    }

    pub fn run(&self, cx: &mut Context) -> Result<ExitCode> {
        match self {
            Self::Answer(args) => answer::run(args)?,
            Self::Config(args) => config(args, cx)?,
            Self::Credential(args) => credential(args, cx)?,
            Self::Fetch(args) => return fetch::run(args, cx),
            Self::Forget(args) => forget(args, cx)?,
            Self::Key(args) => key(args, cx)?,
            Self::Show(args) => show(args, cx)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An address of a kind that this server's configuration takes.
pub fn address(text: &str, config: &Config) -> Result<GitUrl> {
    let url: GitUrl = text.parse()?;
    if url.transport().is_encrypted() || config.git.unencrypted {
        return Ok(url);
    }
    Err(Error::usage("bad_git_url", format!("`{url}` is not encrypted"))
        .caused_by("anybody in between could change what is deployed")
        .hint("use https or ssh; or let it be, for all projects: `git.unencrypted = true` in /etc/hostkit/hostkit.toml"))
}

fn config(args: &ConfigArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let url = address(&args.url, &cx.config)?;
    if let Some(branch) = &args.branch {
        Revision::branch(branch)?;
    }
    let _held = cx.take_project(&name, "git config")?;
    cx.registry()?.living_project(&name)?;
    let source = GitSource { url, branch: args.branch.clone(), submodules: args.submodules };
    cx.registry()?.remember_git(&name, &source)?;
    cx.record(Some(&name), "git config", Ok(()))?;
    let has_key = Store::of(&name).has_key(cx)?;
    let next = match source.url.transport() {
        Transport::Ssh if !has_key => format!("hostkit git key {name}"),
        _ => format!("hostkit deploy {name}"),
    };
    let text = format!("{name} is deployed from {}  →  {next}\n", told(&source));
    cx.ui.result("git config", Some(name.as_str()), &source, &text);
    Ok(())
}

/// A remembered source in a few words.
pub fn told(source: &GitSource) -> String {
    let branch = match &source.branch {
        Some(branch) => format!("branch {branch}"),
        None => "default branch".into(),
    };
    let submodules = if source.submodules { ", with submodules" } else { "" };
    format!("{}, {branch}{submodules}", source.url)
}

fn credential(args: &CredentialArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let remembered = cx
        .registry()?
        .project(&name)
        .map(|_| ())
        .and_then(|()| cx.registry()?.git_source(&name))?;
    let store = Store::of(&name);
    let new = if args.remove { None } else { Some(wanted(args, remembered.as_ref())?) };
    let _held = cx.take_project(&name, "git credential")?;
    cx.registry()?.living_project(&name)?;
    let text = match &new {
        Some(credential) => {
            store.keep_credential(cx, credential)?;
            format!("{name} fetches as {credential}\n")
        }
        None if store.remove_credential(cx)? => format!("{name} has no token any more\n"),
        None => return Err(Error::missing("no_credential", format!("{name} has no token"))),
    };
    cx.record(Some(&name), "git credential", Ok(()))?;
    let shown = new.as_ref().map(ToString::to_string);
    cx.ui.result("git credential", Some(name.as_str()), &shown, &text);
    Ok(())
}

fn wanted(args: &CredentialArgs, remembered: Option<&GitSource>) -> Result<Credential> {
    let host = match (&args.host, remembered) {
        // As the host of an address is checked.
        (Some(host), _) => format!("https://{host}/x").parse::<GitUrl>()?.host().to_owned(),
        (None, Some(source)) if source.url.transport() == Transport::Https => {
            source.url.host().to_owned()
        }
        (None, Some(source)) => {
            return Err(Error::usage(
                "no_host",
                format!("{} does not ask for a token", source.url),
            )
            .caused_by("a token goes over https, and nowhere else")
            .hint("name the forge that it is for: `--host forge.example`"));
        }
        (None, None) => {
            return Err(Error::usage("no_host", "nothing says which forge the token is for")
                .hint("name it: `--host forge.example`"));
        }
    };
    let plain = |c: char| c.is_ascii_graphic();
    if args.username.is_empty() || !args.username.chars().all(plain) {
        return Err(Error::usage("bad_username", "the user name holds an odd character"));
    }
    let mut text = String::new();
    if !std::io::stdin().is_terminal() {
        let read = std::io::stdin().lock().take(64 << 10).read_to_string(&mut text);
        read.context(|| "could not read the token".into())?;
    }
    let token = text.trim_end_matches(['\n', '\r']);
    if token.is_empty() || !token.chars().all(plain) {
        return Err(Error::usage("bad_token", "there is no token on standard input")
            .caused_by("it is one line, without spaces")
            .hint(format!("`hostkit git credential {} < token-file`", args.name)));
    }
    Ok(Credential { host, username: args.username.clone(), token: Secret::new(token) })
}

fn forget(args: &ForgetArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let _held = cx.take_project(&name, "git forget")?;
    cx.registry()?.living_project(&name)?;
    let store = Store::of(&name);
    let mut gone = Vec::new();
    if store.forget_hosts(cx)? {
        gone.push("host keys");
    }
    if !args.hosts {
        if cx.registry()?.git_source(&name)?.is_some() {
            cx.registry()?.forget_git(&name)?;
            gone.push("repository");
        }
        gone.extend(store.remove(cx)?);
    }
    cx.record(Some(&name), "git forget", Ok(()))?;
    let text = match gone.len() {
        0 => "there was nothing to forget\n".to_owned(),
        _ => format!("forgotten: {}\n", gone.join(", ")),
    };
    cx.ui.result("git forget", Some(name.as_str()), &gone, &text);
    Ok(())
}

fn key(args: &KeyArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let _held = cx.take_project(&name, "git key")?;
    cx.registry()?.living_project(&name)?;
    let store = Store::of(&name);
    let is_new = args.rotate || !store.has_key(cx)?;
    if is_new {
        store.make_key(cx)?;
        cx.record(Some(&name), "git key", Ok(()))?;
    }
    let key = store.public_key(cx)?;
    if is_new {
        cx.ui.note("add it at the forge, as a deploy key that may only read");
    }
    cx.ui.result("git key", Some(name.as_str()), &key, &format!("{key}\n"));
    Ok(())
}

fn show(args: &ShowArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    cx.registry()?.project(&name)?;
    let store = Store::of(&name);
    let shown = Shown {
        source: cx.registry()?.git_source(&name)?,
        key: if store.has_key(cx)? { Some(store.public_key(cx)?.fingerprint()) } else { None },
        credential: store.credential(cx)?.as_ref().map(ToString::to_string),
    };
    let mut text = match &shown.source {
        Some(source) => format!("deployed from  {}\n", told(source)),
        None => format!("no repository is remembered  →  hostkit git config {name} --url URL\n"),
    };
    if let Some(key) = &shown.key {
        text.push_str(&format!("deploy key     {key}\n"));
    }
    if let Some(credential) = &shown.credential {
        text.push_str(&format!("token          {credential}\n"));
    }
    cx.ui.result("git show", Some(name.as_str()), &shown, &text);
    Ok(())
}
