//! git, on repositories that somebody else wrote: no hook, no filter, no helper, and no transport
//! but those that are named.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Cmd, Host, Output};
use crate::{
    error::Error,
    names::{GitUrl, Revision},
};

pub const GIT: &str = "/usr/bin/git";

/// Settings that win over those of a repository.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.askPass=",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "gc.autoDetach=false",
    "http.followRedirects=initial",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "maintenance.autoDetach=false",
    "submodule.recurse=false",
    "tar.umask=0022",
];

/// The unit that it runs in has the same limit.
const LIMIT: Duration = Duration::from_mins(15);

/// Where git keeps its mirrors, and what it may use to get in.
pub struct Git<'a> {
    pub host: &'a Host,
    pub state: PathBuf,
    /// The private half of a deploy key.
    pub key: Option<PathBuf>,
    /// What answers when a forge asks who we are.
    pub helper: String,
    /// Where that finds what it answers.
    pub credentials: Option<PathBuf>,
    pub unencrypted: bool,
}

/// Why nothing came. The other half of a deploy says it in words.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    AmbiguousCommit,
    BadSubmodule,
    Failed,
    HostKey,
    NoBranch,
    NoCommit,
    NoDefault,
    NoRepository,
    NoTag,
    Refused,
    TooLong,
    Transport,
    Unreachable,
    Untrusted,
}

/// With the words of git that tell it.
#[derive(Debug)]
pub struct Refused {
    pub trouble: Trouble,
    pub said: String,
    /// Of a submodule, and not of the repository itself.
    pub submodule: Option<GitUrl>,
}

pub type Result<T> = std::result::Result<T, Refused>;

/// A repository of somebody else's, as it was when it was last asked.
pub struct Mirror<'a> {
    git: &'a Git<'a>,
    dir: PathBuf,
    url: GitUrl,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::new(Trouble::Failed, error.to_string())
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        let is_long = error.kind() == std::io::ErrorKind::FileTooLarge;
        let trouble = if is_long { Trouble::TooLong } else { Trouble::Failed };
        Self::new(trouble, error.to_string())
    }
}

impl Refused {
    pub fn new(trouble: Trouble, said: impl Into<String>) -> Self {
        Self { trouble, said: said.into(), submodule: None }
    }

    /// The same, met with on the way to a submodule.
    #[must_use]
    pub fn of_submodule(mut self, url: &GitUrl) -> Self {
        self.submodule.get_or_insert_with(|| url.clone());
        self
    }
}

impl<'a> Git<'a> {
    fn cmd(&self) -> Cmd {
        let protocols = if self.unencrypted { "https:ssh:http:git" } else { "https:ssh" };
        let helper = format!("credential.helper={}", self.helper);
        let settings = SETTINGS.iter().copied().chain([helper.as_str()]);
        Cmd::new(GIT)
            .env("GIT_ALLOW_PROTOCOL", protocols)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_SSH_COMMAND", self.ssh())
            .env("GIT_SSH_VARIANT", "ssh")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", &self.state)
            .env("HOSTKIT_GIT_CREDENTIAL", self.credential())
            .args(settings.flat_map(|setting| ["-c", setting]))
            .limit(LIMIT)
    }

    /// git takes it as one line only; all that stands in it are words and paths of ours.
    fn ssh(&self) -> String {
        let known = self.state.join("known_hosts");
        let key = self.key.as_deref().unwrap_or(Path::new("/dev/null"));
        format!(
            "/usr/bin/ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new \
             -o UserKnownHostsFile={} -o GlobalKnownHostsFile=/dev/null -o IdentityFile={} \
             -o IdentitiesOnly=yes -o IdentityAgent=none -o PreferredAuthentications=publickey \
             -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4",
            known.display(),
            key.display()
        )
    }

    fn credential(&self) -> PathBuf {
        self.credentials.as_deref().unwrap_or(Path::new("/nowhere")).join("credential")
    }

    fn ask(&self, cmd: &Cmd) -> Result<Output> {
        Ok(self.host.ask(cmd)?)
    }

    /// Brings the mirror of an address up to date: every branch and tag, and none that is gone.
    pub fn mirror(&'a self, url: &GitUrl, wants_default: bool) -> Result<Mirror<'a>> {
        if !self.unencrypted && !url.transport().is_encrypted() {
            return Err(Refused::new(Trouble::Transport, format!("`{url}` is not encrypted")));
        }
        let digest = HEXLOWER.encode(&Sha256::digest(url.as_str()));
        let mirror = Mirror {
            git: self,
            dir: self.state.join(format!("{}.git", &digest[..32])),
            url: url.clone(),
        };
        mirror.fetch(wants_default)?;
        Ok(mirror)
    }

    pub fn mirrors(&self) -> Result<BTreeSet<PathBuf>> {
        let mut all = BTreeSet::new();
        for entry in std::fs::read_dir(&self.state)? {
            all.insert(entry?.path());
        }
        Ok(all)
    }

    /// Takes away the mirrors of other addresses than these.
    pub fn keep_only(&self, kept: &BTreeSet<PathBuf>) -> Result<()> {
        for entry in std::fs::read_dir(&self.state)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "git") && !kept.contains(&path) {
                std::fs::remove_dir_all(&path)?;
            }
        }
        Ok(())
    }
}

