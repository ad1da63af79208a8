//! `hostkit init`: a bare server made ready, and back.

use crate::vps::Vps;

#[test]
fn a_bare_server_becomes_ready_and_a_second_init_changes_nothing() {
    let vps = Vps::bare();
    let first = vps.hostkit("init --base-domain apps.test --json").data();
    assert!(first["changed"].as_u64().unwrap() > 25, "{first}");
    let before = vps.snapshot();
    let second = vps.hostkit("init --json").data();
    assert_eq!(second["changed"], 0);
    before.assert_same(&vps.snapshot(), "second init");
    vps.hostkit("doctor").succeeds();
}

#[test]
fn a_dry_run_shows_a_diff_and_changes_nothing() {
    let vps = Vps::bare();
    let before = vps.snapshot();
    let text = vps.hostkit("init --dry-run").succeeds();
    for told in [
        "+include /etc/redis/hostkit.conf",
        "+host all +hostkit_projects all reject",
        "- no /etc/nginx/sites-enabled/default",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    before.assert_same(&vps.snapshot(), "dry run");
}

#[test]
fn undo_puts_back_what_was_the_owners() {
    let vps = Vps::bare();
    vps.sh("echo '# mine' >> /etc/redis/redis.conf; echo '# mine' >> /etc/postgresql/15/main/pg_hba.conf").succeeds();
    let before = vps.snapshot();
    // Two logs a site, and twice as many while nginx reloads.
    let open_files =
        || vps.sh("grep -h '^Max open files' /proc/$(cat /run/nginx.pid)/limits").succeeds();
    let limits = open_files();
    vps.hostkit("init").succeeds();
    assert!(!vps.exists("/etc/nginx/sites-enabled/default"));
    let hard = limits.split_ascii_whitespace().nth(4).unwrap().parse::<u32>().unwrap();
    let wanted = format!("Max open files {}", hard.min(65_536));
    assert!(
        open_files().split_ascii_whitespace().collect::<Vec<_>>().join(" ").starts_with(&wanted)
    );
    vps.hostkit("init --undo").succeeds();
    assert_eq!(open_files(), limits);
    before.assert_same(&vps.snapshot(), "init and its undo");
    assert!(vps.get("nobody.test", "/").unwrap().body.contains("Welcome to nginx"));
}

#[test]
fn unknown_hosts_get_no_answer() {
    let vps = Vps::ready();
    for host in ["nobody.test", "nobody.apps.test", "10.0.0.1"] {
        assert!(vps.get(host, "/").is_none(), "{host}");
    }
}
