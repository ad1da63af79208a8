//! `git push` to `NAME@server:`, by a key that may deploy: received by the project's own user, and
//! deployed through the gate.
//!
//! All of it runs as that user, on a repository that the project's own units can't reach: git runs
//! what its configuration says, and outside of their sandbox. What root sees is an archive on standard input, as of every deploy.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use super::gate;
use crate::{
    error::{Context as _, Error, Kind, Result},
    names::ProjectName,
    projects,
    sys::git::GIT,
};

/// What git asks for when it pushes.
const RECEIVE: &str = "git-receive-pack";

/// Branches that are deployed, the first of them that there is.
const DEPLOYED: [&str; 2] = ["main", "master"];

/// Settings that win over those of the repository, which is its user's.
const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "gc.autoDetach=false",
    "maintenance.autoDetach=false",
    "receive.denyCurrentBranch=ignore",
    "receive.denyDeletes=false",
    "receive.denyNonFastForwards=false",
    "receive.maxInputSize=1073741824",
    "tar.umask=0022",
];

/// Whether the other side of a connection wants to push.
pub fn is_asked(line: &str) -> bool {
    line == RECEIVE || line.starts_with("git-receive-pack ")
}

/// Takes the push, and deploys the branch if it moved. A deploy that fails puts it back, so that
/// the same push works again.
pub fn receive(name: &ProjectName, line: &str, verbs: &[String]) -> Result<ExitCode> {
    if !verbs.is_empty() && !verbs.iter().any(|verb| verb == "deploy") {
        return Err(Error::new(Kind::Forbidden, "forbidden", "this key may not push")
            .caused_by(format!("a push is deployed, and it may ask for {}", verbs.join(", "))));
    }
    // Whatever path is named: there is one repository here.
    if projects::parse_request(line, name)?.len() > 2 {
        return Err(Error::usage("bad_request", "the gate can't read this request"));
    }
    let repository = Repository { dir: name.home().join("push/repo.git") };
    repository.make()?;
    let before = repository.tips()?;
    let received = repository.git().args(["receive-pack"]).arg(&repository.dir).status();
    let received = received.context(|| format!("could not run `{GIT}`"))?;
    if !received.success() {
        return Ok(code(received));
    }
    let after = repository.tips()?;
    let Some(at) = after.iter().position(Option::is_some) else { return Ok(ExitCode::SUCCESS) };
    let (branch, Some(commit)) = (DEPLOYED[at], &after[at]) else { return Ok(ExitCode::SUCCESS) };
    if before[at].as_ref() == Some(commit) {
        tell(&format!("hostkit: {branch} did not move, so nothing is deployed"));
        return Ok(ExitCode::SUCCESS);
    }
    let deployed = repository.deploy(name, commit)?;
    if deployed != 0 {
        repository.put_back(branch, commit, before[at].as_deref())?;
        tell(&format!("hostkit: {branch} is where it was; mend it and push again"));
    }
    Ok(ExitCode::from(deployed))
}

fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn code(status: std::process::ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

struct Repository {
    dir: PathBuf,
}

impl Repository {
    fn git(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "runs as the caller, on the caller's pipes")]
        let mut command = Command::new(GIT);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", "/")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command
    }

    fn asked(&self, words: &[&str]) -> Result<std::process::Output> {
        let mut git = self.git();
        git.arg("--git-dir").arg(&self.dir).args(words).stdin(Stdio::null());
        git.output().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::not_ready("program_missing", "`git` is missing on the server")
                    .hint("let its operator install it: `apt-get install git`")
            }
            _ => Error::failed(format!("could not run `{GIT}`")).caused_by(e),
        })
    }

    fn make(&self) -> Result<()> {
        if self.dir.join("HEAD").exists() {
            return Ok(());
        }
        let made =
            self.asked(&["init", "--quiet", "--bare", "--template=", "--initial-branch=main"])?;
        if made.status.success() {
            return Ok(());
        }
        Err(Error::failed(format!("could not make `{}`", self.dir.display()))
            .caused_by(String::from_utf8_lossy(&made.stderr).trim()))
    }

    /// Where the branches that are deployed stand.
    fn tips(&self) -> Result<[Option<String>; 2]> {
        let mut tips = [None, None];
        for (tip, branch) in tips.iter_mut().zip(DEPLOYED) {
            let name = format!("refs/heads/{branch}^{{commit}}");
            let out = self.asked(&["rev-parse", "--verify", "--quiet", &name])?;
            let commit = String::from_utf8_lossy(&out.stdout).trim().to_owned();
            *tip = (out.status.success() && !commit.is_empty()).then_some(commit);
        }
        Ok(tips)
    }

    /// Hands the tree to the gate, and what that says to who pushes.
    fn deploy(&self, name: &ProjectName, commit: &str) -> Result<u8> {
        let failed = || format!("could not read `{}`", self.dir.display());
        let mut archive = self
            .git()
            .arg("--git-dir")
            .arg(&self.dir)
            .args(["archive", "--format=tar", "--prefix=tree/", commit])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context(failed)?;
        let tree = archive.stdout.take().ok_or_else(|| Error::failed(failed()))?;
        let line = format!("hostkit deploy {name} --archive - --revision {commit}");
        let deployed = gate::send_pushed(name, line, tree);
        archive.wait().context(failed)?;
        deployed
    }

    fn put_back(&self, branch: &str, now: &str, before: Option<&str>) -> Result<()> {
        let name = format!("refs/heads/{branch}");
        let out = match before {
            Some(before) => self.asked(&["update-ref", &name, before, now])?,
            None => self.asked(&["update-ref", "-d", &name, now])?,
        };
        if out.status.success() {
            return Ok(());
        }
        Err(Error::failed(format!("could not put {branch} back"))
            .caused_by(String::from_utf8_lossy(&out.stderr).trim())
            .hint("push once more with another commit on top"))
    }
}
