//! Deploys and rollbacks: no request fails, and whatever goes wrong leaves the old release.

use std::path::Path;

use crate::vps::{BASE_DOMAIN, Load, MANIFEST, Shop, app};

#[test]
fn ten_deploys_and_ten_rollbacks_fail_no_request() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.version("two", "");
    shop.deploy("one");
    assert_eq!(shop.serves(), "one");
    let load = Load::on(&shop.vps, &format!("shop.{BASE_DOMAIN}"), 8);
    for n in 0..10 {
        let version = ["two", "one"][n % 2];
        shop.deploy(version);
        assert_eq!(shop.serves(), version);
        shop.vps.hostkit("rollback shop --quiet").succeeds();
        assert_eq!(shop.serves(), ["one", "two"][n % 2]);
        // Forward again, so that the next rollback has somewhere to go.
        let back = shop.vps.hostkit("releases shop --json").data();
        let newest = back[0]["id"].as_str().unwrap();
        shop.vps.hostkit(&format!("rollback shop --to {newest} --quiet")).succeeds();
    }
    load.end().assert_none_failed(3000);
    shop.vps.hostkit("drift shop").succeeds();
    // Nothing is left of standbys and builds, and old releases are pruned.
    let left = shop.vps.sh(
        "ls /run/systemd/system | grep hostkit-shop; ls /run/hostkit/next; ls -A /home/shop/releases/.staging; \
         nft list set inet hostkit draining | grep elements; systemctl list-units --all 'hostkit-shop-*' --no-legend",
    );
    assert_eq!(left.stdout, "", "{left}");
    let releases = shop.vps.hostkit("releases shop --json").data();
    assert!(releases.as_array().unwrap().len() <= 6, "{releases}");
}

#[test]
fn rollback_repeats_and_can_itself_be_rolled_back() {
    let shop = Shop::open();
    let ids: Vec<String> = ["one", "two", "three"]
        .iter()
        .map(|version| {
            shop.version(version, "");
            shop.deploy(version)
        })
        .collect();
    for (line, serves) in [
        ("rollback shop", "two"),
        ("rollback shop", "one"),
        (&format!("rollback shop --to {}", ids[2]), "three"),
        ("rollback shop --dry-run", "three"),
    ] {
        shop.vps.hostkit(line).succeeds();
        assert_eq!(shop.serves(), serves, "{line}");
    }
    shop.vps.hostkit(&format!("rollback shop --to {}", ids[0])).succeeds();
    let none = shop.vps.hostkit("rollback shop").fails_with(3);
    assert!(none.contains("no good release before"), "{none}");
    shop.vps.hostkit(&format!("rollback shop --to {}", ids[0])).fails_with(4);
    shop.vps.hostkit("rollback shop --to 20200101-000000").fails_with(3);
    let deploys = shop.vps.hostkit("deploys shop --json").data();
    assert_eq!(deploys.as_array().unwrap().len(), 7, "{deploys}");
}

