//! Who does not let go: handles that were kept, locks of the dead, people who were operators.

use std::process::{Child, Stdio};

use crate::vps::{Shop, Vps};

/// Sits in no unit, and goes on making files in each directory that a build hands to it. It leaves
/// them there, or makes and unmakes them as fast as it can.
const KEEPER: &str = r#"
import os, socket, sys, threading, time
def write(handle, leaves):
    n = 0
    while True:
        try:
            time.sleep(0.0002 if leaves else 0)
            os.close(os.open(f"late-{n + 1}", os.O_CREAT | os.O_WRONLY, 0o666, dir_fd=handle))
            n += 1
            try: leaves or os.unlink(f"late-{n - 1}", dir_fd=handle)
            except FileNotFoundError: pass
        except (PermissionError, FileNotFoundError) as error:
            print("shut" if isinstance(error, PermissionError) else "gone", n, flush=True)
            return
door = socket.socket(socket.AF_UNIX)
door.bind("/home/evil/shared/door")
os.chmod("/home/evil/shared/door", 0o777)
door.listen()
print("open", flush=True)
while True:
    guest, _ = door.accept()
    wish, handles, _, _ = socket.recv_fds(guest, 1, 16)
    for handle in handles:
        threading.Thread(target=write, args=(handle, wish == b"l"), daemon=True).start()
    guest.send(b"y")
"#;

/// Part of a build: makes places of all kinds, and hands them out.
const GIVER: &str = r#"
import os, socket, sys
handles = []
def keep(path):
    handles.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
os.umask(0)
for wide in ("wide", "wide/below"):
    os.mkdir(wide)
    for n in range(100 if "deep" in sys.argv else 3000):
        open(f"{wide}/{n}", "w").close()
    keep(wide)
if "deep" in sys.argv:
    os.mkdir("shut")
    os.mkdir("shut/below")
    keep("shut/below")
    os.chmod("shut/below", 0o333)
    os.chmod("shut", 0)
    top = os.getcwd()
    for depth in range(400):
        os.mkdir("d")
        os.chdir("d")
        if depth in (100, 200, 399):
            keep(".")
    os.chdir(top)
keep(".")
door = socket.socket(socket.AF_UNIX)
door.connect("/home/evil/shared/door")
socket.send_fds(door, [b"f" if "deep" in sys.argv else b"l"], handles)
door.recv(1)
"#;

/// A project whose build hands directories to a program that is no part of it.
fn evil() -> (Shop, Child) {
    let evil = Shop::named("evil", "--no-db --no-redis");
    evil.version("one", "");
    evil.deploy("one");
    evil.write("/srv/keeper.py", KEEPER);
    let keeper = evil
        .command(&[
            "runuser",
            "-u",
            "evil",
            "--",
            "sh",
            "-c",
            "exec python3 /srv/keeper.py > /home/evil/shared/kept",
        ])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    evil.wait_until("the keeper", |vps| vps.exists("/home/evil/shared/door"));
    (evil, keeper)
}

fn giving(evil: &Shop, name: &str, step: &str) {
    evil.version(name, &format!("[build]\nsteps = [\"{step}\"]\n"));
    evil.tree(name, &[("give.py", GIVER)]);
}

/// Directories that it wrote to until it was shut out of them.
fn shut_out(vps: &Vps) -> usize {
    let said = vps.read("/home/evil/shared/kept");
    said.lines().filter_map(|line| line.strip_prefix("shut ")).filter(|n| *n != "0").count()
}

#[test]
fn a_handle_that_was_kept_changes_no_release() {
    let (evil, mut keeper) = evil();
    giving(&evil, "two", "/usr/bin/python3 give.py");
    for n in 1..=3 {
        let release = evil.deploy("two");
        assert_eq!(evil.serves(), "two");
        let others = evil.sh(&format!("find /home/evil/releases/{release} ! -user root"));
        assert_eq!(others.succeeds(), "");
        evil.wait_until("it was shut out", |vps| shut_out(vps) == n * 3);
    }
    keeper.kill().unwrap();
    keeper.wait().unwrap();
}

