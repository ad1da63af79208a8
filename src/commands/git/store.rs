//! What is kept of a project to get into its repository: root's alone.

use std::path::{Path, PathBuf};

use super::answer::Credential;
use crate::{
    commands::{Context, deploy::stage::DEPLOYS},
    error::Result,
    names::{ProjectName, PublicKey},
    sys::{Cmd, Owner, system},
};

/// Where systemd keeps the state of units that run as nobody in particular.
const STATE: &str = "/var/lib/private/hostkit-git";
/// Its own link to there.
const STATE_LINK: &str = "/var/lib/hostkit-git";

const KEYGEN: &str = "/usr/bin/ssh-keygen";

pub struct Store {
    name: ProjectName,
    dir: PathBuf,
}

impl Store {
    pub fn of(name: &ProjectName) -> Self {
        Self { name: name.clone(), dir: Path::new(DEPLOYS).join(name.as_str()).join("git") }
    }

    pub fn key_path(&self) -> PathBuf {
        self.dir.join("key")
    }

    pub fn credential_path(&self) -> PathBuf {
        self.dir.join("credential")
    }

    pub fn has_key(&self, cx: &Context) -> Result<bool> {
        Ok(cx.host.meta(&self.key_path())?.is_some())
    }

    /// Makes a key beside the old one, and puts it in its place.
    pub fn make_key(&self, cx: &Context) -> Result<()> {
        let fresh = self.dir.join("fresh");
        cx.host.make_dir(&self.dir, Owner::ROOT, 0o700)?;
        cx.host.remove_tree(&fresh)?;
        cx.host.make_dir(&fresh, Owner::ROOT, 0o700)?;
        let comment = format!("{}@{}", self.name, system::hostname());
        let cmd = Cmd::new(KEYGEN)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", &comment, "-f"])
            .arg(fresh.join("key"));
        cx.host.run(&cmd, &format!("make a deploy key of {}", self.name))?.success()?;
        cx.host.rename(&fresh.join("key"), &self.key_path())?;
        cx.host.remove_tree(&fresh)
    }

    pub fn public_key(&self, cx: &Context) -> Result<PublicKey> {
        let cmd = Cmd::new(KEYGEN).args(["-y", "-f"]).arg(self.key_path());
        cx.host.ask(&cmd)?.success()?.stdout_text().parse()
    }

    pub fn credential(&self, cx: &Context) -> Result<Option<Credential>> {
        let text = cx.host.read_text(&self.credential_path())?;
        Ok(text.as_deref().and_then(Credential::parse))
    }

    pub fn keep_credential(&self, cx: &Context, credential: &Credential) -> Result<()> {
        cx.host.make_dir(&self.dir, Owner::ROOT, 0o700)?;
        let text = credential.file();
        cx.host.write(&self.credential_path(), text.expose().as_bytes(), Owner::ROOT, 0o600)
    }

    /// Says whether there was one.
    pub fn remove_credential(&self, cx: &Context) -> Result<bool> {
        let had = cx.host.meta(&self.credential_path())?.is_some();
        if had {
            cx.host.remove_file(&self.credential_path())?;
        }
        Ok(had)
    }

    /// Says whether any was known.
    pub fn forget_hosts(&self, cx: &Context) -> Result<bool> {
        let known = Path::new(STATE).join(self.name.as_str()).join("known_hosts");
        let had = cx.host.meta(&known)?.is_some();
        if had {
            // What it is in is not root's, and a link that it may be goes as a link.
            cx.host.remove_tree(&known)?;
        }
        Ok(had)
    }

    /// Takes keys, tokens and mirrors away; says what there was.
    pub fn remove(&self, cx: &Context) -> Result<Vec<&'static str>> {
        let mut gone = Vec::new();
        let has = |path: &Path| Ok::<bool, crate::error::Error>(cx.host.meta(path)?.is_some());
        if has(&self.key_path())? {
            gone.push("deploy key");
        }
        if has(&self.credential_path())? {
            gone.push("token");
        }
        cx.host.remove_tree(&self.dir)?;
        if self.remove_mirrors(cx)? {
            gone.push("mirror");
        }
        Ok(gone)
    }

    /// Says whether there were any.
    pub fn remove_mirrors(&self, cx: &Context) -> Result<bool> {
        let state = Path::new(STATE).join(self.name.as_str());
        let link = Path::new(STATE_LINK).join(self.name.as_str());
        let had = cx.host.meta(&state)?.is_some();
        cx.host.remove_tree(&link)?;
        cx.host.remove_tree(&state)?;
        Ok(had)
    }
}
