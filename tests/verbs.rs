//! Services, timers, limits, previews: the verbs around a project that runs.

use std::process::Stdio;

use crate::vps::{BASE_DOMAIN, Load, Shop, Vps, until};

/// A server with a project `shop` that something is deployed to.
pub fn shop(more: &str) -> Shop {
    let shop = Shop::open().handling("print('asked', self.path, flush=True)");
    shop.version("one", more);
    shop.deploy("one");
    shop
}

const PROCESSES: &str = r#"
[process.queue]
command = "/usr/bin/python3 -u -c 'import time; print(\"queue is up\"); time.sleep(3600)'"
[process.tidy]
command = "/bin/sh -c 'echo tidied; exit $(cat /home/shop/shared/status)'"
schedule = "daily"
"#;

fn names(listed: &serde_json::Value) -> Vec<String> {
    let name = |process: &serde_json::Value| process["name"].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(name).collect()
}

#[test]
fn processes_are_started_stopped_and_read_one_by_one() {
    let vps = shop(PROCESSES);
    vps.sh("echo 0 > /home/shop/shared/status; chown shop: /home/shop/shared/status").succeeds();
    let listed = vps.hostkit("service list shop --json").data();
    assert_eq!(names(&listed), ["web", "queue", "tidy"]);
    assert_eq!(
        (&listed[0]["state"], &listed[1]["state"]),
        (&"up".into(), &"up".into()),
        "{listed}"
    );
    assert!(listed[2]["next"].as_str().unwrap().ends_with('Z'), "{listed}");
    let active = |unit: &str| vps.sh(&format!("systemctl is-active {unit}")).stdout;
    vps.hostkit("service stop shop queue").succeeds();
    assert_eq!(active("hostkit-shop-queue"), "inactive\n");
    assert_eq!(vps.serves(), "one");
    vps.hostkit("service start shop queue").succeeds();
    assert_eq!(active("hostkit-shop-queue"), "active\n");
    let before = vps.sh("systemctl show -P MainPID hostkit-shop-queue hostkit-shop").succeeds();
    vps.hostkit("service restart shop queue").succeeds();
    let after = vps.sh("systemctl show -P MainPID hostkit-shop-queue hostkit-shop").succeeds();
    let pids = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_ne!(pids(&before)[0], pids(&after)[0]);
    assert_eq!(pids(&before)[1], pids(&after)[1], "the web process was left alone");
    // The web process restarts without a failed request.
    let load = Load::on(&vps, &format!("shop.{BASE_DOMAIN}"), 4);
    for _ in 0..3 {
        vps.hostkit("service restart shop web").succeeds();
    }
    load.end().assert_none_failed(100);
    assert_ne!(vps.sh("systemctl show -P MainPID hostkit-shop").succeeds().trim(), pids(&after)[1]);
    let told = vps.hostkit("service stop shop").succeeds();
    assert!(told.contains("answers no visitor now (502)"), "{told}");
    assert_eq!(vps.get(&format!("shop.{BASE_DOMAIN}"), "/").unwrap().status, 502);
    for unit in ["hostkit-shop", "hostkit-shop-queue", "hostkit-shop-tidy.timer"] {
        assert_eq!(active(unit), "inactive\n", "{unit}");
    }
    vps.hostkit("service start shop").succeeds();
    vps.wait_until("it serves", |_| vps.serves() == "one");
    assert_eq!(active("hostkit-shop-tidy.timer"), "active\n");
    vps.hostkit("drift shop").succeeds();
    // What there is not, with what there is.
    let told = vps.hostkit("service stop shop quue").fails_with(3);
    assert!(told.contains("web, queue, tidy") && told.contains("did you mean `queue`?"), "{told}");
    for line in [
        "service status shop x",
        "service logs shop x",
        "service list nothere",
        "cron run shop queue",
    ] {
        vps.hostkit(line).fails_with(3);
    }
    vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    vps.hostkit("service start bob").fails_with(3);
    // Logs: the end of them, and what comes.
    let text = vps.hostkit("service logs shop queue -n 1").succeeds();
    assert_eq!(text, "queue is up\n");
    let lines = vps.hostkit("service logs shop web --json").data();
    assert!(lines.as_array().unwrap().iter().any(|l| l["line"] == "asked /"), "{lines}");
    vps.hostkit("service logs shop -f --json").fails_with(2);
    let text = vps
        .sh(&format!(
            "timeout 60 hostkit service logs shop queue -n 0 -f > /root/told & sleep 2; \
             hostkit service restart shop queue > /dev/null; {}; sleep 0.5; kill %1; wait; cat /root/told",
            until("test -s /root/told")
        ))
        .succeeds();
    assert_eq!(text, "queue is up\n");
    // Its own user sees, reads and restarts, and stops nothing.
    for line in
        ["service list", "service status queue", "service logs queue", "service restart queue"]
    {
        vps.sh_as("shop", &format!("hostkit {line}")).succeeds();
    }
    assert_eq!(vps.sh_as("shop", "hostkit service list bob").code, 5);
    assert_ne!(vps.sh_as("shop", "hostkit service stop queue").code, 0);
    assert_ne!(vps.sh_as("shop", "sudo -n hostkit service stop shop queue").code, 0);
    // A process that does not come up says why.
    vps.sh("systemctl stop hostkit-shop-queue; mv /usr/bin/python3 /usr/bin/python3.away")
        .succeeds();
    let told = vps.hostkit("service start shop queue").fails_with(6);
    assert!(told.contains("hostkit service logs shop queue"), "{told}");
}

