//! Backups in a second place, and a whole server brought back on another one.

use crate::{
    backup::{create, deploy, list, sums, with_data},
    vps::{Shop, Vps},
};

/// A server that takes files over SFTP, and another that may put them there.
pub fn vault(vps: &Vps) -> (Vps, String) {
    let vault = Vps::bare();
    vault.sh("useradd --create-home vault; install -d -o vault -m 700 /srv/vault /home/vault/.ssh; systemctl start ssh").succeeds();
    vps.sh("ssh-keygen -q -t ed25519 -N '' -f /etc/hostkit/offsite.ssh").succeeds();
    let key = vps.read("/etc/hostkit/offsite.ssh.pub");
    vault.write("/home/vault/.ssh/authorized_keys", &format!("restrict {key}"));
    vault
        .sh("chown -R vault /home/vault/.ssh; chmod 600 /home/vault/.ssh/authorized_keys")
        .succeeds();
    let address = vault.address();
    vps.sh(&format!("ssh-keyscan -t ed25519 {address} 2>/dev/null > /etc/hostkit/offsite.known_hosts; test -s /etc/hostkit/offsite.known_hosts")).succeeds();
    let place = format!("sftp:vault@{address}:/srv/vault/restic");
    (vault, place)
}

fn key_of(vps: &Vps) -> String {
    vps.read("/etc/hostkit/backup.key")
}

