//! What kind of machine this is, who runs us, and what is installed.

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use rustix::process::{Pid, Resource, Rlimit};

use super::{Cmd, Host, cmd};
use crate::error::{Context, Error, Result};

/// A program that hostkit drives, and the Debian package that brings it.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/sbin/nginx", "nginx"),
    ("/usr/bin/redis-server", "redis-server"),
    ("/usr/bin/pg_dump", "postgresql"),
    ("/usr/bin/sudo", "sudo"),
    ("/usr/sbin/visudo", "sudo"),
    ("/usr/sbin/useradd", "passwd"),
    ("/usr/sbin/userdel", "passwd"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/sbin/logrotate", "logrotate"),
    ("/usr/bin/setfacl", "acl"),
    ("/usr/bin/tar", "tar"),
    ("/usr/bin/zstd", "zstd"),
    ("/usr/bin/dbus-daemon", "dbus"),
];

/// Packages that bring what is missing, each once.
pub fn missing_packages() -> Vec<&'static str> {
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !cmd::installed(program))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    missing
}

/// How much memory and swap there is, in bytes.
pub fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kilobytes << 10)
    };
    Some((total("MemTotal")?, total("SwapTotal")?))
}

/// The distribution: `debian`, `12`, and its own name for itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Distribution {
    pub id: String,
    pub version: String,
    pub name: String,
}

impl Distribution {
    pub fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let text = read("/etc/os-release").or_else(|| read("/usr/lib/os-release"));
        Self::parse(&text.unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let field = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']).to_owned())
                .unwrap_or_default()
        };
        Self { id: field("ID"), version: field("VERSION_ID"), name: field("PRETTY_NAME") }
    }

    /// Debian 12 and later (testing has no number), Ubuntu 22.04 and later.
    pub fn is_supported(&self) -> bool {
        let at_least = |least: (u32, u32)| {
            let mut parts = self.version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
            (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= least
        };
        match self.id.as_str() {
            "debian" => self.version.is_empty() || at_least((12, 0)),
            "ubuntu" => at_least((22, 4)),
            _ => false,
        }
    }
}

/// Who started us, as far as it decides what `SUDO_UID` is worth.
pub struct Parent {
    pub is_sudo: bool,
    /// Its real user; `None` where it is gone.
    pub uid: Option<u32>,
}

pub fn parent() -> Parent {
    let pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if pid <= 1 {
        return Parent { is_sudo: false, uid: None };
    }
    let proc = format!("/proc/{pid}");
    let exe = std::fs::read_link(format!("{proc}/exe")).ok();
    let is_sudo = exe.as_deref().is_some_and(|exe| {
        let name = exe.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let from_root = exe.metadata().is_ok_and(|meta| meta.uid() == 0);
        matches!(name, "sudo" | "sudo-rs") && from_root
    });
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    Parent { is_sudo, uid }
}

pub fn hostname() -> String {
    std::fs::read_to_string("/etc/hostname").map_or_else(|_| "HOST".into(), |t| t.trim().to_owned())
}

/// How many files a process may hold open: the limit in force, and the most that it may ask for.
pub fn open_files(pid: u32) -> Result<(u64, u64)> {
    let path = format!("/proc/{pid}/limits");
    let text = std::fs::read_to_string(&path).context(|| format!("could not read `{path}`"))?;
    let number = |word: &str| word.parse().unwrap_or(u64::MAX);
    let limits = text.lines().find_map(|line| {
        let mut words = line.strip_prefix("Max open files")?.split_ascii_whitespace();
        Some((number(words.next()?), number(words.next()?)))
    });
    limits.ok_or_else(|| Error::failed(format!("could not read `{path}`")))
}

impl Host {
    /// Brings a package of the distribution, as an owner would by hand.
    pub fn install(&self, package: &str) -> Result<()> {
        let apt = |verb: &[&str]| {
            Cmd::new("/usr/bin/apt-get")
                .args(["--quiet", "--yes", "--option", "DPkg::Lock::Timeout=120"])
                .args(verb)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .limit(Duration::from_mins(15))
        };
        let failed = |error: Error| {
            error
                .coded("not_installed")
                .hint(format!("install it by hand: `apt-get install {package}`"))
        };
        // What is known of it may be old; that it can't be asked for need not matter.
        let _ = self.run(&apt(&["update"]), "ask for the list of packages");
        let install = apt(&["install", "--no-install-recommends", package]);
        self.run(&install, &format!("install {package}"))?.success().map(|_| ()).map_err(failed)
    }

    pub fn limit_open_files(&self, pid: u32, soft: u64, hard: u64) -> Result<()> {
        let what = format!("limit the open files of process {pid}");
        let finite = |n: u64| if n == u64::MAX { None } else { Some(n) };
        let limits = Rlimit { current: finite(soft), maximum: finite(hard) };
        self.effect(&what, || {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            rustix::process::prlimit(pid, Resource::Nofile, limits)
                .map(|_| ())
                .context(|| format!("could not {what}"))
        })
    }
}

/// Whether a file system other than its parent's is mounted below a directory.
pub fn mounts_below(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|at| Path::new(at).starts_with(dir) && Path::new(at) != dir)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tried_distributions_are_supported() {
        let cases = [
            ("debian", "12", true),
            ("debian", "13", true),
            ("debian", "", true),
            ("debian", "11", false),
            ("ubuntu", "22.04", true),
            ("ubuntu", "24.10", true),
            ("ubuntu", "20.04", false),
            ("fedora", "41", false),
        ];
        for (id, version, supported) in cases {
            let text = format!("ID={id}\nVERSION_ID=\"{version}\"\nPRETTY_NAME='x'\n");
            assert_eq!(Distribution::parse(&text).is_supported(), supported, "{id} {version}");
        }
    }
}