#[test]
fn an_operators_processes_go_with_each_release() {
    let vps = shop("");
    let active = |unit: &str| vps.sh(&format!("systemctl is-active {unit}")).stdout;
    let loops =
        "import os, time; print('mail of', os.environ['HOSTKIT_RELEASE']); time.sleep(3600)";
    vps.run(
        &[
            &["hostkit", "worker", "add", "shop", "mail", "--"][..],
            &["/usr/bin/python3", "-u", "-c", loops],
        ]
        .concat(),
        b"",
    )
    .succeeds();
    let add = |schedule: &str, name: &str, script: &str| {
        vps.hostkit_args(&[
            "cron",
            "add",
            "shop",
            name,
            "--schedule",
            schedule,
            "--",
            "/bin/sh",
            "-c",
            script,
        ])
    };
    add("0 3 * * 1-5", "cleanup", "echo cleaned; echo of $HOSTKIT_RELEASE; exit 4").succeeds();
    assert_eq!(active("hostkit-shop-mail"), "active\n");
    assert_eq!(active("hostkit-shop-cleanup.timer"), "active\n");
    vps.hostkit("drift shop").succeeds();
    // systemd reads each time as cron means it.
    for (n, (cron, calendar, days)) in [
        ("0 9-17 * * *", "*-*-* 09..17:00:00", 7),
        ("30 2 * * 1-5", "Mon..Fri *-*-* 02:30:00", 5),
        ("0 0 * * 5-7", "Fri..Sun *-*-* 00:00:00", 3),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("at{n}");
        add(cron, &name, "true").succeeds();
        let unit = vps.read(&format!("/etc/systemd/system/hostkit-shop-{name}.timer"));
        assert!(unit.contains(&format!("OnCalendar={calendar}\n")), "{cron}: {unit}");
        let said =
            vps.sh(&format!("systemd-analyze calendar --iterations=200 '{calendar}'")).succeeds();
        let seen: std::collections::BTreeSet<&str> = said
            .lines()
            .filter(|line| line.contains("Next elapse:") || line.contains("Iter. #"))
            .filter_map(|line| line.split(": ").nth(1)?.split_whitespace().next())
            .collect();
        assert_eq!(seen.len(), *days, "{cron}: {said}");
        vps.hostkit(&format!("cron remove shop {name}")).succeeds();
        assert!(!vps.exists(&format!("/etc/systemd/system/hostkit-shop-{name}.timer")));
    }
    // Now, with what it says and how it ends.
    let ran = vps.hostkit("cron run shop cleanup");
    let release = |vps: &Vps| {
        vps.hostkit("project info shop --json").data()["release"].as_str().unwrap().to_owned()
    };
    assert_eq!(ran.code, 1, "{ran}");
    assert!(ran.stdout.starts_with(&format!("cleaned\nof {}\n", release(&vps))), "{ran}");
    assert!(ran.stdout.contains("with status 4"), "{ran}");
    let logs = vps.hostkit("cron logs shop cleanup -n 2").succeeds();
    assert_eq!(logs, format!("cleaned\nof {}\n", release(&vps)));
    // With a release that knows nothing of them, and back.
    vps.version("two", "");
    vps.deploy("two");
    let id = release(&vps);
    vps.wait_until("the worker of the new release", |vps| {
        vps.hostkit("service logs shop mail -n 1").succeeds() == format!("mail of {id}\n")
    });
    assert_eq!(active("hostkit-shop-cleanup.timer"), "active\n");
    vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!((vps.serves().as_str(), active("hostkit-shop-mail").as_str()), ("one", "active\n"));
    vps.hostkit("drift shop").succeeds();
    // A manifest that brings such a name is refused before anything is built.
    vps.version("three",
        "[process.mail]\ncommand = \"/bin/sleep 99\"\n[build]\nsteps = [\"touch /home/shop/shared/built\"]\n",
    );
    let told = vps.hostkit("deploy shop --source /root/three --no-watch").fails_with(4);
    assert!(told.contains("hostkit worker remove shop mail"), "{told}");
    assert!(!vps.exists("/home/shop/shared/built"));
    assert_eq!(vps.serves(), "one");
    // And the other way round; and what can't be.
    vps.hostkit("worker add shop mail -- /bin/sleep 9").fails_with(4);
    for (line, code) in [
        ("worker add shop web -- /bin/true", 2),
        ("worker add shop next -- /bin/true", 2),
        ("worker add shop Mail -- /bin/true", 2),
        ("worker add shop x -- ../../bin/true", 2),
        ("worker add nothere x -- /bin/true", 3),
        ("cron add shop x --schedule 61 -- /bin/true", 2),
        ("worker remove shop cleanup", 3),
        ("cron remove shop mail", 3),
    ] {
        vps.hostkit(line).fails_with(code);
    }
    assert_ne!(vps.sh_as("shop", "hostkit worker add x -- /bin/true").code, 0);
    // One that does not stay up leaves nothing.
    let told = vps.hostkit("worker add shop broken -- /bin/false").fails_with(6);
    assert!(told.contains("does not stay up"), "{told}");
    assert!(!vps.exists("/etc/systemd/system/hostkit-shop-broken.service"));
    assert_eq!(names(&vps.hostkit("worker list shop --json").data()), ["mail"]);
    vps.hostkit("drift shop").succeeds();
    // Off stays off over deploys, and is still known.
    vps.hostkit("cron disable shop cleanup").succeeds();
    assert_eq!(active("hostkit-shop-cleanup.timer"), "inactive\n");
    vps.deploy("two");
    assert_eq!(active("hostkit-shop-cleanup.timer"), "inactive\n");
    let listed = vps.hostkit("cron list shop --json").data();
    assert_eq!(listed[0]["state"], "off", "{listed}");
    vps.hostkit("cron run shop cleanup").fails_with(4);
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("cron enable shop cleanup").succeeds();
    assert_eq!(active("hostkit-shop-cleanup.timer"), "active\n");
    // A lost registry knows them again, a repair makes them again, and gone is gone.
    vps.sh("rm /var/lib/hostkit/registry.db*; hostkit recover --from-host").succeeds();
    assert_eq!(names(&vps.hostkit("service list shop --json").data()), ["web", "cleanup", "mail"]);
    vps.sh("rm /etc/systemd/system/hostkit-shop-cleanup.timer").succeeds();
    assert_eq!(vps.hostkit("drift shop").code, 1);
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("worker remove shop mail").succeeds();
    assert!(!vps.exists("/etc/systemd/system/hostkit-shop-mail.service"));
    assert_eq!(active("hostkit-shop-mail"), "inactive\n");
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert_eq!(
        vps.sh("ls /etc/systemd/system | grep shop; ls /etc/systemd/system/*.wants | grep shop")
            .stdout,
        ""
    );
}

