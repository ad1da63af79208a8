//! A release from a git repository: what is asked for, fetched as nobody, and refused in words.

use std::{fmt, path::Path};

use super::stage::{self, Stage};
use crate::{
    commands::{
        Context,
        git::{
            address,
            fetch::{OUTCOME, Outcome, command},
            refused::Refusal,
            store::Store,
            told,
        },
    },
    error::{Error, Result},
    names::{GitUrl, ProjectName, Revision, Transport},
    projects::{self, FetchUnit},
    registry::GitSource,
    sys::{git::GIT, systemd::UNIT_FAILED},
};

/// The options that name a repository and what of it.
#[derive(Debug, clap::Args)]
pub struct GitArgs {
    /// Deploy from this git repository (https or ssh); without it, from the remembered one
    #[arg(long, value_name = "URL", conflicts_with_all = ["source", "archive"])]
    git: Option<String>,

    /// The newest commit of this branch
    #[arg(long, value_name = "BRANCH", conflicts_with_all = ["source", "archive", "tag", "commit"])]
    branch: Option<String>,

    /// What this tag names
    #[arg(long, value_name = "TAG", conflicts_with_all = ["source", "archive", "commit"])]
    tag: Option<String>,

    /// This commit, or the one whose name begins so
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["source", "archive"])]
    commit: Option<String>,

    /// Fetch submodules too
    #[arg(long, conflicts_with_all = ["source", "archive"])]
    submodules: bool,
}

/// A repository, and what of it.
#[derive(Debug)]
pub struct Wanted {
    url: GitUrl,
    revision: Revision,
    submodules: bool,
    /// What is remembered once this was deployed, where nothing was.
    first: Option<GitSource>,
    /// Said where something else is remembered.
    other: Option<GitSource>,
}

/// What came.
pub struct Came {
    pub commit: String,
    has_lfs: bool,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.url, self.revision)
    }
}

impl Wanted {
    /// What the options name, with what is remembered; `None` where neither does.
    pub fn of(args: &GitArgs, name: &ProjectName, cx: &mut Context) -> Result<Option<Self>> {
        let remembered = cx.registry()?.git_source(name)?;
        let url = match (&args.git, &remembered) {
            (Some(text), _) => address(text, &cx.config)?,
            (None, Some(source)) => address(source.url.as_str(), &cx.config)?,
            (None, None) => {
                let names = [&args.branch, &args.tag, &args.commit];
                if names.iter().all(|name| name.is_none()) && !args.submodules {
                    return Ok(None);
                }
                return Err(Error::usage("no_source", format!("{name} has no repository yet"))
                    .hint(format!("name it: `hostkit deploy {name} --git URL`")));
            }
        };
        let same = remembered.as_ref().filter(|source| source.url == url);
        let revision = match (&args.branch, &args.tag, &args.commit) {
            (Some(branch), ..) => Revision::branch(branch)?,
            (_, Some(tag), _) => Revision::tag(tag)?,
            (.., Some(commit)) => Revision::commit(commit)?,
            _ => match same.and_then(|source| source.branch.as_deref()) {
                Some(branch) => Revision::branch(branch)?,
                None => Revision::Default,
            },
        };
        let submodules = args.submodules || same.is_some_and(|source| source.submodules);
        // A tag or a commit is for once: the next deploy would go back to it for ever.
        let lasts = matches!(revision, Revision::Branch(_) | Revision::Default);
        let source = GitSource { url: url.clone(), branch: args.branch.clone(), submodules };
        let wanted = Self {
            first: (remembered.is_none() && lasts).then_some(source),
            other: remembered.filter(|source| source.url != url),
            url,
            revision,
            submodules,
        };
        wanted.check(name, cx).map(|()| Some(wanted))
    }

