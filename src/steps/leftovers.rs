//! What a user may have left outside of its home: jobs, mail, temporary files, shared memory.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::Result,
    sys::{Cmd, Host, systemd, users},
};

#[derive(Debug, Deserialize, Serialize)]
pub struct Leftovers {
    pub user: String,
    pub uid: u32,
}

/// Directories where anybody may write.
const OPEN: &[&str] = &["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock"];

/// Jobs, and what an editor of them that was killed leaves.
const JOBS: [&str; 2] = ["/var/spool/cron/atjobs", "/var/spool/cron/crontabs"];

impl Leftovers {
    /// What would bring a process back after all have been ended.
    fn starters(&self) -> [PathBuf; 2] {
        [
            Path::new("/var/spool/cron/crontabs").join(&self.user),
            Path::new("/var/lib/systemd/linger").join(&self.user),
        ]
    }

    fn stop_starters(&self, host: &Host) -> Result<()> {
        for path in self.starters() {
            if host.meta(&path)?.is_some() {
                host.remove_file(&path)?;
            }
        }
        self.remove_jobs(host)?;
        let manager = format!("user@{}.service", self.uid);
        if host.unit(&manager)?.is_active() {
            host.unit_job(systemd::Verb::Stop, &manager)?;
        }
        Ok(())
    }

    fn remove_jobs(&self, host: &Host) -> Result<()> {
        for dir in JOBS.map(Path::new) {
            for job in host.list(dir)? {
                let path = dir.join(job);
                if host.meta(&path)?.is_some_and(|meta| meta.owner.uid == self.uid) {
                    host.remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    fn clean_open_directories(&self, host: &Host) -> Result<()> {
        let uid = self.uid.to_string();
        let there: Vec<&&str> = OPEN.iter().filter(|dir| Path::new(dir).is_dir()).collect();
        let find = Cmd::new("/usr/bin/find").args(&there).args(["-xdev", "-uid", &uid]);
        if host.ask(&find)?.stdout.is_empty() {
            return Ok(());
        }
        // A directory goes with what others put into it. `-execdir` works from a directory that
        // find holds open: whoever swaps one for a link meanwhile leads rm nowhere.
        let rm = ["-prune", "-execdir", "/usr/bin/rm", "-rf", "--one-file-system", "--", "{}", "+"];
        host.run(&find.args(rm), &format!("remove what `{}` left behind", self.user))?.success()?;
        Ok(())
    }

    fn clean_shared_memory(&self, host: &Host) -> Result<()> {
        for (table, flag) in [("msg", "-q"), ("sem", "-s"), ("shm", "-m")] {
            let text =
                std::fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
            let Some(column) = text
                .lines()
                .next()
                .and_then(|head| head.split_ascii_whitespace().position(|name| name == "uid"))
            else {
                continue;
            };
            for line in text.lines().skip(1) {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                if words.get(column).is_some_and(|uid| *uid == self.uid.to_string())
                    && let Some(id) = words.get(1)
                {
                    let ipcrm = Cmd::new("/usr/bin/ipcrm").args([flag, *id]);
                    host.run(&ipcrm, &format!("remove shared memory of `{}`", self.user))?
                        .success()?;
                }
            }
        }
        Ok(())
    }
}

impl Step for Leftovers {
    fn title(&self) -> String {
        format!("whatever else belongs to {}", self.user)
    }

    fn check(&self, _host: &Host) -> Result<Check> {
        Ok(Check::InPlace)
    }

    fn apply(&self, _host: &Host) -> Result<()> {
        Ok(())
    }

    fn undo(&self, _host: &Host, _before: &Before) -> Result<()> {
        Ok(())
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.stop_starters(host)?;
        users::kill_all(host, self.uid)?;
        self.remove_jobs(host)?;
        let mail = Path::new("/var/mail").join(&self.user);
        if host.meta(&mail)?.is_some() {
            host.remove_file(&mail)?;
        }
        self.clean_open_directories(host)?;
        self.clean_shared_memory(host)
    }

    fn revoke(&self, host: &Host) -> Result<()> {
        self.stop_starters(host)
    }
}