#[test]
fn a_change_of_processes_killed_anywhere_is_undone_or_done() {
    let vps = shop("");
    let add = "worker add shop mail -- /bin/sleep 3600";
    let total = |told: &str| -> usize {
        told.lines()
            .find_map(|l| {
                l.strip_prefix("hostkit: ")?.strip_suffix(" changes passed")?.parse().ok()
            })
            .unwrap()
    };
    let adds = total(&vps.hostkit_fault("fail@9999", add).stderr);
    let removes = total(&vps.hostkit_fault("fail@9999", "worker remove shop mail").stderr);
    let mut points = 0;
    for n in 0..adds.max(removes) {
        for (line, limit) in [(add, adds), ("worker remove shop mail", removes)] {
            if n >= limit {
                continue;
            }
            if line != add {
                vps.hostkit(add).succeeds();
            }
            let ran = vps.hostkit_fault(&format!("kill@{n}"), line);
            assert!(matches!(ran.code, 0 | 137), "{line} at {n}: {ran}");
            points += usize::from(ran.code == 137);
            vps.hostkit("recover --quiet").succeeds();
            vps.hostkit("drift shop").succeeds();
            let there = !names(&vps.hostkit("worker list shop --json").data()).is_empty();
            let runs = vps.sh("systemctl is-active hostkit-shop-mail").stdout == "active\n";
            assert_eq!(there, runs, "{line} at {n}");
            if there {
                vps.hostkit("worker remove shop mail").succeeds();
            }
        }
    }
    println!("failure points walked: {points} (worker add and remove)");
    assert!(points > 10, "{points}");
    assert_eq!(vps.serves(), "one");
}

