//! One project as an attacker: of its neighbour, of root, and of what it may use and not change.
//!
//! What is tried, and how, stands in `abuse/attacker.py`.

use std::{
    fmt,
    io::{BufRead, BufReader, ErrorKind, Write},
    net::TcpStream,
    process::{Child, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::vps::{BASE_DOMAIN, Snapshot, Vps};

const ATTACKER: &str = include_str!("abuse/attacker.py");

/// Stands wherever the neighbour keeps something.
const SECRET: &str = "xyzzy-of-bob";
const SECRET_KEY: &str = "secret-of-bob";

const FAMILIES: &[&str] = &["files", "own", "redis", "postgres", "network", "processes", "server"];

/// Two projects whose apps are up: mallory attacks, bob minds his own business.
pub struct Neighbours {
    pub vps: Vps,
    pub brief: Value,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// The project's user at a shell: a developer, or whoever has its key.
    Login,
    /// The app itself, in its unit.
    App,
}

/// One line of the attacker's report.
#[derive(Debug, Deserialize)]
pub struct Attempt {
    family: String,
    attempt: Option<String>,
    control: Option<String>,
    #[serde(default)]
    got_through: bool,
    #[serde(default)]
    works: bool,
    how: String,
    broken: Option<String>,
}

pub struct Attempts(Vec<Attempt>);

impl Neighbours {
    pub fn move_in() -> Self {
        let vps = Vps::ready();
        for name in ["bob", "mallory"] {
            vps.hostkit(&format!("provision {name} --quiet")).succeeds();
        }
        vps.sh(&format!("echo SECRET={SECRET} >> /home/bob/.env")).succeeds();
        for name in ["bob", "mallory"] {
            release_python(&vps, name, ATTACKER);
        }
        std::thread::scope(|scope| {
            for name in ["bob", "mallory"] {
                let vps = &vps;
                scope.spawn(move || vps.hostkit(&format!("project start {name}")).succeeds());
            }
        });
        vps.sh_as(
            "bob",
            &format!(
                "set -e; . ~/.env; echo {SECRET} | tee shared/upload.txt > .cache/cached.txt; \
                 redis-cli -u $REDIS_URL set {SECRET_KEY} {SECRET}; \
                 psql -q $DATABASE_URL -c \"create table secrets as select '{SECRET}' as secret\""
            ),
        )
        .succeeds();
        // Places that fill in the course of time, so that nothing is refused for being absent.
        vps.sh("set -e; cd /srv/backups/hostkit; mkdir -p -m 700 bob/20260101-000000-last; \
             cp /home/bob/.env bob/20260101-000000-last/env; chmod 600 bob/*/env; \
             mkdir -p -m 700 /var/lib/hostkit/kept; touch /var/lib/hostkit/kept/x; \
             install -o redis -g redis -m 660 /dev/null /var/lib/redis/dump.rdb")
            .succeeds();
        let brief = brief(&vps);
        Self { vps, brief }
    }

    pub fn attack(&self, from: From, families: &[&str]) -> Attempts {
        let attempts = self.attack_by(from, families, &[]);
        attempts.tell(from);
        attempts
    }

    /// Tries only what is named.
    fn attack_by(&self, from: From, families: &[&str], only: &[&str]) -> Attempts {
        let mut brief = self.brief.clone();
        brief["sandboxed"] = json!(from == From::App);
        brief["only"] = json!(only);
        let families = families.join(" ");
        let text = match from {
            From::Login => {
                let command = format!("python3 ~/app {families}");
                let words = ["runuser", "-l", "mallory", "-c", &command];
                self.vps.run(&words, brief.to_string().as_bytes()).succeeds()
            }
            From::App => {
                let words = ["runuser", "-l", "mallory", "-c", "cat > shared/brief.json"];
                self.vps.run(&words, brief.to_string().as_bytes()).succeeds();
                let families = families.replace(' ', ",");
                let port = &self.brief["me"]["port"];
                let url = format!("http://127.0.0.1:{port}/attack/{families}");
                self.vps.run(&["curl", "-sS", "--max-time", "300", &url], b"").succeeds()
            }
        };
        let read = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        Attempts(text.lines().map(read).collect())
    }

    /// Bob's things are as they were, and both projects are as they are recorded.
    fn assert_unharmed(&self) {
        let port = &self.brief["it"]["port"];
        let things = self.vps.sh_as(
            "bob",
            &format!(
                ". ~/.env; cat shared/upload.txt; redis-cli -u $REDIS_URL get {SECRET_KEY}; \
                 psql -XAtq $DATABASE_URL -c 'select secret from secrets'; \
                 curl -sS http://127.0.0.1:{port}/ | head -1"
            ),
        );
        assert_eq!(things.succeeds(), format!("{SECRET}\n{SECRET}\n{SECRET}\nI am bob\n"));
        for name in ["bob", "mallory"] {
            self.vps.hostkit(&format!("drift {name}")).succeeds();
            let answer = self.vps.get(&format!("{name}.{BASE_DOMAIN}"), "/").unwrap();
            assert!(answer.body.starts_with(&format!("I am {name}\n")), "{}", answer.body);
        }
        self.vps.hostkit("doctor").succeeds();
    }

    fn assert_still_there(&self, name: &str) {
        self.vps.hostkit(&format!("drift {name}")).succeeds();
        let answer = self.vps.get(&format!("{name}.{BASE_DOMAIN}"), "/").unwrap();
        assert!(answer.body.starts_with(&format!("I am {name}\n")), "{}", answer.body);
    }

    /// The server without what belongs to mallory anyway.
    fn snapshot(&self) -> Snapshot {
        outside(&self.vps)
    }

    fn spawn(&self, user: &str, words: &str) -> Running {
        Running::start(&self.vps, user, words)
    }
}

fn outside(vps: &Vps) -> Snapshot {
    let mut snapshot = vps.snapshot();
    for kind in [
        "file /home/mallory/shared",
        "file /home/mallory/.cache",
        "file /var/log/projects/mallory/",
        "file /var/log/projects/bob/app.log",
        "file /var/log/nginx/hostkit-",
        "file /srv/backups/hostkit",
        "process",
        "redis db",
    ] {
        snapshot = snapshot.without(kind);
    }
    snapshot
}

/// A release with one file and an interpreter, as a deploy would make it.
pub fn release_python(vps: &Vps, name: &str, text: &str) {
    vps.release(name, &[("__main__.py", text)]);
    vps.sh(&format!(
        "set -e; cd /home/{name}/app; mkdir -p venv/bin; ln -s /usr/bin/python3 venv/bin/python; \
         chown -Rh root:{name} venv; chmod -R g+rX,o= venv"
    ))
    .succeeds();
}

fn brief(vps: &Vps) -> Value {
    let info = |name: &str| vps.hostkit(&format!("project info {name} --json")).data();
    let (me, it) = (info("mallory"), info("bob"));
    let env = vps.read("/home/mallory/.env");
    let value = |key: &str| env.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    let redis_url = value("REDIS_URL").unwrap();
    let (_, rest) = redis_url.split_once("mallory:").unwrap();
    let pid = vps.sh("systemctl show -P MainPID hostkit-bob").succeeds();
    json!({
        "me": {
            "name": "mallory",
            "home": me["home"],
            "domain": format!("mallory.{BASE_DOMAIN}"),
            "port": me["port"],
            "redis": me["redis_db"],
            "redis_url": redis_url,
            "redis_password": rest.split_once('@').unwrap().0,
            "database_url": value("DATABASE_URL").unwrap(),
            "connections": 20,
        },
        "it": {
            "name": "bob",
            "uid": it["uid"],
            "pid": pid.trim().parse::<u32>().unwrap(),
            "domain": format!("bob.{BASE_DOMAIN}"),
            "address": vps.address(),
            "port": it["port"],
            "redis": it["redis_db"],
            "database": it["database"],
            "role": it["database_user"],
            "secret": SECRET,
            "secret_key": SECRET_KEY,
        },
    })
}

impl Attempts {
    fn tell(&self, from: From) {
        let mut families: Vec<&str> = self.0.iter().map(|a| a.family.as_str()).collect();
        families.dedup();
        for family in families {
            let of = |attempt: &&Attempt| attempt.family == family;
            let tried = self.0.iter().filter(of).filter(|a| a.attempt.is_some());
            let (count, through) = (tried.clone().count(), tried.filter(|a| a.got_through).count());
            println!("{family} ({from:?}): {count} attempts, {through} got through");
        }
    }

    /// Everything that must work does, and everything else was refused in words that are known.
    pub fn assert_all_fail(&self) {
        let wrong: Vec<String> = self
            .0
            .iter()
            .filter(|a| a.got_through || a.broken.is_some() || a.control.is_some() && !a.works)
            .map(ToString::to_string)
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let counted = |a: &Attempt| a.attempt.is_some();
        assert!(self.0.iter().filter(|a| counted(a)).count() > 20, "hardly anything was tried");
    }

    fn assert_got_through(&self, through: &[&str]) {
        for what in through {
            let attempt = self.0.iter().find(|a| a.attempt.as_deref() == Some(what));
            let attempt = attempt.unwrap_or_else(|| panic!("nobody tried `{what}`"));
            assert!(attempt.got_through, "the test would not have noticed: {attempt}");
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { family, attempt, control, how, broken, .. } = self;
        let how = broken.as_ref().unwrap_or(how);
        match (attempt, control) {
            (Some(what), _) if broken.is_some() => write!(f, "{family}: `{what}` is broken: {how}"),
            (Some(what), _) if self.got_through => {
                write!(f, "{family}: `{what}` GOT THROUGH: {how}")
            }
            (Some(what), _) => write!(f, "{family}: `{what}` was refused: {how}"),
            (None, what) => {
                let what = what.as_deref().unwrap_or_default();
                write!(f, "{family}: {what}: it does not: {how}")
            }
        }
    }
}

/// The attacker at something that goes on while the test looks.
struct Running {
    child: Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    /// Starts it, and waits until it says that it is ready.
    fn start(vps: &Vps, user: &str, words: &str) -> Self {
        vps.write("/usr/local/lib/attacker.py", ATTACKER);
        let command = format!("exec python3 /usr/local/lib/attacker.py {words}");
        let mut child = vps
            .command(&["runuser", "-l", user, "-c", &command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut running = Self { child, said };
        assert_eq!(running.next().as_deref(), Some("ready"), "{words}");
        running
    }

    fn next(&mut self) -> Option<String> {
        self.said.next().map(Result::unwrap)
    }

    fn ask(&mut self) -> String {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
        format!("{}, {}", self.next().unwrap_or_default(), self.next().unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn neither_a_login_nor_an_app_gets_at_a_neighbour_or_at_root() {
    let there = Neighbours::move_in();
    let before = there.snapshot();
    for from in [From::Login, From::App] {
        there.attack(from, FAMILIES).assert_all_fail();
        before.assert_same(&there.snapshot(), "after the attack");
        there.assert_unharmed();
    }
}

#[test]
fn sudo_and_the_gate_lead_no_further_than_their_words() {
    let there = Neighbours::move_in();
    let before = there.snapshot();
    there.attack(From::Login, &["sudo", "typed", "gate"]).assert_all_fail();
    what_a_caller_leaves_behind_does_no_harm(&there);
    before.assert_same(&there.snapshot(), "after the attack");
    there.assert_unharmed();
}

/// The umask, the limits, the directory and the open files of a program that sudo runs are its
/// caller's choice.
fn what_a_caller_leaves_behind_does_no_harm(there: &Neighbours) {
    let ask = |odd: &str, command: &str| {
        let script = format!("{odd}; sudo -n /usr/bin/hostkit {command} mallory");
        let ran = there.vps.sh_as("mallory", &script);
        assert!(matches!(ran.code, 0 | 8), "{odd}: {ran}");
    };
    for odd in [
        "ulimit -n 16",
        "ulimit -v 100000",
        "ulimit -d 50000",
        "ulimit -s 64",
        "ulimit -c unlimited",
        "umask 0",
        "exec 0<&-",
        "exec 1>&-",
        "exec 2>&-",
        "exec 5</etc 6</proc 7</dev",
        "trap '' TERM HUP INT PIPE CHLD",
        "export LC_ALL=xx LANG=../.. TZ=:/etc/shadow TERM=../../x",
    ] {
        ask(odd, "project info");
    }
    for odd in [
        "ulimit -f 0; umask 0777",
        "mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone; exec 0<&- 1>&- 2>&-",
        "exec 1>/dev/full 2>&1",
    ] {
        ask(odd, "project restart");
    }
    // Whose output nobody reads holds nobody up.
    let unread = "(sudo -n hostkit project restart mallory & sudo -n hostkit project info mallory) | sleep 1";
    there.vps.sh_as("mallory", unread).succeeds();
}

/// A defence taken away, and attempts that the attacker must then get through with: a test that
/// can't fail would prove nothing.
struct Hole {
    defence: &'static str,
    family: &'static str,
    away: &'static str,
    through: &'static [&'static str],
    back: &'static str,
}

const REDIS: &str =
    "redis-cli -s /run/redis/hostkit.sock --user hostkit-admin -a $(cat /etc/hostkit/redis.secret)";

const HOLES: &[Hole] = &[
    Hole {
        defence: "homes are closed to others",
        family: "files",
        away: "chmod 755 /home/bob; chmod 644 /home/bob/.env",
        through: &[
            "read /home/bob/.env",
            "list /home/bob",
            "read the neighbour's `.env` by a link",
        ],
        back: "chmod 750 /home/bob; chmod 640 /home/bob/.env",
    },
    Hole {
        defence: "logs are closed to others",
        family: "files",
        away: "chmod 755 /var/log/projects/bob; chmod 646 /var/log/projects/bob/app.log",
        through: &[
            "list /var/log/projects/bob",
            "read /var/log/projects/bob/app.log",
            "write to /var/log/projects/bob/app.log",
        ],
        back: "hostkit repair bob",
    },
    Hole {
        defence: "what is the server's is root's alone",
        family: "files",
        away: "chmod 755 /srv/backups/hostkit /srv/backups/hostkit/bob{,/*} /var/lib/hostkit /run/hostkit{,/locks}; \
               chmod 644 /srv/backups/hostkit/bob/*/env /var/lib/hostkit/registry.db /etc/hostkit/redis.secret /run/hostkit/locks/*; \
               chmod 777 /etc/systemd/system /etc/sudoers.d",
        through: &[
            "read /srv/backups/hostkit/bob/20260101-000000-last/env",
            "read /var/lib/hostkit/registry.db",
            "read /etc/hostkit/redis.secret",
            "take the locks of hostkit",
            "create /etc/systemd/system/mine.service",
            "create /etc/sudoers.d/mine",
        ],
        back: "rm /etc/systemd/system/mine.service /etc/sudoers.d/mine; chmod 755 /etc/systemd/system; chmod 750 /etc/sudoers.d; \
               chmod 700 /srv/backups/hostkit /srv/backups/hostkit/bob{,/*} /var/lib/hostkit /run/hostkit{,/locks}; \
               chmod 600 /srv/backups/hostkit/bob/*/env /var/lib/hostkit/registry.db /etc/hostkit/redis.secret /run/hostkit/locks/*",
    },
    Hole {
        defence: "the log directory is root's",
        family: "own",
        away: "chmod 2777 /var/log/projects/mallory",
        through: &[
            "create /var/log/projects/mallory/mine",
            "make the link /var/log/projects/mallory/mine-link",
            "remove /var/log/projects/mallory/app.log",
        ],
        back: "rm -r /var/log/projects/mallory/{mine,mine-link}; hostkit repair mallory",
    },
    Hole {
        defence: "releases and `.env` are root's",
        family: "own",
        away: "chmod g+w /home/mallory/.env /home/mallory/releases",
        through: &["write to /home/mallory/.env", "create /home/mallory/releases/mine"],
        back: "rm -f /home/mallory/releases/{mine,mine-link}; sed -i '/was here/d' /home/mallory/.env; hostkit repair mallory",
    },
    Hole {
        defence: "the wall",
        family: "network",
        away: "nft delete table inet hostkit",
        through: &[
            "connect to the neighbour's port at 127.0.0.1",
            "connect to the neighbour's port at ::1",
            "connect to the neighbour's port at ::ffff:127.0.0.1",
            "connect to the neighbour's port from a port of its own",
            "send with the first packet",
        ],
        back: "systemctl restart hostkit-wall",
    },
    Hole {
        defence: "what a client claims of itself is dropped",
        family: "network",
        away: "sed -i 's/X-Forwarded-For $remote_addr/X-Forwarded-For $proxy_add_x_forwarded_for/' /etc/nginx/sites-available/hostkit-bob; systemctl restart nginx",
        through: &["forge X-Forwarded-For through nginx"],
        back: "hostkit repair bob",
    },
    Hole {
        defence: "the rules of the Redis user",
        family: "redis",
        away: "{redis} ACL SETUSER mallory '&*' +select +move +copy +'config|get' +'acl|list' +'client|list' +script",
        through: &[
            "SELECT 1",
            "SELECT 0",
            "MOVE own 1",
            "COPY own theirs DB 1 REPLACE",
            "CONFIG GET *",
            "ACL LIST",
            "CLIENT LIST",
            "PSUBSCRIBE *",
            "SUBSCRIBE /1.celery.pidbox",
            "PUBLISH bob:chat x",
            "EVAL in 0: redis.call('select', 1) return redis.call('get', 'secret-of-bob')",
            "EVAL in its own database: return redis.call('publish', 'bob:chat', 'x')",
            "SELECT in a transaction",
            "SELECT as an inline command",
        ],
        back: "hostkit repair mallory",
    },
    Hole {
        defence: "the default user of Redis is off",
        family: "redis",
        away: "{redis} ACL SETUSER default on nopass '~*' '&*' +@all",
        through: &["AUTH default ", "KEYS after RESET", "KEYS without a password"],
        back: "{redis} ACL SETUSER default off resetpass resetkeys resetchannels -@all",
    },
    Hole {
        defence: "each database holds what belongs there",
        family: "redis",
        away: "{redis} COPY x x; {redis} -n 1 COPY secret-of-bob secret-of-bob DB 0; {redis} -n 1 COPY secret-of-bob secret-of-bob DB 2",
        through: &["KEYS in 0", "GET in 0", "KEYS in its own database", "EVAL of all keys in 0"],
        back: "{redis} DEL secret-of-bob; {redis} -n 2 DEL secret-of-bob",
    },
    Hole {
        defence: "databases are closed to others, and roles are plain",
        family: "postgres",
        away: "runuser -u postgres -- psql -qc 'GRANT CONNECT ON DATABASE bob_db, postgres TO PUBLIC; \
               GRANT pg_read_all_stats, pg_signal_backend, pg_checkpoint TO mallory_user; \
               ALTER ROLE mallory_user CONNECTION LIMIT 50 CREATEDB; GRANT EXECUTE ON FUNCTION pg_reload_conf TO PUBLIC'",
        through: &[
            "connect to the neighbour's database",
            "connect to the neighbour's database over IPv6",
            "connect to the neighbour's database by the socket",
            "connect to the database `postgres`",
            "see what the neighbour asks its database",
            "end the neighbour's sessions",
            "checkpoint",
            "take more connections than its share",
        ],
        back: "runuser -u postgres -- psql -qc 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC'; hostkit repair mallory; hostkit repair bob",
    },
    Hole {
        defence: "access rules of PostgreSQL",
        family: "postgres",
        away: "sed -i '1i local all all trust' /etc/postgresql/15/main/pg_hba.conf; systemctl reload postgresql; sleep 2",
        through: &[
            "connect to `postgres` by the socket",
            "connect to the neighbour's role by the socket",
            "connect to its own role by the socket, known by its user alone",
        ],
        back: "sed -i 1d /etc/postgresql/15/main/pg_hba.conf; systemctl reload postgresql",
    },
    Hole {
        defence: "the journal is closed to others",
        family: "server",
        away: "usermod -aG systemd-journal mallory",
        through: &["read the neighbour's journal", "read the server's journal"],
        back: "gpasswd -d mallory systemd-journal",
    },
    Hole {
        defence: "exact lines in sudoers",
        family: "sudo",
        away: "echo 'mallory ALL=(ALL) NOPASSWD:SETENV: /usr/bin/hostkit status *, /usr/bin/hostkit gate bob' > /etc/sudoers.d/zz",
        through: &[
            "sudo /usr/bin/hostkit status mallory --json",
            "sudo -E /usr/bin/hostkit status mallory",
            "sudo HOSTKIT_FAULT=fail@9999",
        ],
        back: "rm /etc/sudoers.d/zz",
    },
];

#[test]
fn each_defence_that_is_taken_away_is_missed() {
    let there = Neighbours::move_in();
    let sh = |script: &str| there.vps.sh(&format!("set -e; {}", script.replace("{redis}", REDIS)));
    for Hole { defence, family, away, through, back } in HOLES {
        println!("without: {defence}");
        sh(away).succeeds();
        there.attack_by(From::Login, &[family], through).assert_got_through(through);
        sh(back).succeeds();
    }
    // A process of one's own is no neighbour's, and a login has no sandbox.
    let mut own = there.brief.clone();
    let pid = there.vps.sh_as("mallory", "setsid sleep 600 > /dev/null 2>&1 & echo $!").succeeds();
    own["it"]["pid"] = json!(pid.trim().parse::<u32>().unwrap());
    let there = Neighbours { brief: own, ..there };
    let through = [
        "signal the neighbour",
        "read /proc/…/environ of the neighbour",
        "open /proc/…/mem of the neighbour",
        "follow /proc/…/cwd of the neighbour",
        "list the open files of the neighbour",
        "trace the neighbour",
        "limit the neighbour",
        "see other homes",
        "see other processes",
        "list /etc/hostkit",
        "read /etc/ssh/sshd_config",
        "read /proc/1/cmdline",
        "create /run/lock/mine",
        "make a file that runs as its owner",
        "gain privileges",
        "speak on the message bus",
        "hold a capability",
        "run sudo -n /usr/bin/hostkit status mallory",
        "make a job that outlives it with crontab",
    ];
    let attempts = there.attack_by(From::Login, &["processes", "sandbox"], &through);
    attempts.assert_got_through(&through);
}

#[test]
fn nobody_answers_in_anothers_place() {
    let there = Neighbours::move_in();
    let Neighbours { vps, brief } = &there;
    let port = brief["it"]["port"].as_u64().unwrap();
    let standby = port + 6000;
    let heard = |port: u64| {
        let url = format!("http://127.0.0.1:{port}/");
        vps.run(&["curl", "-sS", "--max-time", "2", &url], b"").stdout
    };
    let outside = |port: u64| {
        let address = format!("{}:{port}", vps.address()).parse().unwrap();
        // The first packet may be lost while this machine still asks whose address that is.
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(4));
        connect().or_else(|_| connect()).map_err(|e| e.kind())
    };
    assert!(heard(port).starts_with("I am bob"));
    for port in [port, port + 1000, standby] {
        assert_eq!(outside(port).err(), Some(ErrorKind::ConnectionRefused), "{port} from outside");
    }
    vps.hostkit("project stop bob").succeeds();
    vps.sh("systemctl stop redis-server 'postgresql@*'").succeeds();
    let squatter = there.spawn("mallory", &format!("squat {port} {standby} 5432 6379"));
    std::thread::scope(|scope| {
        for port in [port, standby, 5432, 6379] {
            scope.spawn(move || assert_eq!(heard(port), "", "the squatter answered on {port}"));
        }
        scope.spawn(|| {
            let answer = vps.get(&format!("bob.{BASE_DOMAIN}"), "/").unwrap();
            assert!(matches!(answer.status, 502 | 504), "{}: {}", answer.status, answer.body);
        });
        scope.spawn(|| {
            let ping = "timeout 2 redis-cli -h 127.0.0.1 ping; timeout 2 redis-cli -h ::1 ping";
            let said = vps.sh_as("bob", ping);
            assert!(!said.stdout.contains("squatter"), "{said}");
        });
    });
    // The same squatter is heard as soon as the wall is gone.
    vps.sh("nft delete table inet hostkit").succeeds();
    assert!(heard(port).starts_with("I am the squatter"));
    let answer = vps.get(&format!("bob.{BASE_DOMAIN}"), "/").unwrap();
    assert!(answer.body.contains("I am the squatter"), "{}", answer.body);
    assert!(outside(port).is_ok());
    drop(squatter);
    vps.sh("systemctl restart hostkit-wall redis-server postgresql").succeeds();
    vps.wait_until("PostgreSQL is back", |vps| vps.hostkit("status").code == 0);
    vps.hostkit("project start bob").succeeds();
    there.assert_unharmed();
}

#[test]
fn links_and_pipes_that_a_project_plants_lead_root_nowhere() {
    let there = Neighbours::move_in();
    let vps = &there.vps;
    vps.sh("mkdir -p -m 700 /root/.ssh /root/precious/a; date > /root/precious/a/file; date > /root/.ssh/authorized_keys").succeeds();
    vps.hostkit("project delete mallory --yes --no-backup").succeeds();
    let before = outside(vps);
    vps.hostkit("provision mallory --quiet").succeeds();
    release_python(vps, "mallory", ATTACKER);
    vps.hostkit("project start mallory").succeeds();
    let open = "/tmp /var/tmp /dev/shm /run/lock";
    vps.write("/usr/local/lib/attacker.py", ATTACKER);
    let plant = |user: &str, other: &str, places: &str| {
        let command = format!("python3 /usr/local/lib/attacker.py plant {other} {places}");
        let count = vps.sh_as(user, &command).succeeds();
        assert!(count.trim().parse::<u32>().unwrap() > 30, "{count}");
    };
    plant("mallory", "bob", &format!("~/shared ~/.cache {open}"));
    // systemd empties /dev/shm of what is its user's when the unit stops.
    let planted = outside(vps).without("file /dev/shm/");
    for command in [
        "repair mallory",
        "repair --all",
        "drift mallory",
        "project restart mallory",
        "project regenerate-sudoers mallory",
        "doctor",
        "init",
        "project stop mallory",
        "project start mallory",
    ] {
        vps.hostkit(command).succeeds();
    }
    vps.sh("logrotate --force /etc/logrotate.d/hostkit").succeeds();
    vps.sh("rm -f /var/log/projects/*/*.log.1").succeeds();
    let worked = outside(vps).without("file /dev/shm/");
    planted.assert_same(&worked, "root worked among what mallory has planted");

    let hand_over = there.spawn("mallory", "hand-over /home/mallory/shared/open");
    let race = there.spawn("bob", "race /root/precious");
    let raced = vps.hostkit("project delete mallory --yes");
    drop((hand_over, race));
    if raced.code != 0 {
        // Two in league can keep a directory from going, or from being read to its end, for as
        // long as one of them stays.
        assert!(
            raced.stderr.contains("mallory is not wholly gone yet")
                || raced.stderr.contains("could not back mallory up"),
            "{raced}"
        );
        vps.hostkit("project delete mallory --yes").succeeds();
    }
    let archive = "tar --zstd -tvf /srv/backups/hostkit/mallory/*/home.tar.zst";
    let listed = vps.sh(archive).succeeds();
    assert!(listed.contains("-> /etc/shadow") && !listed.contains("precious/"), "{listed}");
    vps.sh("rm -f /usr/local/lib/attacker.py").succeeds();
    before.assert_same(&outside(vps), "mallory planted, and was deleted");

    // The name comes back, after the neighbour has had time to prepare for it.
    vps.write("/usr/local/lib/attacker.py", ATTACKER);
    plant("bob", "mallory", open);
    let planted = outside(vps);
    vps.hostkit("provision mallory --quiet").succeeds();
    vps.hostkit("drift mallory").succeeds();
    assert_eq!(
        vps.sh("ls -A /home/mallory/shared /home/mallory/.cache | grep -v :").stdout.trim(),
        ""
    );
    vps.hostkit("project delete mallory --yes --no-backup").succeeds();
    planted.assert_same(&outside(vps), "the name was used once more");
    there.assert_still_there("bob");
}

#[test]
fn a_deleted_project_leaves_nothing_and_holds_on_to_nothing() {
    let vps = Vps::ready();
    vps.hostkit("provision bob --quiet").succeeds();
    let before = outside(&vps);
    vps.hostkit("provision mallory --quiet").succeeds();
    let uid = vps.sh("id -u mallory").succeeds();
    let uid = uid.trim();
    let env = vps.read("/home/mallory/.env");
    let value =
        |key: &str| env.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('=')).unwrap();
    let urls = format!("{} {}", value("REDIS_URL"), value("DATABASE_URL"));
    drop(Running::start(&vps, "mallory", "cling mallory bob"));
    // Two who are in league: bob knows mallory's passwords, and names mallory in his own database.
    let mut held = Running::start(&vps, "bob", &format!("hold {urls}"));
    assert_eq!(held.ask(), "redis lives 1, postgres lives");
    vps.sh_as(
        "bob",
        "set -e; . ~/.env; psql -q $DATABASE_URL -c 'create table t (i int); grant select on t to mallory_user; \
         alter default privileges grant select on tables to mallory_user; grant connect on database bob_db to mallory_user'; \
         touch /tmp/mallory-dir/of-bob /var/tmp/mallory-dir/of-bob",
    )
    .succeeds();
    assert!(vps.sh(&format!("pgrep -u {uid}")).stdout.lines().count() >= 5);

    vps.hostkit("project delete mallory --yes").succeeds();
    assert_eq!(held.ask(), "redis is dead: hung up, postgres is dead");
    drop(held);
    for (what, look) in [
        ("files", format!("find / -xdev \\( -uid {uid} -o -gid {uid} \\) -not -path '/proc/*'; \
                           find /tmp /dev/shm /dev/mqueue /run /run/lock -uid {uid}")),
        ("processes", format!("pgrep -U {uid}; pgrep -u {uid}; grep -lw {uid} /proc/[0-9]*/status")),
        ("shared memory", format!("grep -hw {uid} /proc/sysvipc/*")),
        ("accounts", "grep -r mallory /etc --exclude=*- -l".into()),
        ("keys of Redis", format!("{REDIS} -n 2 KEYS '*'; {REDIS} ACL LIST | grep mallory")),
        ("roles", "runuser -u postgres -- psql -XAtqc \"select rolname from pg_roles where rolname ~ 'mallory'\"".into()),
        ("jobs", "ls -A /var/spool/cron/crontabs /var/spool/cron/atjobs | grep -v -e : -e SEQ".into()),
    ] {
        let left = vps.sh(&format!("{{ {look}; }} 2>/dev/null")).stdout;
        assert_eq!(left.trim(), "", "{what} were left");
    }
    vps.sh("rm -f /usr/local/lib/attacker.py").succeeds();
    vps.sh_as("bob", ". ~/.env; psql -q $DATABASE_URL -c 'drop table t'").succeeds();
    vps.hostkit("drift bob").succeeds();
    before.assert_same(&outside(&vps), "mallory clung, and was deleted");
}
