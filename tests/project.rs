//! A project: provisioned, shown, repaired, stopped and started.

use serde_json::json;

use crate::vps::Vps;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS me@laptop";

#[test]
fn provision_makes_everything_that_a_project_is() {
    let vps = Vps::ready();
    vps.write("/root/key.pub", &format!("{KEY}\n"));
    let made = vps
        .hostkit("provision my-shop --domain shop.example.com --ssh-key /root/key.pub --json")
        .data();
    assert_eq!(made["port"], 8001);
    assert_eq!(made["redis_db"], 1);
    assert_eq!(made["database"], "my_shop_db");
    assert_eq!(made["url"], "http://my-shop.apps.test");

    let home = vps.sh("cd /home/my-shop; stat -c '%n %U:%G %a' . app releases shared .env .cache .ssh .ssh/authorized_keys; readlink app venv").succeeds();
    assert_eq!(
        home,
        ". root:my-shop 750\napp root:root 777\nreleases root:my-shop 750\nshared my-shop:my-shop 750\n\
         .env root:my-shop 640\n.cache my-shop:my-shop 700\n.ssh root:my-shop 750\n\
         .ssh/authorized_keys root:my-shop 640\nreleases/empty\napp/venv\n"
    );
    assert!(vps.read("/home/my-shop/.ssh/authorized_keys").contains(KEY));
    let env = vps.read("/home/my-shop/.env");
    for line in [
        "PROJECT_NAME=my-shop\n",
        "PORT=8001\n",
        "HOST=127.0.0.1\n",
        "@localhost:6379/1\n",
        "DATABASE_URL=postgresql://my_shop_user:",
        "@localhost:5432/my_shop_db\n",
    ] {
        assert!(env.contains(line), "{line}: {env}");
    }
    // The credentials work, as the project, from the file alone.
    let used = vps.sh_as(
        "my-shop",
        "set -ae; . ~/.env; psql \"$DATABASE_URL\" -Atc 'create table t (n int); insert into t values (7); select n from t'; \
         redis-cli -u \"$REDIS_URL\" set answer 42; redis-cli -u \"$REDIS_URL\" get answer",
    );
    assert_eq!(used.succeeds(), "CREATE TABLE\nINSERT 0 1\n7\nOK\n42\n");
    let uid: u32 = vps.sh("id -u my-shop").succeeds().trim().parse().unwrap();
    assert!((20_000..30_000).contains(&uid));
    assert_eq!(vps.sh("id -g my-shop; id -G my-shop").succeeds(), format!("{uid}\n{uid}\n"));
    vps.sh("visudo -c && nginx -t && systemctl is-enabled hostkit-my-shop && logrotate -d /etc/logrotate.d/hostkit").succeeds();
    vps.hostkit("doctor").succeeds();
    vps.hostkit("drift my-shop").succeeds();
}

#[test]
fn until_something_is_deployed_the_site_says_what_to_do_and_the_unit_rests() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --domain www.shop.test").succeeds();
    for host in ["shop.apps.test", "www.shop.test", "SHOP.apps.test"] {
        let answer = vps.get(host, "/any/path").unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("hostkit</b> deploy shop"), "{}", answer.body);
        assert!(answer.head.contains("retry-after: 60") && answer.head.contains("text/html"));
    }
    assert!(vps.get("shop.apps.test.evil.test", "/").is_none());
    // What tells hostkit which version of a site answers is nobody else's business.
    assert_eq!(vps.get("shop.apps.test", "/.well-known/hostkit-site").unwrap().status, 404);
    assert_eq!(vps.sh("systemctl is-active hostkit-shop").stdout, "inactive\n");
    let refused = vps.hostkit("project start shop").fails_with(3);
    assert!(refused.contains("nothing is deployed to shop yet"), "{refused}");
    // Not even a reboot starts it, and the site is back by itself.
    vps.crash();
    vps.boot();
    assert_eq!(vps.sh("systemctl is-active hostkit-shop").stdout, "inactive\n");
    vps.wait_until("the page", |vps| {
        vps.get("shop.apps.test", "/").is_some_and(|a| a.status == 503)
    });
    vps.hostkit("doctor").succeeds();
}