#[test]
fn limits_of_deploys_are_each_projects_own() {
    let vps = shop("");
    vps.sh("sed -i 's/^per_hour = 0/per_hour = 2/; s/^pause_after = 0/pause_after = 2/' /etc/hostkit/hostkit.toml").succeeds();
    let deploy = "deploy shop --source /root/one --no-watch --quiet";
    let shown = vps.hostkit("ratelimit shop --json").data();
    assert_eq!((&shown["limit"], &shown["from"]), (&2.into(), &"configuration".into()), "{shown}");
    assert_eq!(shown["within_the_last_hour"], 1, "{shown}");
    vps.hostkit(deploy).succeeds();
    vps.hostkit(deploy).fails_with(4);
    // Restarts and rollbacks between deploys do not hide them.
    vps.hostkit("service restart shop").succeeds();
    vps.hostkit("rollback shop --quiet").succeeds();
    let told = vps.hostkit(deploy).fails_with(4);
    assert!(told.contains("deployed 2 times within an hour"), "{told}");
    vps.hostkit("ratelimit shop --per-hour 3").succeeds();
    vps.hostkit(deploy).succeeds();
    vps.hostkit(deploy).fails_with(4);
    // An operator may insist, the project itself may not.
    let send = "tar -C /srv/one -cz . | hostkit deploy --archive - --no-watch";
    vps.sh("cp -r /root/one /srv/one").succeeds();
    assert_eq!(vps.sh_as("shop", &format!("{send} --override-ratelimit")).code, 5);
    assert_eq!(vps.sh_as("shop", send).code, 4);
    assert_ne!(vps.sh_as("shop", "hostkit ratelimit --off").code, 0);
    vps.hostkit(&format!("{deploy} --override-ratelimit")).succeeds();
    vps.hostkit("ratelimit shop --off").succeeds();
    vps.sh_as("shop", send).succeeds();
    vps.hostkit("ratelimit shop --reset").succeeds();
    assert_eq!(vps.hostkit("ratelimit shop --json").data()["from"], "configuration");
    vps.hostkit("ratelimit shop --per-hour 0").fails_with(2);
    vps.hostkit("ratelimit shop --off --reset").fails_with(2);
    vps.hostkit("ratelimit nothere").fails_with(3);
    // Failures in a row.
    vps.hostkit("ratelimit shop --off").succeeds();
    vps.hostkit("autopause shop --after 1").succeeds();
    vps.version("bad", "[build]\nsteps = [\"false\"]\n");
    vps.hostkit("deploy shop --source /root/bad").fails_with(1);
    vps.hostkit(deploy).fails_with(4);
    let shown = vps.hostkit("autopause shop --json").data();
    assert!(shown["paused"].as_str().unwrap().contains("the last 1 failed"), "{shown}");
    vps.hostkit("resume shop").succeeds();
    vps.hostkit("autopause shop --off").succeeds();
    for _ in 0..3 {
        vps.hostkit("deploy shop --source /root/bad").fails_with(1);
    }
    vps.hostkit(deploy).succeeds();
}

