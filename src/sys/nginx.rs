//! nginx: is its configuration whole, what does it hold, would it take a site of ours.

use std::{
    io::Write,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::MemfdFlags;

use super::{Cmd, Host, lock};
use crate::error::{Context, Error, Result};

const NGINX: &str = "/usr/sbin/nginx";
pub const UNIT: &str = "nginx.service";

/// The whole configuration as nginx reads it, file by file.
pub struct Dump {
    pub files: Vec<(PathBuf, String)>,
}

/// Where and why nginx refuses its configuration.
pub struct Broken {
    pub place: Option<(PathBuf, u32)>,
    pub why: String,
}

impl Host {
    /// Reads the configuration and checks it, which costs nginx one pass over it.
    pub fn nginx_dump(&self) -> Result<Result<Dump, Broken>> {
        let mut tries = 5;
        loop {
            let out = self.ask(&Cmd::new(NGINX).args(["-T", "-q"]))?;
            if out.status.success() {
                return Ok(Ok(Dump { files: split(&out.stdout_text()) }));
            }
            let said = out.stderr_text();
            // A site may go while nginx reads: another hostkit undoes or deletes beside us.
            tries -= 1;
            if tries == 0 || !said.contains("hostkit-") || !said.contains("No such file") {
                return Ok(Err(broken(&said)));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets nginx judge one file by itself, before it is where nginx would read it.
    pub fn nginx_approves(&self, site: &Path) -> Result<()> {
        let failed = || "could not have the site checked".to_owned();
        let memory =
            rustix::fs::memfd_create("hostkit-nginx", MemfdFlags::empty()).context(failed)?;
        let mut config = std::fs::File::from(memory);
        // What sites of hostkit's rely on from its shared file, in any values that parse.
        let text = format!(
            "pid /dev/null;\nevents {{}}\nhttp {{\n    server_names_hash_bucket_size 512;\n    \
             map $host $hostkit_port {{ default 0; }}\n    \
             map $http_upgrade $hostkit_connection {{ default close; }}\n    include {};\n}}\n",
            site.display()
        );
        config.write_all(text.as_bytes()).context(failed)?;
        let path = format!("/proc/self/fd/{}", config.as_raw_fd());
        let out = self.ask(&Cmd::new(NGINX).args(["-t", "-q", "-c", &path]))?;
        if out.status.success() {
            return Ok(());
        }
        Err(Error::failed("nginx would not take the site that was made")
            .caused_by(broken(&out.stderr_text()).why)
            .hint("if `/etc/hostkit/templates/nginx/` has a template of your own, mend it"))
    }

    /// Which nginx it is: 1.22.1.
    pub fn nginx_version(&self) -> Result<[u32; 3]> {
        let out = self.ask(&Cmd::new(NGINX).args(["-v"]))?;
        Ok(version(&out.stderr_text()))
    }

    /// Makes nginx take up its configuration: old workers finish what they serve. They come back,
    /// for who wants to wait until none of them takes a request any more.
    pub fn nginx_reload(&self) -> Result<Workers> {
        // Workers that an earlier word still makes would be taken for those of ours: also one whose
        // hostkit was killed.
        let _turn = lock::take_reload()?;
        let start = Instant::now();
        while is_busy(&master()) && start.elapsed() < BUSY {
            std::thread::sleep(Duration::from_millis(2));
        }
        let old = Workers::now();
        self.signal_unit(UNIT, nix::sys::signal::Signal::SIGHUP as i32)?;
        Ok(old)
    }
}

/// So long at most is waited for what nginx was told before.
const BUSY: Duration = Duration::from_secs(2);

fn master() -> String {
    let pid = std::fs::read_to_string("/run/nginx.pid").unwrap_or_default();
    pid.trim().to_owned()
}

/// Whether nginx's first process is about something, or was told to: it only lets a signal
/// through while it waits for one.
fn is_busy(master: &str) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{master}/status")).unwrap_or_default();
    status.lines().any(has_hangup)
}

/// Of the signals that are pending or blocked, as the kernel lists them.
fn has_hangup(line: &str) -> bool {
    let Some((what, set)) = line.split_once(':') else { return false };
    let set = u64::from_str_radix(set.trim(), 16).unwrap_or(0);
    let bit = 1 << (nix::sys::signal::Signal::SIGHUP as u32 - 1);
    matches!(what, "SigPnd" | "ShdPnd" | "SigBlk") && set & bit != 0
}

/// Processes of nginx that serve.
pub struct Workers(Vec<String>);

impl Workers {
    fn now() -> Self {
        let master = master();
        let children = format!("/proc/{master}/task/{master}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        Self(
            children
                .split_ascii_whitespace()
                .map(str::to_owned)
                .filter(|pid| takes_requests(pid))
                .collect(),
        )
    }

    /// Whether all of them are gone, or only finish what they began.
    pub fn have_retired(&self) -> bool {
        !self.0.iter().any(|pid| takes_requests(pid))
    }

    /// Whether none of them answers anybody any more, also not who had connected before.
    pub fn are_gone(&self) -> bool {
        !self.0.iter().any(|pid| title(pid).starts_with(WORKER))
    }
}

const WORKER: &str = "nginx: worker process";

fn takes_requests(pid: &str) -> bool {
    let title = title(pid);
    title.starts_with(WORKER) && !title.contains("shutting down")
}

fn title(pid: &str) -> String {
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&title).into_owned()
}

impl Dump {
    /// Files other than hostkit's own that name a server so.
    pub fn who_names(&self, domain: &str) -> Option<&Path> {
        self.files
            .iter()
            .filter(|(path, _)| !is_ours(path))
            .find(|(_, text)| {
                directives(text).any(|words| {
                    words[0] == "server_name"
                        && words[1..]
                            .iter()
                            .any(|word| word.trim_matches('"').eq_ignore_ascii_case(domain))
                })
            })
            .map(|(path, _)| path.as_path())
    }

    /// A file other than hostkit's own that answers for unknown hosts on port 80.
    pub fn foreign_default(&self) -> Option<&Path> {
        self.defaults_on("80")
    }

    /// One that answers for them by HTTPS.
    pub fn foreign_tls_default(&self) -> Option<&Path> {
        self.defaults_on("443")
    }

    /// Whether nginx itself answers by HTTPS already.
    pub fn listens_on_443(&self) -> bool {
        self.files.iter().any(|(_, text)| {
            directives(text).any(|words| {
                let at = words.get(1).copied().unwrap_or_default();
                words[0] == "listen" && (at == "443" || at.ends_with(":443"))
            })
        })
    }

    fn defaults_on(&self, port: &str) -> Option<&Path> {
        self.files
            .iter()
            .filter(|(path, _)| !is_ours(path))
            .find(|(_, text)| {
                directives(text).any(|words| {
                    let fits = words.get(1).is_some_and(|at| {
                        *at == port
                            || at.ends_with(&format!(":{port}"))
                            || port == "80" && !at.contains(|c: char| c.is_ascii_digit())
                    });
                    words[0] == "listen" && fits && words.contains(&"default_server")
                })
            })
            .map(|(path, _)| path.as_path())
    }

    /// Whether a directive is set outside of hostkit's own files.
    pub fn sets(&self, directive: &str) -> bool {
        self.files
            .iter()
            .filter(|(path, _)| !is_ours(path))
            .any(|(_, text)| directives(text).any(|words| words[0] == directive))
    }
}

/// `nginx version: nginx/1.22.1 (Ubuntu)`
fn version(said: &str) -> [u32; 3] {
    let numbers = said.split_once("nginx/").map_or("", |(_, rest)| rest);
    let numbers = numbers.split(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap_or("");
    let mut parts = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    [0; 3].map(|none| parts.next().unwrap_or(none))
}

fn is_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.starts_with("hostkit-") || name.starts_with("00-hostkit")
    })
}

