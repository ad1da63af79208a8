//! Repositories of backups, by the program `restic`: its own format, which it reads without us.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Cmd, Host, Output, Owner, pipe::Ours, retries::Retries};
use crate::{
    error::{Context, Error, Result},
    secret::Secret,
};

pub const PROGRAM: &str = "/usr/bin/restic";

/// Root's alone: it holds names, though no contents.
pub const CACHE: &str = "/var/cache/hostkit-backup";

/// As which host all of ours are: a repository outlives the name of its server.
const HOST: &str = "hostkit";

/// Long enough for many gigabytes over a slow line.
const LIMIT: Duration = Duration::from_hours(12);

/// Who is to be kept says nothing for so long at most.
pub const IDLE: Duration = Duration::from_mins(10);

/// It tries for a quarter of an hour by itself, each time: an outage as short as a restart is ridden
/// out, and of a longer one somebody is told.
const RETRIES: Retries =
    Retries { words: "returned error, retrying", limit: Duration::from_secs(50) };

#[derive(Clone)]
pub enum Key {
    File(PathBuf),
    Text(Secret),
}

/// Where backups are, and how to get in.
#[derive(Clone)]
pub struct Repository {
    pub place: String,
    pub key: Key,
    /// Variables by which a storage service knows us.
    pub access: Vec<(&'static str, Secret)>,
    /// How to reach a host over SFTP.
    pub ssh: Option<String>,
}

/// What was kept in one go. Its tags name it; an id is another one in each repository.
#[derive(Clone, Debug, Deserialize)]
pub struct Snapshot {
    pub id: String,
    #[serde(default)]
    pub tags: Vec<String>,
    pub time: String,
}

/// What a stream came to on its way in or out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Streamed {
    pub bytes: u64,
    pub sha256: String,
    /// What it added to the repository, as far as that is known.
    pub stored: u64,
}

/// What restic says last.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Summary {
    pub data_added: u64,
    pub total_bytes_processed: u64,
    pub snapshot_id: String,
}