#[test]
fn create_makes_only_what_is_asked_for() {
    let vps = Vps::ready();
    let made = vps.hostkit("project create plain --no-redis --node --json").data();
    assert!(made.get("redis_db").is_none() && made.get("database").is_none(), "{made}");
    let env = vps.read("/home/plain/.env");
    assert!(!env.contains("REDIS_URL") && !env.contains("DATABASE_URL"), "{env}");
    assert!(!vps.exists("/home/plain/venv"));
    vps.hostkit("project create data --with-db").succeeds();
    assert!(vps.read("/home/data/.env").contains("@localhost:5432/data_db"));
    vps.hostkit("doctor").succeeds();
    assert!(!vps.exists("/etc/hostkit/master.key"));
    vps.hostkit("project create sealed --no-redis --with-secrets").succeeds();
    assert!(vps.exists("/etc/hostkit/master.key"));
    for service in ["--with-auth", "--with-storage"] {
        let refused = vps.hostkit(&format!("project create other {service}")).fails_with(8);
        assert!(refused.contains("this server has no"), "{refused}");
    }
    let noted = vps.hostkit("provision other");
    assert!(
        noted.stderr.contains("no auth service yet")
            && noted.stderr.contains("no object storage yet")
    );
    noted.succeeds();
    let silent = vps.hostkit("provision silent --no-auth --no-storage --no-db");
    assert!(!silent.stderr.contains("yet"), "{silent}");
    silent.succeeds();
}

#[test]
fn a_dry_run_and_a_plan_show_all_and_change_nothing() {
    let vps = Vps::ready();
    let before = vps.snapshot();
    for line in ["provision shop --dry-run", "plan shop", "project create shop --with-db --dry-run"]
    {
        let text = vps.hostkit(line).succeeds();
        for told in [
            "+ user shop",
            "+ database shop_db",
            "+DATABASE_URL=***",
            "+ redis user shop, database 1",
            "would change",
        ] {
            assert!(text.contains(told), "{line}: {told}: {text}");
        }
        assert!(!text.contains("redis://shop:"), "{text}");
    }
    let data = vps.hostkit("provision shop --dry-run --json").data();
    assert!(data["changes"].as_array().unwrap().len() > 20);
    assert_eq!(data["dry_run"], true);
    before.assert_same(&vps.snapshot(), "dry run");
}

#[test]
fn drift_is_shown_and_repaired() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    let whole = vps.snapshot();
    let cases = [
        ("sed -i s/512M/4G/ /etc/systemd/system/hostkit-shop.service", "+MemoryMax=512M"),
        (
            "runuser -u postgres -- psql -qc 'ALTER ROLE shop_user CREATEDB' -d postgres",
            "createdb (should not be)",
        ),
        (
            "runuser -u postgres -- psql -qc 'GRANT CONNECT ON DATABASE shop_db TO PUBLIC' -d postgres",
            "everybody may connect (should not)",
        ),
        ("chmod 777 /home/shop", "mode 0777 (should be 0750)"),
        ("chown shop /home/shop/.env", "file /home/shop/.env: owner"),
        ("sed -i s/PORT=8001/PORT=80/ /home/shop/.env", "file /home/shop/.env: contents"),
        ("rm /etc/sudoers.d/hostkit-shop", "+ file /etc/sudoers.d/hostkit-shop"),
        (
            "rm /etc/nginx/sites-enabled/hostkit-shop",
            "+ link /etc/nginx/sites-enabled/hostkit-shop",
        ),
        (
            "systemctl disable hostkit-shop 2>/dev/null",
            "+ link /etc/systemd/system/multi-user.target.wants/hostkit-shop.service",
        ),
        (
            "nft delete element inet hostkit walled '{ 8001 }'",
            "wall around the ports: some ports are open",
        ),
        (
            "nft add element inet hostkit owners '{ 33 . 8001 }'",
            "user 33 may use port 8001 (should not)",
        ),
        ("usermod -s /bin/sh shop", "shell /bin/sh (should be /bin/bash)"),
        ("userdel shop; groupdel shop 2>/dev/null; true", "+ user shop"),
        (
            "ln -sfn /etc /home/shop/app",
            "link /home/shop/app: points to /etc (should be releases/empty)",
        ),
        ("rm -rf /var/log/projects/shop", "+ directory /var/log/projects/shop"),
    ];
    for (sabotage, told) in cases {
        vps.sh(sabotage).succeeds();
        let drift = vps.hostkit("drift shop");
        assert!(drift.stdout.contains(told), "{sabotage}: {drift}");
        assert_eq!(drift.code, 1, "{drift}");
        assert_ne!(vps.hostkit("doctor").code, 0, "{sabotage}");
        vps.hostkit("repair shop").succeeds();
        whole.assert_same(&vps.snapshot(), sabotage);
    }
    vps.sh("chmod 700 /home/shop; rm /home/shop/.env").succeeds();
    let fixed = vps.hostkit("doctor --fix");
    assert!(fixed.stdout.contains("mended by `hostkit repair shop`"), "{fixed}");
    fixed.succeeds();
    assert!(vps.read("/home/shop/.env").contains("REDIS_URL"));
}

