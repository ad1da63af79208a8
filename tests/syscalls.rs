//! Killed at system calls, which hostkit's own count of changes can't see: inside SQLite, inside
//! the programs that it runs. And: nothing is published before it is on the disk.

use std::collections::{HashMap, HashSet};

use crate::vps::Vps;

/// What can change the host, or be waited for while it changes.
const CHANGING: &str = "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,symlink,symlinkat,fsync,fdatasync,write,pwrite64,sendto,sendmsg,connect,fchown,fchownat,fchmod,fchmodat,ftruncate,clone,clone3,vfork";

/// Calls that are skipped between two kills. 1 walks them all: `HOSTKIT_CHAOS=1`.
fn stride(usual: usize) -> usize {
    std::env::var("HOSTKIT_CHAOS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn killed_at(vps: &Vps, nth: usize, line: &str) -> i32 {
    let script = format!(
        "strace -f -qqq -o /dev/null -e trace={CHANGING} -e inject={CHANGING}:signal=SIGKILL:when={nth} hostkit {line} > /var/cache/out 2>&1"
    );
    let code = vps.sh(&script).code;
    vps.wait_until("its end", |vps| vps.sh("pgrep -x hostkit").code != 0);
    code
}

/// Kills at one call after the other until there are none left; says how many times it hit.
fn walk(
    vps: &Vps,
    line: &str,
    usual_stride: usize,
    prepare: impl Fn(),
    check: impl Fn(&str),
) -> usize {
    let (mut nth, mut points, mut spared) = (1, 0, 0);
    while spared < 3 {
        prepare();
        let code = killed_at(vps, nth, line);
        if code == 0 {
            spared += 1;
        } else {
            spared = 0;
            points += 1;
        }
        check(&format!("call {nth} ({code})"));
        nth += stride(usual_stride);
    }
    points
}

#[test]
fn provision_killed_at_any_system_call_is_undone() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let check = |when: &str| {
        vps.hostkit("recover --quiet").succeeds();
        if vps.hostkit("project info shop").code == 0 {
            vps.hostkit("drift shop").succeeds();
            vps.hostkit("project delete shop --yes --no-backup").succeeds();
        }
        before.assert_same(&vps.snapshot(), when);
    };
    let points = walk(&vps, "provision shop --domain shop.test", 3, || (), check);
    println!("failure points walked: {points} (provision, at system calls)");
    assert!(points > 8, "{points}");
}

#[test]
fn delete_killed_at_any_system_call_is_completed() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let prepare = || drop(vps.hostkit("provision shop").succeeds());
    let check = |when: &str| {
        if vps.hostkit("project info shop").code == 0 {
            vps.hostkit("project delete shop --yes --no-backup").succeeds();
        }
        vps.hostkit("recover --quiet").succeeds();
        before.assert_same(&vps.snapshot(), when);
    };
    let points = walk(&vps, "project delete shop --yes --no-backup", 3, prepare, check);
    println!("failure points walked: {points} (delete, at system calls)");
    assert!(points > 8, "{points}");
}

#[test]
fn a_disk_that_fails_to_sync_is_told_and_leaves_nothing() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    let (mut nth, mut points) = (1, 0);
    loop {
        let line = "provision shop --quiet";
        let sync = "fsync,fdatasync";
        let ran = vps.sh(&format!(
            "strace -f -qqq -o /dev/null -e trace={sync} -e inject={sync}:error=EIO:when={nth} hostkit {line}"
        ));
        if ran.code == 0 {
            break;
        }
        // strace counts in each process by itself, so undoing, or closing the journal, may be hit too.
        assert!(matches!(ran.code, 1 | 9), "sync {nth}: {ran}");
        vps.hostkit("recover --quiet").succeeds();
        let said = ran.stderr.to_lowercase();
        assert!(
            ["i/o error", "input/output error", "failure while writing"]
                .iter()
                .any(|w| said.contains(w)),
            "{ran}"
        );
        points += 1;
        before.assert_same(&vps.snapshot(), &format!("sync {nth}"));
        nth += 1;
    }
    println!("failure points walked: {points} (provision, syncs that fail)");
    assert!(points > 4, "{points}");
}

#[test]
fn nothing_takes_its_name_before_it_is_on_the_disk() {
    let vps = Vps::ready();
    vps.sh("strace -f -y -s 300 -o /root/trace -e trace=openat,openat2,fsync,fdatasync,renameat,renameat2,rename hostkit provision shop").succeeds();
    vps.sh("rm /home/shop/.env; strace -f -y -s 300 -o /root/trace2 -e trace=openat,openat2,fsync,fdatasync,renameat,renameat2,rename hostkit repair shop").succeeds();
    let mut published = 0;
    for trace in ["/root/trace", "/root/trace2"] {
        let text = vps.read(trace);
        published += check_order(&text);
    }
    assert!(published >= 12, "{published}");
}

/// Every file of ours is synced before its rename, and its directory after it.
fn check_order(trace: &str) -> usize {
    let mut synced: HashSet<String> = HashSet::new();
    let mut waiting: HashMap<String, String> = HashMap::new();
    let mut published = 0;
    for line in trace.lines() {
        // A call that another thread interrupted is told in two lines: the first has the names.
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        if let Some(path) = call
            .strip_prefix("fsync(")
            .or_else(|| call.strip_prefix("fdatasync("))
            .and_then(between)
        {
            waiting.remove(path);
            synced.insert(path.to_owned());
        } else if call.starts_with("renameat") && call.contains(".hostkit-new") {
            let dir = between(call).unwrap_or_default().to_owned();
            let name = call.split('"').nth(1).unwrap_or_default();
            let is_link = call.contains("\".app.")
                || call.contains("\".venv.")
                || call.contains("sites-enabled")
                || call.contains(".wants");
            if !is_link {
                assert!(synced.contains(&format!("{dir}/{name}")), "not synced: {line}");
                published += 1;
            }
            waiting.insert(dir, line.to_owned());
        }
    }
    assert!(waiting.is_empty(), "directories never synced: {waiting:?}");
    published
}

/// The path that strace puts between angle brackets.
fn between(call: &str) -> Option<&str> {
    call.split_once('<')?.1.split_once('>').map(|(path, _)| path)
}
