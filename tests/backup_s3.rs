//! A second place that is a bucket of a storage service, which comes and goes.

use std::time::Instant;

use crate::{
    backup::{create, list, sums, with_data},
    storage,
    vps::Vps,
};

/// Lets others than its own server to the storage, until so many bytes went in: then it is down.
const DOOR: &str = r"
import socket, subprocess, threading
passed, lock = 0, threading.Lock()
def limit():
    try: return int(open('/root/limit').read())
    except (OSError, ValueError): return None
def carry(a, b, counts):
    global passed
    try:
        while part := a.recv(65536):
            if counts:
                with lock:
                    passed += len(part)
                    most = limit()
                    if most is not None and passed > most:
                        open('/root/limit', 'w').write('')
                        passed = 0
                        subprocess.run(['systemctl', 'kill', '-s', 'KILL', 'hostkit.garage'])
                        subprocess.run(['systemctl', 'stop', 'hostkit.garage'])
            b.sendall(part)
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(a):
    try: b = socket.create_connection(('127.0.0.1', 3900), 5)
    except OSError: return a.close()
    b.settimeout(None)
    threading.Thread(target=carry, args=(a, b, True), daemon=True).start()
    carry(b, a, False)
door = socket.create_server(('0.0.0.0', 3999))
while True: threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
";

/// What a server has to know of the bucket.
fn introduce(vps: &Vps, place: &str, key: &str, secret: &str) {
    let text = format!(
        "AWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\nAWS_DEFAULT_REGION=garage\n"
    );
    vps.write("/etc/hostkit/offsite.env", &text);
    vps.hostkit(&format!("config set backup.offsite {place}")).succeeds();
    let told = vps.hostkit("backup verify --offsite").fails_with(8);
    assert!(told.contains("others than root may read"), "{told}");
    vps.sh("chmod 600 /etc/hostkit/offsite.env").succeeds();
}

/// What is in the bucket, by restic's own word: the parts of each backup.
fn there(vps: &Vps, place: &str) -> Vec<String> {
    let script = format!(
        "set -a; . /etc/hostkit/offsite.env; HOME=/root restic -r {place} --no-lock --password-file /etc/hostkit/backup.key snapshots --json | jq -r '.[].tags | join(\",\")' | sort"
    );
    vps.sh(&script).succeeds().lines().map(str::to_owned).collect()
}

fn complete(of: &[String]) -> usize {
    of.iter().filter(|line| line.contains("part=record") && !line.contains("@host")).count()
}

