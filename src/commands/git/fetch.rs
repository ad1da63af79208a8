//! `hostkit git fetch`: the half of a deploy that talks to a forge, as nobody in particular.
//!
//! The tree goes to standard output as an archive; how it ended goes to standard error, as its
//! last line. The half that runs as root reads both as hostile data.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufReader, BufWriter, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use crate::{
    archive::join,
    commands::Context,
    error::{Context as _, Error},
    names::{GitUrl, Revision},
    sys::git::{Git, Mirror, Refused, Result, Trouble},
};

/// Fetch a repository, and write a tree of it to standard output
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    url: String,
    #[arg(long)]
    branch: Option<String>,
    #[arg(long)]
    tag: Option<String>,
    #[arg(long)]
    commit: Option<String>,
    #[arg(long)]
    submodules: bool,
    #[arg(long)]
    unencrypted: bool,
}

/// How a fetch ended.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Outcome {
    Came { commit: String, has_lfs: bool, submodules: usize },
    Refused { trouble: Trouble, said: String, submodule: Option<GitUrl> },
}

/// What stands before an outcome: git's own lines are never written raw beside it.
pub const OUTCOME: &str = "outcome: ";

/// The name of the one directory around a tree, which unpacking takes off.
const TOP: &str = "tree/";

const MOST_SUBMODULES: usize = 100;
const DEEPEST: usize = 5;

/// The words of a fetch as its unit runs it.
pub fn command(
    url: &GitUrl,
    revision: &Revision,
    submodules: bool,
    unencrypted: bool,
) -> Vec<String> {
    let mut words: Vec<String> =
        ["/usr/bin/hostkit", "git", "fetch", "--url", url.as_str()].map(str::to_owned).into();
    match revision {
        Revision::Branch(name) => words.push(format!("--branch={name}")),
        Revision::Commit(name) => words.push(format!("--commit={name}")),
        Revision::Default => {}
        Revision::Tag(name) => words.push(format!("--tag={name}")),
    }
    words.extend(submodules.then(|| "--submodules".to_owned()));
    words.extend(unencrypted.then(|| "--unencrypted".to_owned()));
    words
}

pub fn run(args: &Args, cx: &Context) -> crate::error::Result<ExitCode> {
    let url: GitUrl = args.url.parse()?;
    let revision = match (&args.branch, &args.tag, &args.commit) {
        (Some(name), ..) => Revision::branch(name)?,
        (_, Some(name), _) => Revision::tag(name)?,
        (.., Some(name)) => Revision::commit(name)?,
        _ => Revision::Default,
    };
    let state = directory("STATE_DIRECTORY")
        .ok_or_else(|| Error::usage("no_state", "this is for hostkit's own units to run"))?;
    let credentials = directory("CREDENTIALS_DIRECTORY");
    let key = credentials.as_ref().map(|dir| dir.join("key")).filter(|key| key.exists());
    let git = Git {
        host: &cx.host,
        state,
        key,
        helper: "/usr/bin/hostkit git answer".into(),
        credentials,
        unencrypted: args.unencrypted,
    };
    let fetched = Fetch { git: &git, used: BTreeSet::new(), submodules: 0 };
    let (outcome, code) = match fetched.run(&url, &revision, args.submodules) {
        Ok(outcome) => (outcome, ExitCode::SUCCESS),
        Err(Refused { trouble, said, submodule }) => {
            for line in said.lines() {
                tell(&format!("git: {line}"));
            }
            (Outcome::Refused { trouble, said, submodule }, ExitCode::FAILURE)
        }
    };
    let outcome = serde_json::to_string(&outcome)
        .map_err(|e| Error::failed("could not tell how it ended").caused_by(e))?;
    tell(&format!("{OUTCOME}{outcome}"));
    Ok(code)
}

/// A directory that systemd names in the environment.
fn directory(variable: &str) -> Option<PathBuf> {
    let value = std::env::var(variable).ok()?;
    (value.starts_with('/') && !value.contains([':', ' ', '\''])).then(|| value.into())
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

struct Fetch<'a> {
    git: &'a Git<'a>,
    /// Mirrors that this tree needed.
    used: BTreeSet<PathBuf>,
    submodules: usize,
}

impl Fetch<'_> {
    /// What comes to nothing leaves no more mirrors than there were.
    fn run(mut self, url: &GitUrl, revision: &Revision, submodules: bool) -> Result<Outcome> {
        let before = self.git.mirrors()?;
        let came = self.fetch(url, revision, submodules);
        if came.is_err() {
            self.git.keep_only(&before)?;
        }
        came
    }

    fn fetch(&mut self, url: &GitUrl, revision: &Revision, submodules: bool) -> Result<Outcome> {
        let mirror = self.git.mirror(url, *revision == Revision::Default)?;
        let commit = mirror.resolve(revision)?;
        self.used.insert(mirror.dir().to_owned());
        let out = std::io::stdout().as_fd().try_clone_to_owned()?;
        if submodules {
            let mut out = BufWriter::new(File::from(out));
            self.with_submodules(&mirror, &commit, TOP, 0, &mut out)?;
            join::end(&mut out)?;
        } else {
            mirror.archive(&commit, TOP, File::from(out))?;
        }
        let has_lfs = mirror.has_lfs(&commit)?;
        self.git.keep_only(&self.used)?;
        Ok(Outcome::Came { commit, has_lfs, submodules: self.submodules })
    }

    /// The tree of a commit, and in it those of the repositories that it names. git's own
    /// submodules would write into a tree that the repository controls; this only reads.
    fn with_submodules(
        &mut self,
        mirror: &Mirror<'_>,
        commit: &str,
        prefix: &str,
        depth: usize,
        out: &mut impl Write,
    ) -> Result<()> {
        let part = self.git.state.join("part.tar");
        let made = part_file(&part)?;
        mirror.archive(commit, prefix, made)?;
        let read = File::open(&part)?;
        join::append(BufReader::new(read), out)?;
        std::fs::remove_file(&part)?;
        for (path, url, pinned) in mirror.submodules(commit)? {
            self.submodules += 1;
            if depth >= DEEPEST || self.submodules > MOST_SUBMODULES {
                let why = format!("{path}: it is number {} at depth {depth}", self.submodules);
                return Err(Refused::new(Trouble::BadSubmodule, why));
            }
            tell(&format!("submodule {}: {url}", path.escape_debug()));
            let below = self.git.mirror(&url, false).map_err(|e| match e.trouble {
                Trouble::Transport => Refused::new(Trouble::BadSubmodule, e.said),
                _ => e.of_submodule(&url),
            })?;
            self.used.insert(below.dir().to_owned());
            if below.resolve(&Revision::Commit(pinned.clone())).is_err() {
                let why = format!("{path}: {url} has no commit {pinned}");
                return Err(Refused::new(Trouble::BadSubmodule, why));
            }
            self.with_submodules(&below, &pinned, &format!("{prefix}{path}/"), depth + 1, out)?;
        }
        Ok(())
    }
}

fn part_file(path: &Path) -> Result<File> {
    Ok(File::create(path).context(|| format!("could not write `{}`", path.display()))?)
}