/// Directives as lists of words, as far as a reader for names and ports needs them.
fn directives(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let mut found = vec![Vec::new()];
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        // A directive ends with its sign and may go on over lines until then.
        let mut parts = line.split([';', '{', '}']);
        let mut open = found.pop().unwrap_or_default();
        open.extend(parts.next().unwrap_or_default().split_ascii_whitespace());
        found.push(open);
        found.extend(parts.map(|part| part.split_ascii_whitespace().collect::<Vec<_>>()));
    }
    found.into_iter().filter(|words| !words.is_empty())
}

/// `nginx -T` heads each file with `# configuration file /path:`.
fn split(dump: &str) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for line in dump.lines() {
        let head =
            line.strip_prefix("# configuration file ").and_then(|rest| rest.strip_suffix(':'));
        match (head, files.last_mut()) {
            (Some(path), _) => files.push((path.into(), String::new())),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    files
}

/// `nginx: [emerg] unknown directive "x" in /etc/nginx/sites-enabled/y:3`
fn broken(stderr: &str) -> Broken {
    let line = stderr
        .lines()
        .find(|line| line.contains("[emerg]") || line.contains("[crit]"))
        .or_else(|| stderr.lines().next())
        .unwrap_or("it says nothing");
    let why = line.split_once("] ").map_or(line, |(_, rest)| rest).to_owned();
    let place = why.rsplit_once(" in /").and_then(|(_, rest)| {
        let (path, number) = rest.rsplit_once(':')?;
        Some((PathBuf::from(format!("/{path}")), number.trim().parse().ok()?))
    });
    Broken { place, why }
}

impl Broken {
    /// The error for a change that can't be carried out while nginx is so.
    pub fn error(&self) -> Error {
        let whose = match &self.place {
            Some((path, line)) if !is_ours(path) => {
                format!("it was broken before hostkit came, by `{}` line {line}", path.display())
            }
            _ => "nginx does not take its configuration".to_owned(),
        };
        Error::not_ready("nginx_broken", whose)
            .caused_by(&self.why)
            .hint("mend it until `nginx -t` is content, then run the command again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(path: &str, text: &str) -> Dump {
        Dump { files: split(&format!("# configuration file {path}:\n{text}\n")) }
    }

    #[test]
    fn it_is_busy_while_a_hangup_waits_or_can_not_come() {
        let status = |pending: &str, blocked: &str| {
            format!(
                "Name:\tnginx\nSigPnd:\t0\nShdPnd:\t{pending}\nSigBlk:\t{blocked}\nSigIgn:\t1\n"
            )
        };
        let is = |text: String| text.lines().any(has_hangup);
        assert!(!is(status("0000000000000000", "0000000000000000")));
        assert!(is(status("0000000000010001", "0000000000000000")));
        assert!(is(status("0000000000000000", "0000000018014a07")));
        assert!(!is(status("0000000000000002", "0000000000000004")));
    }

    #[test]
    fn a_foreign_name_is_found_and_ours_is_not() {
        let text = "server {\n  listen 80;\n  server_name a.example.com\n B.example.com; # c.example.com\n}";
        let foreign = dump("/etc/nginx/sites-enabled/shop", text);
        assert!(foreign.who_names("a.example.com").is_some());
        assert!(foreign.who_names("c.example.com").is_none());
        assert!(
            dump("/etc/nginx/sites-enabled/hostkit-shop", text)
                .who_names("a.example.com")
                .is_none()
        );
    }

    #[test]
    fn a_foreign_default_is_found() {
        let of = |listen: &str| {
            dump("/etc/nginx/sites-enabled/default", listen).foreign_default().is_some()
        };
        assert!(of("listen 80 default_server;"));
        assert!(of("listen [::]:80 default_server;"));
        assert!(!of("listen 80;"));
        assert!(!of("listen 443 ssl default_server;"));
        assert!(!of("# listen 80 default_server;"));
        let on_443 = |listen: &str| {
            let dump = dump("/etc/nginx/sites-enabled/default", listen);
            (dump.foreign_tls_default().is_some(), dump.listens_on_443())
        };
        assert_eq!(on_443("listen [::]:443 ssl default_server;"), (true, true));
        assert_eq!(on_443("listen 443 ssl;"), (false, true));
        assert_eq!(on_443("listen 80 default_server;"), (false, false));
    }

    #[test]
    fn a_version_is_read() {
        assert_eq!(version("nginx version: nginx/1.22.1\n"), [1, 22, 1]);
        assert_eq!(version("nginx version: nginx/1.18.0 (Ubuntu)\n"), [1, 18, 0]);
        assert_eq!(version("?"), [0, 0, 0]);
    }

    #[test]
    fn the_place_of_an_error_is_read() {
        let broken = broken(
            "nginx: [emerg] unknown directive \"x\" in /etc/nginx/sites-enabled/y:3\nnginx: test failed",
        );
        assert_eq!(broken.place, Some(("/etc/nginx/sites-enabled/y".into(), 3)));
        assert!(broken.error().message.contains("broken before hostkit came"));
    }
}
