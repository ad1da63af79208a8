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

const AT_JOBS: &str = "/var/spool/cron/atjobs";

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
        for job in host.list(Path::new(AT_JOBS))? {
            let path = Path::new(AT_JOBS).join(job);
            if host.meta(&path)?.is_some_and(|meta| meta.owner.uid == self.uid) {
                host.remove_file(&path)?;
            }
        }
        let manager = format!("user@{}.service", self.uid);
        if host.unit(&manager)?.is_active() {
            host.unit_job(systemd::Verb::Stop, &manager)?;
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
        host.run(&find.arg("-delete"), &format!("remove what `{}` left behind", self.user))?
            .success()?;
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