/// Passes bytes on and hashes them.
pub struct Hashing<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn count(&mut self, part: &[u8]) {
        self.hash.update(part);
        self.bytes += part.len() as u64;
    }

    pub fn end(self) -> Streamed {
        let sha256 = HEXLOWER.encode(&self.hash.finalize());
        Streamed { bytes: self.bytes, sha256, stored: 0 }
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(part)?;
        self.count(&part[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, part: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(part)?;
        self.count(&part[..n]);
        Ok(n)
    }
}

impl Key {
    /// As hostkit makes them, and no person does.
    fn is_random(&self) -> bool {
        let is = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match self {
            Self::File(path) => std::fs::read_to_string(path).is_ok_and(|text| is(text.trim())),
            Self::Text(key) => is(key.expose()),
        }
    }
}

impl Repository {
    /// One on this server.
    pub fn local(place: &str, key: &str) -> Self {
        Self { place: place.into(), key: Key::File(key.into()), access: Vec::new(), ssh: None }
    }

    fn cmd(&self, verb: &str) -> Cmd {
        let mut cmd = Cmd::new(PROGRAM)
            .args(["--repo", &self.place, "--cache-dir", CACHE, "--cleanup-cache"])
            // Its collector need not hurry, as long as it stays below that.
            .env("GOGC", "100")
            .env("GOMEMLIMIT", "150MiB")
            .env("HOME", "/root")
            .limit(LIMIT)
            .retries(RETRIES);
        if let Some(ssh) = &self.ssh {
            cmd = cmd.args(["--option", &format!("sftp.command={ssh}")]);
        }
        for (name, value) in &self.access {
            cmd = cmd.env(name, value.expose());
        }
        match &self.key {
            Key::File(path) => cmd.arg("--password-file").arg(path),
            Key::Text(key) => cmd.env("RESTIC_PASSWORD", key.expose()),
        }
        .arg(verb)
    }
}

impl Host {
    /// Makes a repository where there is none; with the seams of another one, so that what is
    /// copied from there is found to be there already.
    pub fn make_repository(&self, to: &Repository, like: Option<&Repository>) -> Result<()> {
        let mut cmd = to.cmd("init");
        // restic makes guessing a password as slow as half a second of this machine allows, and pays
        // that with every command. Nobody guesses a random key: a slow machine will do.
        if to.key.is_random() {
            cmd = cmd.held_back();
        }
        if let Some(like) = like {
            cmd = cmd.arg("--copy-chunker-params");
            cmd = from(cmd, like);
        }
        self.carried_out(&cmd, "make the repository of backups").map(|_| ())
    }

    /// Whether there is a repository that the key opens; an error says what else is wrong.
    pub fn has_repository(&self, at: &Repository) -> Result<bool> {
        let out = self.ask(&at.cmd("cat").args(["config", "--no-lock"])).map_err(explained)?;
        let said = out.stderr_text();
        // Whoever does not answer may have one.
        let absent = ["does not exist", "no such file", "not exist"];
        if !out.status.success() && absent.iter().any(|words| said.contains(words)) {
            return Ok(false);
        }
        out.success().map_err(explained).map(|_| true)
    }

    fn told(&self, cmd: &Cmd) -> Result<Output> {
        self.ask(cmd).and_then(Output::success).map_err(explained)
    }

    fn carried_out(&self, cmd: &Cmd, what: &str) -> Result<Output> {
        self.run(cmd, what).and_then(Output::success).map_err(explained)
    }

    /// Takes away the locks of those who are gone.
    pub fn unlock_repository(&self, at: &Repository) -> Result<()> {
        self.told(&at.cmd("unlock")).map(|_| ())
    }

    /// What was kept with all of these tags, in the order of its time.
    pub fn snapshots(&self, at: &Repository, tags: &[String]) -> Result<Vec<Snapshot>> {
        let mut cmd = at.cmd("snapshots").args(["--json", "--no-lock"]);
        if !tags.is_empty() {
            cmd = cmd.args(["--tag", &tags.join(",")]);
        }
        let out = self.told(&cmd)?;
        let text = out.stdout_text();
        let found: Option<Vec<Snapshot>> = serde_json::from_str(text.trim()).map_err(|e| {
            Error::failed("could not understand the list of what is kept").caused_by(e)
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Keeps what `produce` writes. If that fails nothing is kept.
    pub fn keep_stream(
        &self,
        at: &Repository,
        tags: &[String],
        name: &str,
        produce: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<Streamed> {
        let cmd = at
            .cmd("backup")
            .args(["--json", "--host", HOST, "--tag", &tags.join(",")])
            .args(["--stdin", "--stdin-filename", name]);
        self.effect(&format!("keep `{name}`"), || {
            let mut restic = self.start(&cmd, Ours::Input)?;
            let mut to = Hashing::new(restic.input()?);
            let produced = produce(&mut to);
            let streamed = to.end();
            if let Err(error) = produced {
                // Who wrote to a restic that is gone knows only that it is.
                let is_gone =
                    error.cause.as_deref().is_some_and(|cause| cause.contains("broken pipe"));
                if !is_gone {
                    return Err(error);
                }
                return match restic.finish()?.success() {
                    Err(why) => Err(explained(why)),
                    Ok(_) => Err(error),
                };
            }
            let summary = summary(&restic.finish()?.success().map_err(explained)?);
            Ok(Streamed { stored: summary.data_added, ..streamed })
        })
    }

    /// Reads one kept file, the newest with these tags. What comes is what was kept, or an error.
    pub fn read_stream<T>(
        &self,
        at: &Repository,
        tags: &[String],
        name: &str,
        consume: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<(T, Streamed)> {
        let cmd = at.cmd("dump").args(["--no-lock", "--tag", &tags.join(","), "latest"]);
        let cmd = cmd.arg(format!("/{name}"));
        let mut restic = self.start(&cmd, Ours::Output)?;
        let output = restic.take_output();
        let output = output.ok_or_else(|| Error::failed("could not read what is kept"))?;
        let mut from = Hashing::new(output);
        let consumed = consume(&mut from);
        // It has to come to its end: only then did it check all of it.
        let drained = std::io::copy(&mut from, &mut std::io::sink());
        let streamed = from.end();
        restic.finish()?.success().map_err(explained)?;
        drained.context(|| "could not read what is kept".into())?;
        Ok((consumed?, streamed))
    }

    /// Reads a kept directory as a tar archive.
    pub fn read_tree(
        &self,
        at: &Repository,
        tags: &[String],
        dir: &str,
        unpack: impl FnOnce(File) -> Result<()>,
    ) -> Result<()> {
        let cmd = at
            .cmd("dump")
            .args(["--no-lock", "--archive", "tar", "--tag", &tags.join(","), "latest"])
            .arg(dir);
        let mut restic = self.start(&cmd, Ours::Output)?;
        let output = restic.take_output();
        let output = output.ok_or_else(|| Error::failed("could not read what is kept"))?;
        let unpacked = unpack(output);
        // Who did not read to the end hears of a pipe that broke: the first word counts.
        let read = restic.finish()?.success().map_err(explained);
        match (read, unpacked) {
            (Err(e), Ok(())) => Err(e),
            (Err(e), Err(_)) if !e.to_string().contains("broken pipe") => Err(e),
            (_, unpacked) => unpacked,
        }
    }

    /// Unpacks a kept directory into one that is empty, as a user who need not find the way there.
    pub fn unpack_tree(
        &self,
        at: &Repository,
        tags: &[String],
        dir: &str,
        into: &Path,
        user: Owner,
    ) -> Result<()> {
        let failed = || format!("could not unpack into `{}`", into.display());
        let depth = dir.split('/').filter(|name| !name.is_empty()).count();
        // Inherited on purpose: the program is handed the directory, and no path.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let handle = rustix::fs::open(into, flags, Mode::empty()).context(failed)?;
        self.read_tree(at, tags, dir, |archive| {
            let tar = Cmd::new("/usr/bin/tar")
                .args(["--extract", "--file=-", "--same-permissions", "--no-same-owner"])
                .args(["--delay-directory-restore", "--warning=no-timestamp"])
                .arg(format!("--strip-components={depth}"))
                .arg(format!("--directory=/proc/self/fd/{}", handle.as_raw_fd()))
                .user(user)
                .input(archive)
                .limit(LIMIT);
            self.run(&tar, &format!("unpack into `{}`", into.display()))?.success().map(|_| ())
        })
    }

    /// Forgets snapshots; with `prune` the room that they took is free afterwards.
    pub fn forget(&self, at: &Repository, ids: &[String], prune: bool) -> Result<()> {
        if !ids.is_empty() {
            let cmd = at.cmd("forget").arg("--quiet").args(ids);
            self.carried_out(&cmd, "forget old backups")?;
        }
        if prune {
            let cmd = at.cmd("prune").args(["--quiet", "--max-unused", "10%"]);
            self.carried_out(&cmd, "make room in the repository")?;
        }
        Ok(())
    }

    /// Reads all of a repository and checks it.
    pub fn check_repository(&self, at: &Repository, read_all: bool) -> Result<()> {
        let mut cmd = at.cmd("check");
        if read_all {
            cmd = cmd.arg("--read-data");
        }
        self.told(&cmd).map(|_| ())
    }

    /// Copies snapshots to another repository; those that are there already stay as they are.
    pub fn copy_snapshots(&self, of: &Repository, to: &Repository, ids: &[String]) -> Result<()> {
        let cmd = from(to.cmd("copy"), of).arg("--quiet").args(ids);
        self.carried_out(&cmd, "copy backups").map(|_| ())
    }

    /// Bytes that a repository takes.
    pub fn repository_size(&self, at: &Repository) -> Result<u64> {
        #[derive(Deserialize)]
        struct Stats {
            total_size: u64,
        }
        let cmd = at.cmd("stats").args(["--json", "--no-lock", "--mode", "raw-data"]);
        let out = self.told(&cmd)?;
        let stats: Stats = serde_json::from_slice(&out.stdout)
            .map_err(|e| Error::failed("could not understand restic").caused_by(e))?;
        Ok(stats.total_size)
    }
}

/// Where a copy comes from.
fn from(cmd: Cmd, of: &Repository) -> Cmd {
    let cmd = cmd.args(["--from-repo", &of.place]);
    match &of.key {
        Key::File(path) => cmd.arg("--from-password-file").arg(path),
        Key::Text(key) => cmd.env("RESTIC_FROM_PASSWORD", key.expose()),
    }
}

/// The line that tells how a backup went.
pub fn summary(out: &Output) -> Summary {
    last_summary(&out.stdout_text())
}

pub fn last_summary(text: &str) -> Summary {
    let line = text.lines().rev().find(|line| line.contains("\"summary\""));
    line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

/// The code of an error that says nothing of a backup, but of the way to it.
pub const UNREACHABLE: &str = "unreachable";

const UNREACHED: [&str; 11] = [
    "connection refused",
    "Connection refused",
    "connection reset",
    "no route to host",
    "No route to host",
    "no such host",
    "i/o timeout",
    "Connection timed out",
    "Connection closed by foreign host",
    "Service Unavailable",
    "\": EOF",
];

/// What restic said, in words that say what to do.
pub fn explained(error: Error) -> Error {
    let said = error.cause.clone().unwrap_or_default();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["wrong password", "no key found", "password is incorrect"]) {
        return Error::failed("the key does not open the repository of backups")
            .coded("wrong_key")
            .caused_by(said)
            .hint("the recovery key was printed when the repository was made: write it to `/etc/hostkit/backup.key`, or hand it over by `--key-file`");
    }
    if has(&["no space left on device", "disk quota exceeded"]) {
        return Error::failed("there is no room for the backup")
            .coded("disk_full")
            .caused_by(said)
            .hint(
                "make room where the repository is: `df -h /srv/backups`, `hostkit backup rotate`",
            );
    }
    let damaged = || {
        Error::failed("the repository of backups is damaged")
            .coded("damaged")
            .caused_by(said.clone())
            .hint("see how far: `hostkit backup verify`; a new backup keeps what is still on the server")
    };
    let unreached = || {
        Error::failed("the place of the backups does not answer")
            .coded(UNREACHABLE)
            .caused_by(said.clone())
            .hint("see that it is up and that the way there is open, and try again")
    };
    // What came is wrong: whatever else went wrong, too.
    if has(&["unexpected file size", "ciphertext verification failed", "hash mismatch"]) {
        return damaged();
    }
    if has(&UNREACHED) {
        return unreached();
    }
    if has(&["already locked"]) {
        return Error::new(crate::error::Kind::Locked, "locked", "somebody else works on the repository of backups")
            .caused_by(said)
            .hint("try again when it is done; a lock that nobody holds any more goes by itself after half an hour");
    }
    if has(&[
        "ciphertext verification failed",
        "invalid data returned",
        "does not match",
        "unexpected EOF",
        "id mismatch",
        "not found in repository",
        "hash mismatch",
        "load <data",
        "not found in index",
        "is damaged",
        "no such file or directory",
    ]) {
        return damaged();
    }
    if has(&["returned error, retrying"]) {
        return unreached();
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_understood() {
        let text = "{\"message_type\":\"status\"}\n{\"message_type\":\"summary\",\"data_added\":295,\"total_bytes_processed\":6,\"snapshot_id\":\"e3ec5f62\"}\n";
        let summary = last_summary(text);
        assert_eq!((summary.data_added, summary.snapshot_id.as_str()), (295, "e3ec5f62"));
        assert_eq!(last_summary("nonsense").data_added, 0);
    }

    #[test]
    fn a_wrong_key_is_told_in_clear_words() {
        let error = Error::failed("x").caused_by("Fatal: wrong password or no key found");
        assert_eq!(explained(error).code, "wrong_key");
        let error = Error::failed("x").caused_by("write: no space left on device");
        assert_eq!(explained(error).code, "disk_full");
        assert_eq!(explained(Error::failed("x").caused_by("else")).code, "failed");
    }
}
