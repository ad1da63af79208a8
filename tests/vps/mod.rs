//! Throw-away servers for tests: booted in seconds, crashed and booted again, gone at the end.

pub mod browser;
mod load;
mod shop;
mod snapshot;
pub mod wire;

use std::{
    fs::File,
    io::{Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use load::Load;
pub use shop::{MANIFEST, Shop, app};
pub use snapshot::Snapshot;

/// Projects on a server that is ready answer below this domain.
pub const BASE_DOMAIN: &str = "apps.test";

/// Words for a shell that wait until a command without single quotes succeeds, for a minute at most.
pub fn until(succeeds: &str) -> String {
    format!("timeout 60 bash -c 'until {succeeds}; do sleep 0.05; done'")
}

/// Words for a shell that wait until somebody listens there.
pub fn listened(port: u16) -> String {
    until(&format!("ss -ltnH | grep -q \":{port} \""))
}

/// The program under test, as cargo built it.
const HOSTKIT: &str = env!("CARGO_BIN_EXE_hostkit");

pub struct Vps {
    name: String,
}

/// A command that ended. Look at how.
#[must_use = "say whether it should have succeeded"]
pub struct Ran {
    what: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Bytes, as the kernel counts them for a whole server.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// The most at once, with what can be dropped: pages of files that were read.
    pub peak: u64,
    pub own: u64,
    pub cache: u64,
    /// Processes that were killed for want of memory.
    pub killed: u64,
}

/// What a web server answered.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Vps {
    /// Does something in a thread that is inside of the server's network.
    pub fn spawn_inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let network = File::open(format!("/run/netns/hostkit-{}", self.name)).unwrap();
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).unwrap();
            work()
        })
    }

    /// A fresh server with hostkit's program on it, and nothing done yet.
    pub fn bare() -> Self {
        let vps = Self::boot_new(None, None);
        vps.push(Path::new(HOSTKIT), "/usr/bin/hostkit");
        vps
    }

    /// A server where `hostkit init` is done.
    pub fn ready() -> Self {
        Self::boot_new(Some(&layer("ready", |_| ())), None)
    }

    /// One that is ready, and has only so much memory.
    pub fn small(bytes: u64) -> Self {
        Self::boot_new(Some(&layer("ready", |_| ())), Some(bytes))
    }

    /// A server that is ready, with more on it: made by whichever test needs it first.
    pub fn with(what: &str, fill: impl FnOnce(&Self)) -> Self {
        Self::boot_new(Some(&layer(what, fill)), None)
    }

    /// One that is ready, where nothing limits how often something is deployed.
    pub fn unlimited() -> Self {
        let vps = Self::ready();
        let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
        vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
        vps
    }

    fn boot_new(layer: Option<&str>, memory: Option<u64>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::SeqCst);
        let name =
            format!("t{}{}", std::process::id() % 10_000_000, char::from(b'a' + (n % 26) as u8));
        let vps = Self { name };
        let mut args = vec!["up", &vps.name];
        args.extend(layer);
        let memory = memory.map(|bytes| bytes.to_string()).unwrap_or_default();
        script_with(&args, &memory);
        vps
    }

    /// Pulls the plug: everything is killed, the disk stays.
    pub fn crash(&self) {
        script(&["crash", &self.name]);
    }

    pub fn boot(&self) {
        script(&["boot", &self.name]);
    }

    pub fn address(&self) -> String {
        script(&["ip", &self.name]).trim().to_owned()
    }

    /// Of a small one.
    pub fn memory(&self) -> Memory {
        let said = script(&["memory", &self.name]);
        let all: Vec<u64> = said.split_whitespace().map(|n| n.parse().unwrap()).collect();
        Memory { peak: all[1], own: all[2], cache: all[3], killed: all[4] }
    }

    /// Runs hostkit as root; words are split at spaces.
    pub fn hostkit(&self, line: &str) -> Ran {
        self.hostkit_args(&line.split_ascii_whitespace().collect::<Vec<_>>())
    }

    pub fn hostkit_args(&self, args: &[&str]) -> Ran {
        self.run(&[&["hostkit"], args].concat(), b"")
    }

    /// Runs hostkit so that it fails or dies at a change of the host: `kill@12`.
    pub fn hostkit_fault(&self, fault: &str, line: &str) -> Ran {
        let fault = format!("HOSTKIT_FAULT={fault}");
        let mut words = vec!["env", &fault, "hostkit"];
        words.extend(line.split_ascii_whitespace());
        self.run(&words, b"")
    }

    /// How many changes a command makes, told by hostkit when a fault is asked for and never reached.
    pub fn changes(&self, line: &str) -> usize {
        let ran = self.hostkit_fault("fail@9999", line);
        let told =
            |l: &str| l.strip_prefix("hostkit: ")?.strip_suffix(" changes passed")?.parse().ok();
        let changes = ran.stderr.lines().find_map(told).unwrap_or_else(|| panic!("{ran}"));
        ran.succeeds();
        changes
    }

    /// Runs a script as root.
    pub fn sh(&self, script: &str) -> Ran {
        self.run(&["bash", "-c", script], b"")
    }

    /// Runs a script as another user, from its home, as a login would.
    pub fn sh_as(&self, user: &str, script: &str) -> Ran {
        self.run(&["runuser", "-l", user, "-c", script], b"")
    }

    pub fn run(&self, words: &[&str], stdin: &[u8]) -> Ran {
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let bytes = stdin.to_owned();
        let feeder = std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        let out = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        Ran::new(words.join(" "), &out)
    }

    /// A command inside, for a test that wants to hold it by itself.
    pub fn command(&self, words: &[&str]) -> Command {
        let leader = self.leader();
        let mut command = Command::new("nsenter");
        command.args(["-t", &leader, "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"]);
        command.args([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LANG=C.UTF-8",
            "TERM=dumb",
        ]);
        command.args(words);
        command
    }

    fn leader(&self) -> String {
        let pid = std::fs::read_to_string(home().join("run").join(&self.name).join("nspawn.pid"))
            .unwrap();
        let pid = pid.trim();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_ascii_whitespace().next().expect("the server is up").to_owned()
    }

    pub fn push(&self, from: &Path, to: &str) {
        script(&["push", &self.name, from.to_str().unwrap(), to]);
    }

    pub fn write(&self, path: &str, text: &str) {
        let made = self.run(
            &["sh", "-c", "mkdir -p \"$(dirname \"$1\")\" && cat > \"$1\"", "sh", path],
            text.as_bytes(),
        );
        made.succeeds();
    }

    pub fn read(&self, path: &str) -> String {
        self.run(&["cat", path], b"").succeeds()
    }

    pub fn exists(&self, path: &str) -> bool {
        self.run(&["test", "-e", path, "-o", "-L", path], b"").code == 0
    }

    /// Asks the server's port 80 from outside.
    pub fn get(&self, host: &str, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect((self.address().as_str(), 80)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
    }

    /// All of the server that a test can compare: files, users, roles, rules, units, ports.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(self)
    }

    /// Makes a release by hand and points the project to it, as a deploy would.
    pub fn release(&self, project: &str, files: &[(&str, &str)]) {
        let id = "20260101-000000";
        let dir = format!("/home/{project}/releases/{id}");
        for (name, text) in files {
            self.write(&format!("{dir}/{name}"), text);
        }
        self.sh(&format!(
            "set -e; touch {dir}/.complete; chown -R root:{project} {dir}; chmod -R u=rwX,g=rX,o= {dir}; \
             ln -sfn releases/{id} /home/{project}/app; hostkit repair {project}"
        ))
        .succeeds();
    }

    /// Tries again and again until it holds, or fails the test.
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Vps {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("HOSTKIT_VPS_KEEP").is_some() {
            eprintln!("kept for you: tests/vps/vps exec {} bash", self.name);
            return;
        }
        script(&["down", &self.name]);
    }
}