#[test]
fn what_did_not_get_to_a_bucket_is_sent_by_the_next_run() {
    let Some(server) = storage::server() else { return };
    let vault = &server.vps;
    vault.hostkit("provision vault --no-db --no-redis --quiet").succeeds();
    vault.write("/root/door.py", DOOR);
    vault.sh("systemd-run --quiet --unit=door python3 /root/door.py").succeeds();
    let (key, secret) =
        (server.variable("vault", "S3_ACCESS_KEY"), server.variable("vault", "S3_SECRET_KEY"));
    let place = format!("s3:http://{}:3999/hostkit-vault", vault.address());

    let shop = with_data("my-shop");
    let vps = &shop.vps;
    introduce(vps, &place, &key, &secret);
    vps.sh("systemd-run --quiet --unit=spy bash -c 'while :; do ps axww -o args >> /root/seen; sleep 0.05; done'").succeeds();
    let first = create(vps, "my-shop --offsite");
    assert!(list(vps, "my-shop")[0]["copied_at"].is_string());
    vps.hostkit("backup verify --offsite").succeeds();

    // The service dies in the middle of an upload: that is told, and what is here stands.
    vps.sh_as("my-shop", "head -c 40M /dev/urandom > ~/shared/blob").succeeds();
    let held = sums(vps, "my-shop");
    vault.write("/root/limit", "15000000");
    let start = Instant::now();
    let told = vps.hostkit("backup create my-shop --offsite").fails_with(1);
    println!("an upload that was cut off ends after {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 150);
    assert!(
        told.contains("does not answer") && told.contains("is complete on this server"),
        "{told}"
    );
    assert_ne!(vault.sh("systemctl is-active hostkit.garage").stdout.trim(), "active");
    let newest = list(vps, "my-shop")[0].clone();
    assert!(newest["state"] == "complete" && newest["copied_at"].is_null(), "{newest}");
    assert!(vps.hostkit("events my-shop").succeeds().contains("backup copy"));
    vps.hostkit("backup drill my-shop").succeeds();

    // It is still down when the timer comes: told once, and everything is made here.
    vps.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    let start = Instant::now();
    let told = vps.hostkit("backup run-all --quiet --no-drill").fails_with(1);
    println!("a run without the second place takes {:?}", start.elapsed());
    assert_eq!(told.matches("does not answer").count(), 1, "{told}");
    assert!(told.contains("1 of the backups went wrong, and 3 are complete"), "{told}");
    assert!(start.elapsed().as_secs() < 60);
    let told = vps.hostkit("backup verify --offsite").fails_with(1);
    assert!(told.contains("does not answer"), "{told}");
    let told = vps
        .hostkit(&format!("backup restore my-shop --to-new another --repository {place}"))
        .fails_with(1);
    assert!(told.contains("does not answer"), "nobody says that there is none: {told}");

    // It is back, and gets what it lacks and would keep: of each the newest of the day, and the one
    // that was proven, which did not get there.
    vault.sh("systemctl start hostkit.garage").succeeds();
    server.wait();
    let done = vps.hostkit("backup run-all --no-drill --json").data();
    let copied = done["copied"].to_string();
    for (of, n) in [("my-shop", 2), ("wiki", 1), ("@host", 1)] {
        assert_eq!(copied.matches(of).count(), n, "{of}: {done}");
    }
    assert!(copied.contains(newest["id"].as_str().unwrap()), "{done}");
    let held_there = there(vps, &place);
    let mut once = held_there.clone();
    once.dedup();
    assert_eq!(once, held_there, "nothing is there twice");
    assert!(!held_there.iter().any(|line| line.contains(&first)), "{first} gave way there, too");
    assert_eq!(complete(&held_there), 3, "{held_there:?}");
    vps.hostkit("backup verify --offsite").succeeds();
    assert!(vps.hostkit("events my-shop --json").data().to_string().contains("backup copy"));
    // Nothing is missing any more, so nothing but what is new goes there.
    let again = vps.hostkit("backup run-all --no-drill --json").data();
    assert_eq!(again["copied"].as_array().unwrap().len(), 3, "{again}");
    no_key_is_anywhere(vps, &secret);

    // Another server, that has a way there and the key of the repository.
    let other = Vps::ready();
    introduce(&other, &place, &key, &secret);
    other.write("/root/key", &vps.read("/etc/hostkit/backup.key"));
    let line = format!("backup restore my-shop --repository {place} --key-file /root/key");
    other.hostkit(&line).succeeds();
    assert_eq!(sums(&other, "my-shop"), held);
    assert_eq!(other.get("my-shop.apps.test", "/").unwrap().body, shop.serves());
    other.hostkit("drift my-shop").succeeds();
}

/// Neither in a list of processes nor in a log or an event.
fn no_key_is_anywhere(vps: &Vps, secret: &str) {
    vps.sh("systemctl stop spy; test $(wc -l < /root/seen) -gt 1000; grep -q 'restic.*copy' /root/seen").succeeds();
    let key = vps.read("/etc/hostkit/backup.key");
    for word in [secret, key.trim()] {
        for place in ["cat /root/seen", "journalctl --no-pager -o export", "hostkit events --json"]
        {
            let found = vps.sh(&format!("{place} | grep -ac -- '{word}'"));
            assert_eq!(found.stdout.trim(), "0", "in {place}");
        }
        let found = vps.sh(&format!(
            "grep -rla -- '{word}' /var/log /var/lib/hostkit /var/cache/hostkit-backup /tmp /run"
        ));
        assert_eq!(found.stdout, "", "{found}");
    }
}