#[test]
fn a_project_starts_stops_and_restarts() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --runtime custom --start-cmd /home/shop/app/serve").succeeds();
    vps.release("shop", &[("serve", "#!/usr/bin/python3\nimport http.server, os\nhttp.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ['PORT']), bind='127.0.0.1')\n")]);
    vps.sh("chmod 750 /home/shop/releases/*/serve").succeeds();
    let started = vps.hostkit("project start shop --json").data();
    assert_eq!(started, json!({"unit": "hostkit-shop.service", "active": "active"}));
    vps.wait_until("the app", |vps| {
        vps.get("shop.apps.test", "/").is_some_and(|a| a.status == 200)
    });
    let status = vps.hostkit("status shop --json").data();
    assert_eq!(status["projects"][0]["state"], "up");
    assert!(status["projects"][0]["memory"].as_u64().unwrap() > 0, "{status}");
    let first = vps.sh("systemctl show -P MainPID hostkit-shop").succeeds();
    vps.hostkit("project restart shop").succeeds();
    assert_ne!(vps.sh("systemctl show -P MainPID hostkit-shop").succeeds(), first);
    vps.hostkit("project stop shop").succeeds();
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().status, 502);
    assert_eq!(vps.hostkit("project info shop --json").data()["state"], "stopped");
    vps.hostkit("doctor").succeeds();
}

#[test]
fn a_project_that_does_not_stay_up_shows_why() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --runtime custom --start-cmd /home/shop/app/serve").succeeds();
    vps.release(
        "shop",
        &[("serve", "#!/bin/sh\nsleep 0.3\necho 'KeyError: SECRET_KEY' >&2\nexit 3\n")],
    );
    vps.sh("chmod 750 /home/shop/releases/*/serve").succeeds();
    let error = vps.hostkit("project start shop").fails_with(6);
    for told in [
        "shop does not stay up",
        "exited with status 3",
        "KeyError: SECRET_KEY",
        "journalctl -u hostkit-shop.service",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    vps.sh("rm /home/shop/releases/*/serve").succeeds();
    vps.hostkit("project stop shop").succeeds();
    let error = vps.hostkit("project start shop").fails_with(6);
    assert!(error.contains("its program is missing"), "{error}");
    assert_eq!(vps.hostkit("status shop --json").data()["projects"][0]["state"], "failing");
    assert!(vps.hostkit("events shop").succeeds().contains("project start"));
}

#[test]
fn every_change_is_an_event_with_who_and_how_it_ended() {
    let vps = Vps::ready();
    vps.sh("useradd -m -G hostkit alice").succeeds();
    vps.run(
        &["runuser", "-u", "alice", "--", "sudo", "-n", "/usr/bin/hostkit", "provision", "shop"],
        b"",
    )
    .succeeds();
    vps.hostkit_fault("fail@9", "project create other").fails_with(1);
    vps.hostkit("project delete shop --yes").succeeds();
    let events = vps.hostkit("events --json").data();
    let told: Vec<String> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{} {} {} {}",
                e["actor"].as_str().unwrap(),
                e["verb"].as_str().unwrap(),
                e["project"].as_str().unwrap_or("-"),
                e["outcome"].as_str().unwrap()
            )
        })
        .collect();
    for line in [
        "root init - done",
        "alice provision shop done",
        "root project create other undone",
        "root project delete shop done",
    ] {
        assert!(told.contains(&line.to_owned()), "{line}: {told:?}");
    }
    let undone = events.as_array().unwrap().iter().find(|e| e["outcome"] == "undone").unwrap();
    assert!(undone["detail"].as_str().unwrap().contains("injected fault"), "{undone}");
    assert_eq!(vps.hostkit("events shop --json").data().as_array().unwrap().len(), 2);
    let journal = vps.sh("journalctl -t hostkit -o cat").succeeds();
    assert!(journal.contains("provision shop by alice: done"), "{journal}");
}

#[test]
fn keys_of_the_configuration_log_in_everywhere_and_sshd_accepts_them() {
    let vps = Vps::ready();
    vps.sh("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519; ssh-keygen -q -t ed25519 -N '' -f /root/other").succeeds();
    let key = vps.read("/root/.ssh/id_ed25519.pub");
    vps.hostkit_args(&["config", "set", "ssh_keys", key.trim()]).succeeds();
    vps.hostkit("provision shop --ssh-key /root/other.pub").succeeds();
    let ssh = |identity: &str| {
        format!(
            "ssh -o StrictHostKeyChecking=no -o BatchMode=yes -o IdentitiesOnly=yes -i {identity} shop@127.0.0.1 whoami"
        )
    };
    assert_eq!(vps.sh(&ssh("/root/.ssh/id_ed25519")).succeeds(), "shop\n");
    assert_eq!(vps.sh(&ssh("/root/other")).succeeds(), "shop\n");
    let info = vps.hostkit("project info shop --json").data();
    assert_eq!(info["ssh_keys"].as_array().unwrap().len(), 2);
    // A key that the project adds for itself has nowhere to go.
    vps.sh_as("shop", "echo x >> ~/.ssh/authorized_keys").fails_with(1);
    vps.sh_as("shop", "mkdir ~/.ssh2 || touch ~/.ssh/rc").fails_with(1);
}