#[test]
fn who_does_not_wait_is_told_who_holds_it() {
    let vps = shop("");
    vps.version(
        "slow",
        "[build]\nsteps = [\"until [ -e /home/shop/shared/go ]; do sleep 0.2; done\"]\n",
    );
    let mut held = vps
        .command(&["hostkit", "deploy", "shop", "--source", "/root/slow", "--no-watch", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It builds for as long as we like. Who waits says so, and says how long he did.
    let builds = |vps: &Vps| vps.sh("pgrep -u shop -f '^/bin/sh -c until'").code == 0;
    vps.wait_until("the build", builds);
    for line in [
        "deploy shop --source /root/one",
        "service stop shop",
        "project restart shop",
        "rollback shop",
    ] {
        let told = vps.hostkit(&format!("{line} --no-wait")).fails_with(7);
        assert!(told.contains("`hostkit deploy shop (pid "), "{line}: {told}");
        assert!(!told.contains("waiting for") && !told.contains("not enough"), "{line}: {told}");
        assert!(builds(&vps), "{line}");
    }
    // What changes nothing of it waits for nobody.
    vps.hostkit("exec shop --no-wait -- true").succeeds();
    vps.hostkit("service list shop --no-wait").succeeds();
    vps.hostkit("service stop shop --wait 1m --no-wait").fails_with(2);
    assert!(builds(&vps));
    vps.sh_as("shop", "touch shared/go").succeeds();
    assert!(held.wait().unwrap().success());
}

#[test]
fn a_dry_run_of_a_deploy_tells_all_and_does_nothing() {
    let vps = shop("[process.queue]\ncommand = \"/bin/sleep 3600\"\n");
    let more = "[env.required]\nSECRET = \"signs cookies\"\n[build]\nsteps = [\"touch /home/shop/shared/built\"]\n\
                [process.mail]\ncommand = \"/bin/sleep 77\"\n[process.prepare]\ncommand = \"/bin/false\"\nwhen = \"release\"\n";
    vps.version("two", more);
    let before = vps.snapshot().without("registry").without("file /var/lib/hostkit/deploys");
    let told = vps.hostkit("deploy shop --source /root/two --dry-run --json").data();
    assert_eq!((&told["runtime"], &told["dry_run"]), (&"custom".into(), &true.into()), "{told}");
    assert_eq!(told["missing_variables"][0], "SECRET", "{told}");
    assert_eq!(told["before"][0], "/bin/false", "{told}");
    assert!(told["build"].to_string().contains("touch /home/shop/shared/built"), "{told}");
    let would = |name: &str| -> String {
        let all = told["processes"].as_array().unwrap();
        all.iter().find(|p| p["name"] == name).unwrap()["would"].as_str().unwrap().to_owned()
    };
    assert_eq!([would("web"), would("mail"), would("queue")], ["restarts", "starts", "ends"]);
    let text = vps.hostkit("deploy shop --source /root/two --dry-run").succeeds();
    assert!(text.contains("nothing is done yet"), "{text}");
    // By its own user too; and what a deploy would refuse is refused.
    let send = "tar -C /srv/two -cz . | hostkit deploy --archive - --dry-run";
    vps.sh("cp -r /root/two /srv/two").succeeds();
    vps.sh_as("shop", send).succeeds();
    vps.sh("rm -r /srv/two; echo hello | hostkit deploy shop --archive - --dry-run").fails_with(2);
    let after = vps.snapshot().without("registry").without("file /var/lib/hostkit/deploys");
    before.assert_same(&after, "after dry runs");
    assert_eq!(vps.sh("ls /var/lib/hostkit/deploys/shop | wc -l").stdout.trim(), "1");
    assert_eq!(vps.hostkit("deploys shop --json").data().as_array().unwrap().len(), 1);
    assert_eq!(vps.serves(), "one");
}