#[test]
fn a_handle_that_was_kept_is_in_nobodys_way() {
    let (evil, mut keeper) = evil();
    let tidy = |shut: usize| {
        assert_eq!(evil.sh("ls -A /home/evil/releases/.staging").stdout, "");
        evil.wait_until("it was shut out", |vps| shut_out(vps) == shut);
    };
    // A build that fails.
    giving(&evil, "bad", "/bin/sh -c '/usr/bin/python3 give.py deep; exit 3'");
    let told = evil.deploy_fails("bad", 1);
    assert!(told.contains("status 3") && !told.contains("and: "), "{told}");
    tidy(7);
    evil.deploy("one");
    // One whose hostkit is killed: the next command ends it, whichever it is.
    giving(&evil, "slow", "/bin/sh -c '/usr/bin/python3 give.py deep; exec sleep 7001'");
    let mut shut = 7;
    for next in [
        "project stop evil",
        "project start evil",
        "deploy evil --source /root/one --no-watch",
        "project delete evil --yes",
    ] {
        let mut deploy = evil
            .command(&["hostkit", "deploy", "evil", "--source", "/root/slow", "--no-watch"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        evil.wait_until("the build", |vps| vps.sh("pgrep -f '^sleep 7001'").code == 0);
        evil.sh("pkill -9 -f '^hostkit deploy evil'").succeeds();
        deploy.wait().unwrap();
        evil.hostkit(next).succeeds();
        if !next.contains("delete") {
            shut += 7;
            tidy(shut);
        }
    }
    assert_ne!(evil.sh("id evil").code, 0);
    assert!(!evil.exists("/home/evil"));
    evil.hostkit("doctor").succeeds();
    keeper.wait().unwrap();
}

#[test]
fn an_operator_whose_home_is_odd_is_revoked_all_the_same() {
    let vps = Vps::ready();
    for name in ["linked", "odd"] {
        vps.sh(&format!("ssh-keygen -q -t ed25519 -N '' -C {name} -f /root/{name}")).succeeds();
        vps.hostkit(&format!("operator setup {name} --key /root/{name}.pub")).succeeds();
        vps.sh_as(name, "sudo -n hostkit status").succeeds();
    }
    vps.sh_as("linked", "mv .ssh elsewhere && ln -s elsewhere .ssh").succeeds();
    vps.sh_as("odd", "printf '# caf\\351\\n' >> .ssh/authorized_keys").succeeds();
    // By a login from before, sudo goes on taking somebody for an operator.
    let before = |name: &str, line: &str| {
        let words = ["runuser", "-u", name, "-G", "hostkit", "--", "sudo", "-n", "hostkit"];
        vps.run(&[&words[..], &line.split(' ').collect::<Vec<_>>()].concat(), b"")
    };
    before("odd", "man --into /usr/local/sbin").succeeds();
    vps.sh("rm /usr/local/sbin/*").succeeds();
    for name in ["linked", "odd"] {
        // The rights go first, and what is left of the keys is said.
        let told = vps.hostkit(&format!("operator revoke {name}")).fails_with(1);
        assert!(told.contains("is no operator any more; look at the keys"), "{told}");
        assert_ne!(vps.sh_as(name, "sudo -n hostkit status").code, 0, "{name}");
        assert_ne!(vps.sh_as(name, "sudo -n true").code, 0, "{name}");
        assert!(!vps.hostkit("operator list").succeeds().contains(name));
        before(name, "status").fails_with(5);
        before(name, "man --into /usr/local/sbin").fails_with(5);
    }
    assert_eq!(vps.sh("ls -A /usr/local/sbin").stdout, "");
    // Mended, it is done to the end.
    vps.sh_as("linked", "rm .ssh && mv elsewhere .ssh").succeeds();
    vps.hostkit("operator revoke linked").succeeds();
    assert!(!vps.read("/home/linked/.ssh/authorized_keys").contains("ssh-ed25519"));
}

#[test]
fn a_lock_of_the_dead_is_none() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.version("slow", "[build]\nsteps = [\"sleep 7002\"]\n");
    shop.deploy("one");
    let begin = || {
        let deploy = shop
            .command(&["hostkit", "deploy", "shop", "--source", "/root/slow", "--no-watch"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        shop.wait_until("the build", |vps| vps.sh("pgrep -f '^sleep 7002'").code == 0);
        deploy
    };
    let pid = || shop.sh("pgrep -o -f '^hostkit deploy shop'").succeeds().trim().to_owned();
    let mut dead = begin();
    let first = pid();
    let told = shop.hostkit("project restart shop --no-wait").fails_with(7);
    assert!(told.contains(&format!("hostkit deploy shop (pid {first})")), "{told}");
    shop.sh(&format!("kill -9 {first}")).succeeds();
    dead.wait().unwrap();
    shop.hostkit("project restart shop --no-wait").succeeds();
    // The host's own lock is shared by those who work on projects: whoever died in it is not named.
    let died = shop.hostkit_fault("kill@0", "init");
    assert_eq!(died.code, 137, "{died}");
    assert!(shop.read("/run/hostkit/locks/.host").contains("hostkit init (pid "));
    let mut living = begin();
    let second = pid();
    for line in ["init --no-wait", "init --no-wait --quiet"] {
        let told = shop.hostkit(line).fails_with(7);
        assert!(told.contains(&format!("hostkit deploy shop (pid {second})")), "{line}: {told}");
    }
    shop.sh(&format!("kill -INT {second}")).succeeds();
    living.wait().unwrap();
    shop.hostkit("init --no-wait --quiet").succeeds();
}

#[test]
fn one_project_that_can_not_be_recovered_is_not_in_the_others_way() {
    let vps = Vps::ready();
    for name in ["anna", "bert", "cleo"] {
        let died = vps.hostkit_fault("kill@12", &format!("provision {name} --no-db --no-redis"));
        assert_eq!(died.code, 137, "{died}");
    }
    // The first change that an undo makes comes to nothing.
    let ran = vps.hostkit_fault("fail@0", "recover");
    assert_eq!(ran.code, 9, "{ran}");
    let outcome = |name: &str| {
        let told =
            ran.stderr.lines().find(|line| line.starts_with(&format!("`provision` of {name}: ")));
        told.unwrap_or_else(|| panic!("{name}: {ran}")).to_owned()
    };
    assert!(outcome("anna").ends_with("failed"), "{ran}");
    assert!(outcome("bert").ends_with("undone"), "{ran}");
    assert!(outcome("cleo").ends_with("undone"), "{ran}");
    assert!(!vps.exists("/home/bert") && !vps.exists("/home/cleo"));
    vps.hostkit("recover").succeeds();
    assert!(!vps.exists("/home/anna"));
    vps.hostkit("doctor").succeeds();
}