#[test]
fn a_server_comes_back_on_an_empty_one() {
    let shop = with_data("my-shop");
    let vps = &shop.vps;
    vps.hostkit("provision wiki --no-redis --domain wiki.example").succeeds();
    vps.tree_of("wiki");
    vps.hostkit("deploy wiki --source /root/wiki --no-watch --quiet").succeeds();
    vps.hostkit("provision empty --no-db --no-redis").succeeds();
    vps.sh("ssh-keygen -q -t ed25519 -N '' -C alice -f /root/alice").succeeds();
    vps.hostkit("operator setup alice --key /root/alice.pub").succeeds();
    vps.hostkit("ratelimit wiki 3").stdout.clear();
    vps.sh("mkdir -p /etc/letsencrypt/live/wiki.example; echo certificate > /etc/letsencrypt/live/wiki.example/cert.pem").succeeds();
    vps.hostkit("config set backup.drill always").succeeds();
    vps.run(&["hostkit", "alert", "add", "ops"], b"http://127.0.0.1:9900/hook").succeeds();
    let (vault, place) = vault(vps);

    // Somebody who is not sure who answers there is told, and the local backup is complete.
    vps.hostkit(&format!("config set backup.offsite {place}")).succeeds();
    vps.sh("mv /etc/hostkit/offsite.known_hosts /root/known").succeeds();
    let told = vps.hostkit("backup create wiki --offsite").fails_with(1);
    assert!(told.contains("is complete on this server"), "{told}");
    assert_eq!(list(vps, "wiki")[0]["state"], "complete");
    vps.sh("mv /root/known /etc/hostkit/offsite.known_hosts; chmod 644 /etc/hostkit/offsite.ssh")
        .succeeds();
    let told = vps.hostkit("backup create wiki --offsite").fails_with(8);
    assert!(told.contains("others than root may read"), "{told}");
    vps.sh("chmod 600 /etc/hostkit/offsite.ssh").succeeds();

    let done = vps.hostkit("backup run-all --json").data();
    assert_eq!(done["complete"].as_array().unwrap().len(), 4, "{done}");
    assert_eq!(done["proven"].as_array().unwrap().len(), 3, "{done}");
    let newest = &list(vps, "my-shop")[0];
    assert!(newest["copied_at"].is_string() && newest["is_local"] == true, "{newest}");
    vps.hostkit("backup verify --offsite").succeeds();
    let before = sums(vps, "my-shop");
    let pages = (shop.serves(), vps.get("wiki.example", "/").unwrap().body);

    // The server burns down. Another one, where nothing was ever done, is handed place and key.
    let key = key_of(vps);
    vault.write("/root/key", &key);
    let wrong = vault.run(
        &["hostkit", "restore-host", "--repository", "/srv/vault/restic", "--key-file", "-"],
        b"no key",
    );
    assert!(wrong.code == 1 && wrong.stderr.contains("does not open"), "{wrong}");
    assert!(!vault.exists("/var/lib/hostkit/registry.db"));
    let back = vault
        .run(
            &[
                "hostkit",
                "restore-host",
                "--repository",
                "/srv/vault/restic",
                "--key-file",
                "-",
                "--json",
            ],
            key.as_bytes(),
        )
        .data();
    println!("a server with three projects came back in {} ms", back["milliseconds"]);
    let drift = vault.hostkit("drift");
    assert_eq!(drift.code, 0, "{drift}");
    vault.hostkit("doctor").succeeds();
    assert_eq!(sums(&vault, "my-shop"), before);
    assert_eq!(vault.get("my-shop.apps.test", "/").unwrap().body, pages.0);
    assert_eq!(vault.get("wiki.example", "/").unwrap().body, pages.1);
    let operators = |vps: &Vps| {
        let all = vps.hostkit("operator list --json").data();
        all.as_array()
            .unwrap()
            .iter()
            .map(|o| (o["name"].clone(), o["keys"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(operators(&vault), operators(vps));
    assert_eq!(operators(vps).len(), 1);
    // Whoever was told when something was wrong is told by the new one.
    assert!(vault.hostkit("alert list").succeeds().contains("ops"));
    assert_eq!(vault.sh("systemctl is-active hostkit-alert.timer").succeeds(), "active\n");
    assert_eq!(vault.read("/etc/letsencrypt/live/wiki.example/cert.pem"), "certificate\n");
    let uid = |vps: &Vps| vps.sh("id -u my-shop wiki empty").succeeds();
    assert_eq!(uid(&vault), uid(vps));
    let ports = |vps: &Vps| {
        vps.hostkit("project list --json")
            .data()
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["port"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ports(&vault), ports(vps));
    // It goes on from there: backups, deploys, and the same once more changes nothing.
    create(&vault, "my-shop");
    vault.sh("cp -r /srv/vault /srv/vault-copy").succeeds();
    vault.hostkit("restore-host --repository /srv/vault/restic --key-file /root/key").succeeds();
    assert_eq!(vault.hostkit("drift").code, 0);
    vault.hostkit("provision another --no-db --no-redis").succeeds();
    let told = vault
        .hostkit("restore-host --repository /srv/vault/restic --key-file /root/key")
        .fails_with(4);
    assert!(told.contains("another"), "{told}");

    // The first server never burned: what it keeps elsewhere outlives what it keeps here.
    vps.sh("rm -rf /srv/backups/hostkit/restic").succeeds();
    let told = vps.hostkit("backup restore my-shop --yes --no-backup");
    assert_ne!(told.code, 0, "{told}");
    deploy(&shop, "my-shop", "two");
    vps.run(
        &[
            "hostkit",
            "backup",
            "restore",
            "my-shop",
            "--yes",
            "--no-backup",
            "--repository",
            &place,
        ],
        b"",
    )
    .succeeds();
    assert_eq!(sums(vps, "my-shop"), before);
}

impl Vps {
    fn tree_of(&self, name: &str) {
        self.write(&format!("/root/{name}/hostkit.toml"), crate::vps::MANIFEST);
        self.write(&format!("/root/{name}/server.py"), &crate::vps::app(name, "", "pass"));
    }
}

#[test]
fn a_check_of_ones_own_is_asked_in_a_drill() {
    let shop = Shop::named("my-shop", "--no-redis");
    let vps = &shop.vps;
    vps.sh_as("my-shop", ". ~/.env; psql -q $DATABASE_URL -c 'CREATE TABLE orders (n int); INSERT INTO orders VALUES (1), (2)'; echo precious > ~/shared/file").succeeds();
    let check = "\n[backup]\ncheck = \"/bin/sh check.sh\"\n";
    shop.version("one", check);
    let script = "set -e\nn=$(psql -qtA \"$DATABASE_URL\" -c 'SELECT count(*) FROM orders')\npsql -q \"$DATABASE_URL\" -c 'DELETE FROM orders'\ntest \"$n\" = 2 || { echo \"$n orders\"; exit 3; }\ngrep -q precious \"$BACKUP_FILES/shared/file\"\necho all $n orders\n";
    shop.tree("one", &[("check.sh", script)]);
    shop.deploy("one");
    create(vps, "my-shop");
    let proof = vps.hostkit("backup drill my-shop --json").data();
    let last = proof["checks"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        (last["what"].as_str(), last["found"].as_str()),
        (Some("own check"), Some("all 2 orders")),
        "{proof}"
    );
    // It worked on what came back, and not on what is there.
    assert_eq!(
        vps.sh_as("my-shop", ". ~/.env; psql -qtA $DATABASE_URL -c 'SELECT count(*) FROM orders'")
            .stdout,
        "2\n"
    );
    vps.sh_as("my-shop", ". ~/.env; psql -q $DATABASE_URL -c 'INSERT INTO orders VALUES (3)'")
        .succeeds();
    create(vps, "my-shop");
    let told = vps.hostkit("backup drill my-shop").fails_with(6);
    assert!(told.contains("3 orders"), "{told}");
    assert_eq!(list(vps, "my-shop")[0]["proven"], false);
    assert_eq!(list(vps, "my-shop")[1]["proven"], true);
    let mistake = shop.vps.sh("cd /root/one && sed -i 's/check = .*/check = \"a | b\"/' hostkit.toml && hostkit validate .");
    assert!(mistake.code == 2 && format!("{mistake}").contains("no shell runs"), "{mistake}");
}