impl Ran {
    fn new(what: String, out: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = out.status.code().unwrap_or_else(|| 128 + out.status.signal().unwrap_or(0));
        let ran = Self { what, code, stdout: text(&out.stdout), stderr: text(&out.stderr) };
        for broken in ["panicked at", "hostkit has a bug", "stack backtrace"] {
            assert!(!ran.stderr.contains(broken), "{ran}");
        }
        ran
    }

    /// Its output, if it succeeded.
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }

    /// What it said, if it failed in that way.
    pub fn fails_with(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.stderr
    }

    /// The data of a JSON document, if it succeeded.
    pub fn data(self) -> serde_json::Value {
        let text = self.succeeds();
        let mut document: serde_json::Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(document["ok"], true, "{document}");
        document["data"].take()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, code, stdout, stderr } = self;
        write!(f, "`{what}` ended with {code}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

fn home() -> PathBuf {
    std::env::var_os("HOSTKIT_VPS_HOME")
        .map_or_else(|| "/var/cache/hostkit/vps".into(), PathBuf::from)
}

/// Runs the harness; a test can't go on without it.
fn script(args: &[&str]) -> String {
    script_with(args, "")
}

fn script_with(args: &[&str], memory: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vps/vps");
    let out = Command::new(path)
        .args(args)
        .env("HOSTKIT_VPS_OWNER", std::process::id().to_string())
        .env("HOSTKIT_VPS_MEMORY", memory)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "tests/vps/vps {}: {stderr} (are you root?)", args.join(" "));
    String::from_utf8(out.stdout).unwrap()
}

/// A disk on which this program has done `hostkit init` and more: made by whichever test needs it
/// first.
fn layer(what: &str, fill: impl FnOnce(&Vps)) -> String {
    let meta = std::fs::metadata(HOSTKIT).unwrap();
    let made = meta.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let suite = std::env::var("HOSTKIT_VPS_SUITE").unwrap_or_else(|_| "bookworm".into());
    let layer = format!("{what}-{suite}-{:x}-{:x}", made.as_millis(), meta.len());
    std::fs::create_dir_all(home()).unwrap();
    let lock = File::create(home().join(format!("{suite}.layer-lock"))).unwrap();
    lock.lock().unwrap();
    if !home().join("layers").join(&layer).exists() {
        let vps = Vps::bare();
        vps.hostkit(&format!("init --base-domain {BASE_DOMAIN}")).succeeds();
        fill(&vps);
        vps.sh("rm -rf /var/log/journal/* /run/hostkit; sync").succeeds();
        script(&["keep", &vps.name, &layer]);
        std::mem::forget(vps);
    }
    layer
}