    /// What can be refused before anything is made.
    fn check(&self, name: &ProjectName, cx: &Context) -> Result<()> {
        let is_ssh = self.url.transport() == Transport::Ssh;
        let lacks = |program: &str, package: &str| {
            Error::not_ready("program_missing", format!("`{program}` is missing"))
                .caused_by(format!("fetching {} needs it", self.url))
                .hint(format!("install it on the server: `apt-get install {package}`"))
        };
        if !Path::new(GIT).exists() {
            return Err(lacks("git", "git"));
        }
        if is_ssh && !Path::new("/usr/bin/ssh").exists() {
            return Err(lacks("ssh", "openssh-client"));
        }
        if is_ssh && !knows_dynamic_users(cx)? {
            return Err(lacks("libnss-systemd", "libnss-systemd"));
        }
        if is_ssh && !Store::of(name).has_key(cx)? {
            return Err(Error::missing("no_key", format!("{name} has no deploy key"))
                .caused_by(format!("{} is reached by ssh", self.url))
                .hint(format!("make one and add it at the forge: `hostkit git key {name}`")));
        }
        Ok(())
    }

    /// Fetches in a unit of its own. The tree is an archive, where root alone may look.
    pub fn fetch(&self, cx: &Context, stage: &mut Stage<'_>, upload: &Path) -> Result<Came> {
        let project = stage.project;
        let store = Store::of(&project.name);
        let mut credentials = Vec::new();
        // Both: a submodule may go the other way. A key stays where it is, and a token has its host.
        if store.has_key(cx)? {
            credentials.push(("key", store.key_path().display().to_string()));
        }
        if store.credential(cx)?.is_some() {
            credentials.push(("credential", store.credential_path().display().to_string()));
        }
        let unencrypted = cx.config.git.unencrypted;
        let unit = FetchUnit {
            project,
            command: &command(&self.url, &self.revision, self.submodules, unencrypted),
            output: upload.display().to_string(),
            log: stage::log_path(&project.name, stage.id.as_str()).display().to_string(),
            credentials,
        };
        let text = projects::fetch_unit(&unit, &cx.config, &cx.templates()?)?;
        let (ran, tail) = stage.run_unit(cx, &text)?;
        let said = tail.said();
        let outcome = said.lines().last().and_then(|line| line.strip_prefix(OUTCOME));
        let outcome = outcome.and_then(|text| serde_json::from_str(text).ok());
        match (ran, outcome) {
            (Ok(()), Some(Outcome::Came { commit, has_lfs, .. })) if is_commit(&commit) => {
                Ok(Came { commit, has_lfs })
            }
            (Err(error), Some(Outcome::Refused { trouble, said, submodule }))
                if error.code == UNIT_FAILED =>
            {
                let refusal = Refusal {
                    name: &project.name,
                    url: submodule.as_ref().unwrap_or(&self.url),
                    revision: &self.revision,
                    trouble,
                    said: &said,
                };
                Err(refusal.error())
            }
            (Err(error), _) if error.code != UNIT_FAILED => Err(error),
            (ran, _) => {
                let why = ran.err().and_then(|error| error.cause);
                let why = why.unwrap_or_else(|| "it did not say how it ended".into());
                Err(Error::failed(format!("could not fetch {}", self.url))
                    .coded("git_failed")
                    .caused_by(format!("{why}\n{said}").trim()))
            }
        }
    }

    /// Remembers the first repository that was deployed, and says what else is worth knowing.
    pub fn remember(&self, cx: &mut Context, name: &ProjectName, came: &Came) -> Result<()> {
        if came.has_lfs {
            cx.ui.note("files kept by Git LFS are not fetched: their pointers are deployed");
        }
        if let Some(source) = &self.first {
            cx.registry()?.remember_git(name, source)?;
            let told = told(source);
            cx.ui.note(format!("from now on `hostkit deploy {name}` alone deploys {told}"));
        }
        if let Some(other) = &self.other {
            cx.ui.note(format!("`hostkit deploy {name}` alone still deploys {}", told(other)));
        }
        Ok(())
    }
}

fn is_commit(text: &str) -> bool {
    (text.len() == 40 || text.len() == 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// ssh wants to know the name of its user, which is nowhere but in systemd.
fn knows_dynamic_users(cx: &Context) -> Result<bool> {
    let text = cx.host.read_text(Path::new("/etc/nsswitch.conf"))?.unwrap_or_default();
    let is_asked = |line: &str| {
        line.strip_prefix("passwd:")
            .is_some_and(|services| services.split_ascii_whitespace().any(|s| s == "systemd"))
    };
    Ok(text.lines().any(is_asked))
}
