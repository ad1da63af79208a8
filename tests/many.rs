//! Many at once.

use std::{collections::BTreeSet, process::Stdio};

use crate::vps::{Vps, until};

fn all_at_once(vps: &Vps, lines: &[String]) -> Vec<(i32, String)> {
    let children: Vec<_> = lines
        .iter()
        .map(|line| {
            let words: Vec<&str> = std::iter::once("hostkit").chain(line.split(' ')).collect();
            vps.command(&words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    children
        .into_iter()
        .map(|child| {
            let out = child.wait_with_output().unwrap();
            (out.status.code().unwrap_or(-1), String::from_utf8_lossy(&out.stderr).into_owned())
        })
        .collect()
}

#[test]
fn fifty_provisions_at_once_all_succeed_and_share_nothing() {
    let vps = Vps::ready();
    vps.hostkit("config set redis.databases 64").succeeds();
    vps.hostkit("init").succeeds();
    let before = vps.snapshot();
    let lines: Vec<String> = (0..50).map(|i| format!("provision project-{i} --wait 10m")).collect();
    for (line, (code, said)) in lines.iter().zip(all_at_once(&vps, &lines)) {
        assert_eq!(code, 0, "{line}: {said}");
    }
    let list = vps.hostkit("project list --json").data();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 50);
    for key in ["port", "redis_db", "database"] {
        let distinct: BTreeSet<String> = list.iter().map(|row| row[key].to_string()).collect();
        assert_eq!(distinct.len(), 50, "{key}");
    }
    let uids: BTreeSet<String> = vps
        .sh("getent passwd | grep 'hostkit project' | cut -d: -f3")
        .succeeds()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(uids.len(), 50);
    vps.hostkit("doctor").succeeds();
    for i in [0, 17, 49] {
        assert_eq!(vps.get(&format!("project-{i}.apps.test"), "/").unwrap().status, 503);
    }
    let lines: Vec<String> = (0..50)
        .map(|i| format!("project delete project-{i} --yes --no-backup --wait 10m"))
        .collect();
    for (line, (code, said)) in lines.iter().zip(all_at_once(&vps, &lines)) {
        assert_eq!(code, 0, "{line}: {said}");
    }
    before.assert_same(&vps.snapshot(), "fifty made and deleted");
}

#[test]
fn of_twenty_provisions_of_one_name_exactly_one_succeeds() {
    let vps = Vps::ready();
    for round in 0..3 {
        let lines = vec![format!("provision shop-{round}"); 20];
        let ended = all_at_once(&vps, &lines);
        assert_eq!(ended.iter().filter(|(code, _)| *code == 0).count(), 1, "{ended:?}");
        for (code, said) in ended.iter().filter(|(code, _)| *code != 0) {
            assert_eq!(*code, 4, "{said}");
            assert!(said.contains(&format!("there is a project `shop-{round}` already")), "{said}");
        }
        vps.hostkit("doctor").succeeds();
    }
}

#[test]
fn opposite_commands_at_once_end_whole_or_gone() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    for _ in 0..6 {
        vps.hostkit("provision shop").succeeds();
        let lines: Vec<String> = [
            "project delete shop --yes --no-backup",
            "repair shop",
            "project regenerate-sudoers shop",
            "provision shop",
            "drift shop",
        ]
        .map(String::from)
        .into();
        for (line, (code, said)) in lines.iter().zip(all_at_once(&vps, &lines)) {
            assert!(matches!(code, 0 | 1 | 3 | 4), "{line}: {code}: {said}");
            assert!(code != 1 || line.starts_with("drift"), "{line}: {said}");
        }
        if vps.hostkit("project info shop").code == 0 {
            vps.hostkit("drift shop").succeeds();
            vps.hostkit("project delete shop --yes --no-backup").succeeds();
        }
        before.assert_same(&vps.snapshot(), "opposite commands");
    }
}

#[test]
fn a_locked_project_names_who_holds_it_and_frees_itself_when_that_dies() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    let held = until("! flock -n /run/hostkit/locks/shop true");
    vps.sh(&format!("mkdir -p /run/hostkit/locks; printf 'hostkit deploy shop (pid 4242)' > /run/hostkit/locks/shop; nohup flock /run/hostkit/locks/shop sleep 600 > /dev/null 2>&1 & {held}")).succeeds();
    let waited = vps.hostkit("repair shop --wait 1s");
    assert!(
        waited.stderr.contains("note: waiting for `hostkit deploy shop (pid 4242)`"),
        "{waited}"
    );
    let error = waited.fails_with(7);
    assert!(error.contains("shop is being worked on") && error.contains("--wait"), "{error}");
    vps.hostkit("repair shop --wait 0 --json").fails_with(7);
    // Who only looks does not wait, and other projects are free.
    vps.hostkit("status shop").succeeds();
    vps.hostkit("provision other").succeeds();
    vps.sh("pkill -KILL flock; pkill -KILL sleep").succeeds();
    vps.hostkit("repair shop").succeeds();
}