#[test]
fn sudo_rules_are_written_anew_for_one_or_all() {
    let vps = Vps::ready();
    vps.hostkit("provision one").succeeds();
    vps.hostkit("provision two").succeeds();
    let whole = vps.snapshot();
    vps.sh("echo '# x' >> /etc/sudoers.d/hostkit-one; rm /etc/sudoers.d/hostkit-two").succeeds();
    let shown = vps.hostkit("project regenerate-sudoers --all --dry-run").succeeds();
    assert!(
        shown.contains("-# x") && shown.contains("+ file /etc/sudoers.d/hostkit-two"),
        "{shown}"
    );
    assert_eq!(vps.hostkit("project regenerate-sudoers one --json").data()["changed"], 1);
    assert_eq!(vps.hostkit("project regenerate-sudoers --all --json").data()["changed"], 1);
    whole.assert_same(&vps.snapshot(), "regenerated");
}

#[test]
fn a_list_fits_the_terminal_and_a_program_gets_json() {
    let vps = Vps::ready();
    assert!(vps.hostkit("project list").succeeds().contains("hostkit provision my-app"));
    vps.hostkit("provision a-project-with-a-long-name --domain a-very-long-domain-name.of-somebody.example.com").succeeds();
    let row = &vps.hostkit("--json project list").data()[0];
    for key in [
        "name",
        "runtime",
        "state",
        "port",
        "redis_db",
        "database",
        "url",
        "domains",
        "created_by",
        "created_at",
    ] {
        assert!(!row[key].is_null(), "{key}: {row}");
    }
    let narrow = "import pty, os, sys, struct, fcntl, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 60, 0, 0))
    os.environ['TERM'] = 'xterm'
    os.execvp('hostkit', ['hostkit'] + sys.argv[1:])
out = b''
try:
    while True:
        part = os.read(fd, 4096)
        if not part: break
        out += part
except OSError: pass
sys.stdout.buffer.write(out)";
    vps.write("/root/narrow.py", narrow);
    for line in ["project list", "status"] {
        let text = vps.sh(&format!("python3 /root/narrow.py {line}")).succeeds();
        assert!(text.contains("\x1b["), "colours: {text:?}");
        for row in text.lines() {
            let mut visible = String::new();
            let mut in_code = false;
            for c in row.chars() {
                match c {
                    '\x1b' => in_code = true,
                    'm' if in_code => in_code = false,
                    c if !in_code && !c.is_control() => visible.push(c),
                    _ => {}
                }
            }
            assert!(visible.chars().count() <= 60, "{visible}");
        }
        assert!(text.contains('…'), "{text}");
        let plain = vps.sh(&format!("NO_COLOR=1 python3 /root/narrow.py {line}")).succeeds();
        assert!(!plain.contains("\x1b[3") && !plain.contains("\x1b[1m"), "{plain:?}");
    }
}

#[test]
fn capabilities_and_config_tell_programs_what_there_is() {
    let vps = Vps::ready();
    let data = vps.hostkit("capabilities --json").data();
    let names: Vec<&str> =
        data["commands"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"provision")
            && names.contains(&"project delete")
            && !names.contains(&"gate")
    );
    let of_project = vps.hostkit("capabilities --json --project shop").data();
    assert!(of_project["commands"].as_array().unwrap().len() < names.len());
    assert_eq!(vps.hostkit("config get base_domain").succeeds(), "apps.test\n");
    vps.hostkit("config set redis.databases 20").succeeds();
    assert_ne!(vps.hostkit("doctor").code, 0);
    vps.hostkit("init").succeeds();
    vps.hostkit("doctor").succeeds();
    let text = vps.read("/etc/hostkit/hostkit.toml");
    assert!(text.contains("# Databases of the server. 0 stays free"), "{text}");
    let refused = vps.hostkit("config set redis.database 20").fails_with(3);
    assert!(refused.contains("did you mean `redis.databases`?"), "{refused}");
    vps.hostkit("config set ports.first 9500").fails_with(2);
    assert_eq!(vps.read("/etc/hostkit/hostkit.toml"), text);
}

#[test]
fn another_base_domain_moves_every_site() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    vps.hostkit("init --base-domain other.test").succeeds();
    assert_ne!(vps.hostkit("drift shop").code, 0);
    vps.hostkit("repair --all").succeeds();
    assert_eq!(vps.get("shop.other.test", "/").unwrap().status, 503);
    assert!(vps.get("shop.apps.test", "/").is_none());
    vps.hostkit("doctor").succeeds();
}