#[test]
fn a_release_that_does_not_come_up_changes_nothing() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.deploy("one");
    let before = shop.vps.sh("systemctl show -P MainPID hostkit-shop").succeeds();
    let broken = [
        ("crash", "sys.exit('KeyError: SECRET_KEY')", "pass", "", "KeyError: SECRET_KEY"),
        ("sick", "", "status = 500", "[deploy]\ntimeout = \"3s\"\n", "`GET /health` answers 500"),
        ("deaf", "time.sleep(600)", "pass", "[deploy]\ntimeout = \"3s\"\n", "after 3 s"),
        ("slow", "", "time.sleep(30)", "[deploy]\ntimeout = \"3s\"\n", "does not answer"),
    ];
    let load = Load::on(&shop.vps, &format!("shop.{BASE_DOMAIN}"), 4);
    for (name, start, handle, more, why) in broken {
        shop.app(name, start, handle, more);
        let told = shop.vps.hostkit(&format!("deploy shop --source /root/{name}")).fails_with(6);
        assert!(told.contains(why), "{name}: {told}");
        assert!(told.contains("shop still serves"), "{name}: {told}");
        assert_eq!(shop.serves(), "one", "{name}");
    }
    load.end().assert_none_failed(200);
    // It was never touched, not even restarted.
    assert_eq!(shop.vps.sh("systemctl show -P MainPID hostkit-shop").succeeds(), before);
    let states = shop.vps.hostkit("releases shop --json").data();
    let failed = states.as_array().unwrap().iter().filter(|r| r["state"] == "failed").count();
    assert_eq!(failed, broken.len(), "{states}");
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn what_breaks_after_the_switch_is_rolled_back() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.deploy("one");
    let late = [
        (
            "late",
            "import threading\ndef end():\n    while not is_ill(): time.sleep(0.1)\n    os._exit(3)\n\
             threading.Thread(target=end, daemon=True).start()",
            "pass",
        ),
        ("ill", "", "status = 500 if is_ill() else 200"),
    ];
    for (name, start, handle) in late {
        let is_ill = "def is_ill(): return os.path.exists('/home/shop/shared/ill')\n";
        shop.app(name, &format!("{is_ill}{start}"), handle, "");
        shop.once_the_next_is_live("shop", "touch /home/shop/shared/ill");
        let load = Load::on(&shop.vps, &format!("shop.{BASE_DOMAIN}"), 4);
        let line = format!("deploy shop --source /root/{name} --watch 20s");
        let told = shop.vps.hostkit(&line).fails_with(6);
        load.end();
        assert!(told.contains("does not stay up"), "{name}: {told}");
        assert_eq!(shop.serves(), "one", "{name}");
        shop.sh("rm /home/shop/shared/ill").succeeds();
    }
    let releases = shop.vps.hostkit("releases shop --json").data();
    let states: Vec<&str> =
        releases.as_array().unwrap().iter().map(|r| r["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "failed", "live"]);
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn processes_of_a_release_switch_together_or_not_at_all() {
    let shop = Shop::open();
    let worker = "import os, time\nopen(os.path.expanduser('/home/shop/shared/worker'), 'w').write('VERSION ' + os.environ['HOSTKIT_RELEASE'])\nLAST\ntime.sleep(3600)\n";
    let more = "[process.worker]\ncommand = \"/usr/bin/python3 worker.py\"\n\
                [process.prepare]\ncommand = \"/bin/sh -c 'echo prepared >> /home/shop/shared/prepared; exit $(cat status)'\"\nwhen = \"release\"\n\
                [process.tidy]\ncommand = \"/bin/true\"\nschedule = \"daily\"\n";
    let make = |name: &str, last: &str, status: &str| {
        let worker = worker.replace("VERSION", name).replace("LAST", last);
        shop.version(name, more);
        shop.tree(name, &[("worker.py", &worker), ("status", status)]);
    };
    make("one", "", "0");
    let id = shop.deploy("one");
    let worker = || shop.vps.read("/home/shop/shared/worker");
    shop.vps.wait_until("the worker", |vps| vps.exists("/home/shop/shared/worker"));
    assert_eq!(worker(), format!("one {id}"));
    for unit in ["hostkit-shop", "hostkit-shop-worker", "hostkit-shop-tidy.timer"] {
        assert_eq!(
            shop.vps.sh(&format!("systemctl is-active {unit}")).stdout,
            "active\n",
            "{unit}"
        );
    }
    make("two", "raise SystemExit('no queue')", "0");
    let told = shop.deploy_fails("two", 6);
    assert!(told.contains("hostkit-shop-worker.service") && told.contains("no queue"), "{told}");
    shop.vps.wait_until("the old worker", |_| worker() == format!("one {id}"));
    assert_eq!(shop.serves(), "one");
    make("three", "", "7");
    let told = shop.deploy_fails("three", 1);
    assert!(told.contains("it exited with status 7"), "{told}");
    assert_eq!(shop.serves(), "one");
    // What a release no longer has goes with it, and comes back with a rollback.
    shop.version("four", "");
    shop.deploy("four");
    for unit in ["hostkit-shop-worker.service", "hostkit-shop-tidy.timer"] {
        assert!(!shop.vps.exists(&format!("/etc/systemd/system/{unit}")), "{unit}");
        assert_eq!(
            shop.vps.sh(&format!("systemctl is-active {unit}")).stdout,
            "inactive\n",
            "{unit}"
        );
    }
    shop.vps.hostkit("drift shop").succeeds();
    // Nobody's process takes a unit of somebody else, however it comes about.
    shop.vps.hostkit("provision shop-tidy --no-db --no-redis --quiet").succeeds();
    let told = shop.vps.hostkit("rollback shop").fails_with(4);
    assert!(told.contains("is a unit of shop-tidy"), "{told}");
    shop.vps.hostkit("drift shop-tidy").succeeds();
    shop.vps.hostkit("project delete shop-tidy --yes --no-backup").succeeds();
    shop.vps.hostkit("rollback shop").succeeds();
    let told = shop.vps.hostkit("provision shop-tidy --quiet").fails_with(4);
    assert!(told.contains("is a unit of shop"), "{told}");
    for unit in ["hostkit-shop-worker", "hostkit-shop-tidy.timer"] {
        assert_eq!(
            shop.vps.sh(&format!("systemctl is-active {unit}")).stdout,
            "active\n",
            "{unit}"
        );
    }
    shop.vps.hostkit("drift shop").succeeds();
    shop.vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert_eq!(shop.vps.sh("ls /etc/systemd/system | grep shop").stdout, "");
}

#[test]
fn a_build_runs_confined_as_the_projects_user() {
    let shop = Shop::open();
    shop.vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    let steps = "[build]\nsteps = [\"sh build.sh\"]\n";
    let manifest = MANIFEST.replace("[process.web]", &format!("{steps}[process.web]"));
    let build = "id -un > who\n\
        for p in /home/bob/.env /etc/hostkit/hostkit.toml /var/lib/hostkit/registry.db /etc/shadow /root/.profile; do cat $p && echo read $p >> got; done\n\
        for p in /etc/x /usr/x /home/x /home/shop/x /home/shop/app/x /var/lib/hostkit/x /run/x; do touch $p && echo wrote $p >> got; done\n\
        mkfifo pipe; ln server.py second; chmod 4755 build.sh\n\
        setsid sleep 1234 & \n\
        true\n";
    let server = app("one", "", "pass");
    shop.tree("one", &[("server.py", &server), ("build.sh", build), ("hostkit.toml", &manifest)]);
    shop.deploy("one");
    let look = |script: &str| shop.vps.sh(&format!("cd /home/shop/app; {script}")).stdout;
    assert_eq!(look("cat who"), "shop\n");
    assert_eq!(look("cat got"), "");
    assert_eq!(look("pgrep -f 'sleep 1234'"), "");
    assert_eq!(look("ls pipe"), "");
    assert_eq!(
        look(
            "find . -not -user root -o -perm /022 -not -type l -o -perm /6000 -o -type f -links +1"
        ),
        ""
    );
    // The release is not the app's to change, and its log was kept.
    assert_ne!(shop.vps.sh_as("shop", "touch ~/app/mine || touch ~/releases/mine").code, 0);
    let failing = build.replace("true\n", "echo out of luck; exit 3\n");
    shop.tree(
        "two",
        &[("server.py", &server), ("build.sh", &failing), ("hostkit.toml", &manifest)],
    );
    let told = shop.vps.hostkit("deploy shop --source /root/two").fails_with(1);
    assert!(told.contains("out of luck") && told.contains("status 3"), "{told}");
    let deploys = shop.vps.hostkit("deploys shop --json").data();
    let log = shop.vps.hostkit(&format!("deploys shop --log {}", deploys[0]["id"])).succeeds();
    assert!(log.contains("out of luck"), "{log}");
    assert_eq!(shop.serves(), "one");
}

#[test]
fn hostile_archives_are_refused_and_leave_nothing() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.deploy("one");
    let before = shop.vps.snapshot().without("registry").without("file /var/l");
    shop.vps.write(
        "/root/evil.py",
        "import io, sys, tarfile\n\
         kind = sys.argv[1]\n\
         out = tarfile.open(fileobj=sys.stdout.buffer, mode='w|gz')\n\
         def add(name, **more):\n\
         \x20   info = tarfile.TarInfo(name)\n\
         \x20   for key, value in more.items(): setattr(info, key, value)\n\
         \x20   data = b'x' * min(info.size, 10)\n\
         \x20   out.addfile(info, io.BytesIO(b'\\0' * info.size) if info.size else None)\n\
         if kind == 'up': add('../../../etc/cron.d/x', size=1)\n\
         if kind == 'root': add('/etc/cron.d/x', size=1)\n\
         if kind == 'link': add('a', type=tarfile.SYMTYPE, linkname='/etc'); add('a/cron.d', size=1)\n\
         if kind == 'out': add('a', type=tarfile.SYMTYPE, linkname='../../../etc/shadow')\n\
         if kind == 'hard': add('a', type=tarfile.LNKTYPE, linkname='/etc/shadow')\n\
         if kind == 'device': add('a', type=tarfile.CHRTYPE, devmajor=1, devminor=5)\n\
         if kind == 'pipe': add('a', type=tarfile.FIFOTYPE)\n\
         out.close()\n",
    );
    for kind in ["up", "root", "link", "out", "hard", "device", "pipe"] {
        let line = format!("python3 /root/evil.py {kind} | hostkit deploy shop --archive -");
        let told = shop.vps.sh(&line).fails_with(2);
        assert!(told.contains("can't be unpacked"), "{kind}: {told}");
    }
    for (what, line) in [
        ("cut", "tar -C /root/one -cz . | head -c 300 | hostkit deploy shop --archive -"),
        ("empty", "hostkit deploy shop --archive - < /dev/null"),
        ("text", "echo hello | hostkit deploy shop --archive -"),
    ] {
        shop.vps.sh(line).fails_with(2);
        assert_eq!(shop.serves(), "one", "{what}");
    }
    shop.vps.sh("rm -r /root/evil.py").succeeds();
    let after = shop.vps.snapshot().without("registry").without("file /var/l");
    before.assert_same(&after, "after hostile archives");
}

#[test]
fn a_deploy_failing_or_killed_anywhere_serves_one_whole_release() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.version("two", "");
    let one = shop.deploy("one");
    let line = "deploy shop --source /root/two --no-watch --quiet";
    let told = shop.vps.hostkit_fault("fail@9999", line);
    let total: usize = told
        .stderr
        .lines()
        .find_map(|l| l.strip_prefix("hostkit: ")?.strip_suffix(" changes passed")?.parse().ok())
        .unwrap();
    shop.vps.hostkit(&format!("rollback shop --to {one} --quiet")).succeeds();
    let mut points = 0;
    for mode in ["fail", "kill"] {
        for n in 0..total {
            let when = format!("{mode}@{n}");
            let ran = shop.vps.hostkit_fault(&when, line);
            points += 1;
            assert!(matches!(ran.code, 0 | 1 | 6 | 8 | 9 | 137), "{when}: {ran}");
            // Whoever visits meanwhile gets one of the two, whole.
            let serves = shop.serves();
            assert!(serves == "one" || serves == "two", "{when}: {serves}");
            shop.vps.hostkit("recover --quiet").succeeds();
            shop.vps.hostkit("status shop").succeeds();
            shop.vps.hostkit("drift shop").succeeds();
            let live = shop.vps.hostkit("project info shop --json").data();
            if live["release"] == one.as_str() {
                assert_eq!(shop.serves(), "one", "{when}");
            } else {
                assert_eq!(shop.serves(), "two", "{when}");
                shop.vps.hostkit(&format!("rollback shop --to {one} --quiet")).succeeds();
            }
        }
    }
    println!("failure points walked: {points} (deploy)");
    shop.deploy("two");
    assert_eq!(shop.serves(), "two");
    let left = shop
        .vps
        .sh("ls -A /home/shop/releases | grep staging; ls /run/systemd/system | grep hostkit-shop");
    assert_eq!(left.stdout, "");
}