impl Mirror<'_> {
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn cmd(&self) -> Cmd {
        self.git.cmd().arg("--git-dir").arg(&self.dir)
    }

    fn fetch(&self, wants_default: bool) -> Result<()> {
        // Nobody else writes here, and the sandbox knows none of the calls that `Host` goes by.
        if !self.dir.join("HEAD").exists() {
            let init = self.cmd().args(["init", "--quiet", "--bare", "--template="]);
            self.git.ask(&init)?.success()?;
        }
        let default = wants_default.then_some("+HEAD:refs/hostkit/default");
        let fetch = self
            .cmd()
            .args(["fetch", "--quiet", "--prune", "--force", "--no-tags"])
            .args(["--no-write-fetch-head", "--no-recurse-submodules", "--"])
            .arg(self.url.as_str())
            .args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
            .args(default);
        let fetched = self.git.ask(&fetch)?;
        if fetched.status.success() {
            return Ok(());
        }
        let said = said(&fetched);
        Err(Refused::new(trouble(&said), said))
    }

    /// The full name of the commit that is meant.
    pub fn resolve(&self, revision: &Revision) -> Result<String> {
        let (found, trouble) = match revision {
            Revision::Branch(name) => {
                (self.commit(&format!("refs/heads/{name}"))?, Trouble::NoBranch)
            }
            Revision::Commit(name) => (self.abbreviated(name)?, Trouble::NoCommit),
            Revision::Default => (self.commit("refs/hostkit/default")?, Trouble::NoDefault),
            Revision::Tag(name) => (self.commit(&format!("refs/tags/{name}"))?, Trouble::NoTag),
        };
        match (found, trouble) {
            (Some(commit), _) => Ok(commit),
            (None, Trouble::NoBranch) => Err(Refused::new(trouble, self.names("refs/heads/")?)),
            (None, Trouble::NoTag) => Err(Refused::new(trouble, self.names("refs/tags/")?)),
            (None, _) => Err(Refused::new(trouble, "")),
        }
    }

    fn commit(&self, name: &str) -> Result<Option<String>> {
        let peeled = format!("{name}^{{commit}}");
        let out = self.git.ask(&self.cmd().args(["rev-parse", "--verify", "--quiet", &peeled]))?;
        Ok(out.status.success().then(|| out.stdout_text().trim().to_owned()))
    }

    /// By the beginning of its name, and never by a branch that is called so.
    fn abbreviated(&self, name: &str) -> Result<Option<String>> {
        let like = format!("--disambiguate={name}");
        let out = self.git.ask(&self.cmd().args(["rev-parse", &like]))?.success()?.stdout_text();
        let mut found = None;
        for object in out.lines().take(200) {
            let kind = self.git.ask(&self.cmd().args(["cat-file", "-t", object]))?;
            if kind.stdout_text().trim() != "commit" {
                continue;
            }
            if found.replace(object.to_owned()).is_some() {
                return Err(Refused::new(Trouble::AmbiguousCommit, ""));
            }
        }
        Ok(found)
    }

    /// The newest few, to choose from.
    fn names(&self, below: &str) -> Result<String> {
        let list = self.cmd().args(["for-each-ref", "--sort=-creatordate", "--count=10"]);
        let out = self.git.ask(&list.args(["--format=%(refname:strip=2)", below]))?.stdout_text();
        Ok(out.lines().collect::<Vec<_>>().join(", "))
    }

    /// The tree of a commit as a tar archive. Attributes are read, and no filter is run.
    pub fn archive(&self, commit: &str, prefix: &str, into: File) -> Result<()> {
        let prefix = format!("--prefix={prefix}");
        let cmd = self.cmd().args(["archive", "--format=tar", &prefix, commit]);
        let out = self.git.host.ask_into(&cmd, into)?;
        if out.status.success() {
            return Ok(());
        }
        let said = said(&out);
        let is_long = std::os::unix::process::ExitStatusExt::signal(&out.status)
            == Some(nix::sys::signal::Signal::SIGXFSZ as i32);
        Err(Refused::new(if is_long { Trouble::TooLong } else { Trouble::Failed }, said))
    }

    /// What stands in a commit in place of other repositories: path, address and commit.
    pub fn submodules(&self, commit: &str) -> Result<Vec<(String, GitUrl, String)>> {
        let blob = format!("{commit}:.gitmodules");
        let list = [
            "config",
            "--no-includes",
            "--null",
            "--blob",
            &blob,
            "--get-regexp",
            r"^submodule\..*\.(path|url)$",
        ];
        let text = self.git.ask(&self.cmd().args(list))?.stdout_text();
        let mut found = Vec::new();
        let entries: Vec<(&str, &str)> =
            text.split('\0').filter_map(|entry| entry.split_once('\n')).collect();
        for (key, path) in &entries {
            let Some(module) = key.strip_suffix("path") else { continue };
            let Some(pinned) = self.pinned(commit, path)? else { continue };
            let url = entries.iter().find(|(key, _)| key.strip_suffix("url") == Some(module));
            let bad = |why: &str| {
                Refused::new(Trouble::BadSubmodule, format!("{}: {why}", path.escape_debug()))
            };
            let (_, url) = url.ok_or_else(|| bad("it has no address"))?;
            let url = self.url.join(url).map_err(|error| bad(&error.to_string()))?;
            found.push(((*path).to_owned(), url, pinned));
        }
        Ok(found)
    }

    /// Whether it names files that stand elsewhere, of which only the names are fetched.
    pub fn has_lfs(&self, commit: &str) -> Result<bool> {
        let blob = format!("{commit}:.gitattributes");
        let attributes = self.git.ask(&self.cmd().args(["cat-file", "blob", &blob]))?;
        Ok(attributes.stdout_text().contains("filter=lfs"))
    }

    fn pinned(&self, commit: &str, path: &str) -> Result<Option<String>> {
        let list = self.cmd().args(["--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit]);
        let text = self.git.ask(&list.args(["--", path]))?.stdout_text();
        let entry = text.split('\0').next().and_then(|entry| entry.split_once('\t'));
        Ok(entry
            .filter(|(_, name)| *name == path)
            .and_then(|(what, _)| what.strip_prefix("160000 commit "))
            .map(str::to_owned))
    }
}

fn said(out: &Output) -> String {
    let text = out.stderr_text();
    // What every failure ends with, and says nothing.
    let is_empty = |line: &str| {
        ["Please make sure you have", "and the repository exists", "Warning: Permanently added"]
            .iter()
            .any(|start| line.starts_with(start))
            || line.trim().is_empty()
    };
    let lines: Vec<&str> = text.lines().filter(|line| !is_empty(line)).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// What git means, where its exit status says no more than that it failed.
fn trouble(said: &str) -> Trouble {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["IDENTIFICATION HAS CHANGED", "Host key verification failed"]) {
        Trouble::HostKey
    } else if has(&["transport '", "not allowed", "Protocol \"", "unsupported protocol"]) {
        Trouble::Transport
    } else if has(&["certificate verification failed", "SSL certificate problem", "SSL: "]) {
        Trouble::Untrusted
    } else if has(&["remote ref HEAD"]) {
        Trouble::NoDefault
    } else if has(&[
        "Permission denied",
        "could not read Username",
        "could not read Password",
        "Authentication failed",
        "returned error: 403",
        "returned error: 401",
    ]) {
        Trouble::Refused
    } else if has(&[
        "ot found",
        "does not appear to be a git repository",
        "access denied or repository not exported",
        "no such repository",
    ]) {
        Trouble::NoRepository
    } else if has(&[
        "Could not resolve",
        "Connection refused",
        "timed out",
        "No route to host",
        "Failed to connect",
        "unable to connect",
        "Network is unreachable",
        "Couldn't connect",
    ]) {
        Trouble::Unreachable
    } else if has(&["File too large", "signal 25"]) {
        Trouble::TooLong
    } else {
        Trouble::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_words_are_understood() {
        for (said, meant) in [
            ("fatal: repository 'https://f.example/x/' not found", Trouble::NoRepository),
            (
                "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
                Trouble::NoRepository,
            ),
            (
                "git@f: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                Trouble::Refused,
            ),
            (
                "fatal: could not read Username for 'https://f': terminal prompts disabled",
                Trouble::Refused,
            ),
            (
                "Host key verification failed.\nfatal: Could not read from remote repository.",
                Trouble::HostKey,
            ),
            (
                "fatal: unable to access 'https://f/x/': Could not resolve host: f",
                Trouble::Unreachable,
            ),
            ("ssh: connect to host f port 22: Connection refused", Trouble::Unreachable),
            ("fatal: transport 'http' not allowed", Trouble::Transport),
            ("fatal: couldn't find remote ref HEAD", Trouble::NoDefault),
            (
                "fatal: unable to access 'https://f/': server certificate verification failed. CAfile: none",
                Trouble::Untrusted,
            ),
            ("fatal: the moon", Trouble::Failed),
        ] {
            assert_eq!(trouble(said), meant, "{said}");
        }
    }
}