#[test]
fn a_rollback_killed_anywhere_serves_one_whole_release() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.version("two", "");
    let one = shop.deploy("one");
    let two = shop.deploy("two");
    let mut points = 0;
    for n in 0.. {
        let when = format!("kill@{n}");
        let ran = shop.vps.hostkit_fault(&when, "rollback shop --quiet");
        let serves = shop.serves();
        assert!(serves == "one" || serves == "two", "{when}: {serves}");
        shop.vps.hostkit("recover --quiet").succeeds();
        let live = shop.vps.hostkit("project info shop --json").data();
        let wanted = if live["release"] == one.as_str() { "one" } else { "two" };
        assert_eq!(shop.serves(), wanted, "{when}");
        shop.vps.hostkit("drift shop").succeeds();
        if wanted == "one" {
            shop.vps.hostkit(&format!("rollback shop --to {two} --quiet")).succeeds();
        }
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
    }
    println!("failure points walked: {points} (rollback, killed)");
    assert!(points >= 10, "{points}");
}

#[test]
fn ci_deploys_by_a_key_that_opens_nothing_else() {
    let shop = Shop::open();
    let vps = &shop.vps;
    vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    shop.version("one", "");
    vps.sh(
        "set -e; for key in ci login stranger; do ssh-keygen -q -t ed25519 -N '' -C $key@test -f /root/$key; done; \
         ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null; systemctl is-active ssh",
    )
    .succeeds();
    vps.hostkit("ssh add-key shop /root/ci.pub --ci").succeeds();
    vps.hostkit("ssh add-key shop /root/login.pub").succeeds();
    let ssh = |key: &str, options: &str, user: &str, command: &str| {
        vps.sh(&format!(
            "ssh -n -i /root/{key} -o UserKnownHostsFile=/root/known -o BatchMode=yes -o LogLevel=ERROR {options} {user}@127.0.0.1 {command}"
        ))
    };
    let send = "tar -C /root/one -cz . | ssh -i /root/ci -o UserKnownHostsFile=/root/known -o BatchMode=yes shop@127.0.0.1 hostkit deploy --archive - --no-watch";
    let told = vps.sh(send).succeeds();
    assert!(told.contains("is live"), "{told}");
    assert_eq!(shop.serves(), "one");
    // The script of the examples for CI does the same.
    vps.push(
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ci/deploy.sh")),
        "/root/deploy.sh",
    );
    shop.version("two", "");
    vps.sh(
        "HOSTKIT_HOST=127.0.0.1 HOSTKIT_PROJECT=shop HOSTKIT_KEY=\"$(cat /root/ci)\" HOSTKIT_KNOWN_HOSTS=\"$(cat /root/known)\" \
         sh /root/deploy.sh /root/two",
    )
    .succeeds();
    assert_eq!(shop.serves(), "two");
    // What fails there fails here, with the same code.
    vps.sh(&send.replace("/root/one -cz .", "/root/one -cz hostkit.toml")).fails_with(6);
    vps.sh(&send.replace("/root/one -cz .", "/root/one -cz known 2> /dev/null")).fails_with(2);
    let refused: &[(&str, &str)] = &[
        ("", "''"),
        ("", "id"),
        ("", "sh"),
        ("", "bash -c id"),
        ("", "'hostkit status; id'"),
        ("", "'hostkit status && id'"),
        ("", "'hostkit status | sh'"),
        ("", "'hostkit status `id`'"),
        ("", "'hostkit status $(id)'"),
        ("", "'hostkit status > /tmp/x'"),
        ("", "'hostkit status\nid'"),
        ("", "hostkit status bob"),
        ("", "hostkit deploy bob --archive -"),
        ("", "hostkit rollback bob"),
        ("", "hostkit releases bob"),
        ("", "hostkit project info bob"),
        ("", "hostkit project restart"),
        ("", "hostkit project delete shop --yes"),
        ("", "hostkit project info"),
        ("", "hostkit doctor"),
        ("", "hostkit init"),
        ("", "hostkit config"),
        ("", "hostkit events"),
        ("", "hostkit provision evil"),
        ("", "hostkit man --into /home/shop/shared"),
        ("", "hostkit completions bash"),
        ("", "hostkit unpack"),
        ("", "hostkit gate shop"),
        ("", "hostkit gate bob"),
        ("", "hostkit ssh add-key shop /root/stranger.pub"),
        ("", "hostkit resume"),
        ("", "hostkit deploy --source /etc"),
        ("", "hostkit deploy --source /home/bob"),
        ("", "hostkit deploy --archive /etc/shadow"),
        ("", "hostkit deploy --archive /dev/stdin"),
        ("", "hostkit deploys --log 999999"),
        ("", "hostkit --config /tmp/x status"),
        ("", "sudo id"),
        ("", "sudo -u bob hostkit status bob"),
        ("", "hostkit -- status"),
        ("", "/usr/bin/hostkit status"),
        ("", "./hostkit status"),
        ("", "scp -t /tmp"),
        ("", "rsync --server . /tmp"),
        ("", "git-upload-pack /etc"),
        ("", "internal-sftp"),
        ("-s", "sftp"),
        ("-tt", "id"),
        ("-tt", "''"),
        ("-o SetEnv=HOSTKIT_FAULT=fail@0", "id"),
        ("-o SetEnv=SSH_ORIGINAL_COMMAND=status", "id"),
        ("-A", "id"),
        ("-X", "id"),
    ];
    for (options, command) in refused {
        let ran = ssh("ci", options, "shop", command);
        assert_ne!(ran.code, 0, "{options} {command}: {ran}");
        assert!(!ran.stdout.contains("uid="), "{options} {command}: {ran}");
    }
    for forward in
        ["-N -L 7777:127.0.0.1:6379", "-N -R 7778:127.0.0.1:22", "-N -D 7779", "-W 127.0.0.1:6379"]
    {
        let ran = vps.sh(&format!(
            "timeout 4 ssh -n -i /root/ci -o UserKnownHostsFile=/root/known -o BatchMode=yes -o ExitOnForwardFailure=yes {forward} shop@127.0.0.1 & \
             sleep 1.5; for port in 7777 7779; do echo PING | timeout 1 nc -q 1 127.0.0.1 $port; done; wait"
        ));
        assert!(!ran.stdout.contains("PONG") && !ran.stdout.contains("NOAUTH"), "{forward}: {ran}");
    }
    for user in ["bob", "root"] {
        assert_ne!(ssh("ci", "", user, "hostkit status").code, 0, "{user}");
    }
    assert_ne!(ssh("stranger", "", "shop", "hostkit status").code, 0);
    // A login may read; it has no more rights over the server than the gate gives.
    assert!(ssh("login", "", "shop", "id -un").succeeds().contains("shop"));
    assert_ne!(ssh("login", "", "shop", "hostkit doctor").code, 0);
    println!("tries of a confined key: {}", refused.len() + 7);
    // Narrower, from elsewhere, out of date, and gone.
    vps.hostkit("ssh add-key shop /root/ci.pub --ci --verbs status").succeeds();
    ssh("ci", "", "shop", "hostkit status").succeeds();
    assert_eq!(ssh("ci", "", "shop", "hostkit rollback").code, 5);
    vps.hostkit("ssh add-key shop /root/ci.pub --ci --from 203.0.113.7").succeeds();
    assert_ne!(ssh("ci", "", "shop", "hostkit status").code, 0);
    for (line, code) in [
        ("ssh add-key shop /root/ci.pub --ci --verbs doctor", 2),
        ("ssh add-key shop /root/ci.pub --ci --verbs gate", 2),
        ("ssh add-key shop /root/ci.pub --ci --expires 2020-01-01", 2),
        ("ssh add-key shop /root/ci.pub --ci --from a\"b", 2),
        ("ssh add-key shop /root/ci --ci", 2),
        ("ssh remove-key shop nobody", 3),
    ] {
        vps.hostkit(line).fails_with(code);
    }
    vps.hostkit("ssh remove-key shop ci@test").succeeds();
    assert_ne!(ssh("ci", "", "shop", "hostkit status").code, 0);
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn an_environment_changes_through_the_gate() {
    let shop = Shop::open();
    let vps = &shop.vps;
    vps.hostkit("env set shop GREETING=hello").succeeds();
    let server = app("one", "said = os.environ.get('GREETING', 'nothing')", "body = said");
    let server = server.replace(
        "class Server",
        "if said == 'crash': sys.exit('crashed on purpose')\n\nclass Server",
    );
    shop.tree("one", &[("server.py", &server), ("hostkit.toml", MANIFEST)]);
    shop.deploy("one");
    assert_eq!(shop.serves(), "hello");
    let load = Load::on(vps, &format!("shop.{BASE_DOMAIN}"), 4);
    for word in ["bye", "it's $HOME \"quoted\" #50%", "again"] {
        vps.write("/root/word", &format!("{word}\n"));
        vps.sh("hostkit env set shop GREETING --restart < /root/word").succeeds();
        assert_eq!(shop.serves(), word);
    }
    let told = vps.hostkit("env set shop GREETING=crash --restart").fails_with(6);
    assert!(
        told.contains("crashed on purpose") && told.contains("the environment that it had"),
        "{told}"
    );
    load.end().assert_none_failed(300);
    assert_eq!(shop.serves(), "again");
    assert_eq!(vps.hostkit("env get shop GREETING").succeeds(), "again\n");
    let listed = vps.hostkit("env list shop").succeeds();
    assert!(listed.contains("GREETING=***") && !listed.contains("again"), "{listed}");
    assert!(vps.hostkit("env list shop --show-secrets").succeeds().contains("GREETING=again"));
    // Without a restart it waits for one; a dry run shows no value; what is hostkit's is refused.
    vps.hostkit("env set shop GREETING=later").succeeds();
    assert_eq!(shop.serves(), "again");
    vps.hostkit("project restart shop").succeeds();
    vps.wait_until("it says so", |_| shop.serves() == "later");
    let told = vps.hostkit("env set shop GREETING=secret1 --dry-run").succeeds();
    assert!(!told.contains("secret1"), "{told}");
    vps.hostkit("env set shop PORT=1").fails_with(2);
    vps.hostkit("env set shop LD_PRELOAD=/tmp/x").fails_with(2);
    vps.hostkit("env unset shop NOTHING").fails_with(3);
    vps.sh("printf 'A=1\\nB=\"two words\"\\nGREETING=later\\n' > /root/env; hostkit env import shop /root/env").succeeds();
    let differs = vps.hostkit("env diff shop /root/env --json").data();
    assert_eq!(differs.as_object().unwrap().len(), 0, "{differs}");
    let generated =
        vps.sh("hostkit env set shop TOKEN --generate && hostkit env get shop TOKEN").succeeds();
    assert!(generated.trim().lines().last().unwrap().len() == 64, "{generated}");
    vps.hostkit("env unset shop A B TOKEN").succeeds();
    // Its own user may, for this project, and names no file of the server.
    vps.sh_as("shop", "hostkit env set GREETING=mine && hostkit env get GREETING").succeeds();
    assert_eq!(vps.sh_as("shop", "hostkit env import shop /etc/shadow").code, 5);
    assert_eq!(vps.sh_as("shop", "hostkit env get bob GREETING").code, 5);
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn power_pulled_during_a_deploy_leaves_one_whole_release() {
    let shop = Shop::open();
    shop.version("one", "");
    shop.version("two", "");
    let one = shop.deploy("one");
    let line = "deploy shop --source /root/two --no-watch --quiet";
    let mut points = 0;
    for n in [3, 9, 15, 18, 20, 22, 24] {
        let ran = shop.vps.hostkit_fault(&format!("kill@{n}"), line);
        shop.vps.crash();
        shop.vps.boot();
        points += usize::from(ran.code == 137);
        // No command of ours: the units at boot do it.
        shop.vps
            .wait_until("one whole release", |_| matches!(shop.serves().as_str(), "one" | "two"));
        shop.vps.hostkit("recover --quiet").succeeds();
        let live = shop.vps.hostkit("project info shop --json").data();
        let serves = if live["release"] == one.as_str() { "one" } else { "two" };
        shop.vps.wait_until(&format!("what is recorded at {n}"), |_| shop.serves() == serves);
        shop.vps.hostkit("drift shop").succeeds();
        if serves == "two" {
            shop.vps.hostkit(&format!("rollback shop --to {one} --quiet")).succeeds();
        }
    }
    println!("failure points walked: {points} (deploy, power pulled)");
    assert!(points >= 4, "{points}");
    shop.deploy("two");
    assert_eq!(shop.serves(), "two");
}
