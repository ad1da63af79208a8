//! What the house leans on goes and comes. It comes back by itself, and the truth is told meanwhile.

use super::house::{House, start_node};

/// What is told of the house: how `health` ends, the checks that fail, and what `status` says.
fn told(house: &House) -> (i32, Vec<String>, String) {
    let (code, said) = house.health();
    let checks = said["checks"].as_array().unwrap();
    assert_eq!(said["healthy"], code == 0, "{said}");
    let failing = checks.iter().filter(|check| check["healthy"] == false);
    let failing = failing.map(|check| check["what"].as_str().unwrap().to_owned()).collect();
    (code, failing, house.status()["state"].as_str().unwrap().to_owned())
}

fn is_well(house: &House) -> bool {
    let all = told(house);
    all.0 == 0 && all.1.is_empty() && all.2 == "up"
}

/// Well, as a visitor sees it and as hostkit tells it.
fn assert_well(house: &House, when: &str) {
    assert!(is_well(house), "{when}: {:?}", told(house));
    assert_eq!(house.json("/health", "", None).0, 200, "{when}");
    assert_eq!(house.curl("/", "").0, 200, "{when}");
}

/// Its processes run, and what they do fails.
fn assert_sick(house: &House, when: &str) {
    assert_eq!(told(house), (6, vec!["answers".to_owned()], "sick".to_owned()), "{when}");
}

fn tasks(house: &House, token: &str) -> Vec<String> {
    let (status, tasks) = house.json("/tasks/", token, None);
    assert_eq!(status, 200, "{tasks}");
    let titles = tasks.as_array().unwrap().iter().map(|task| task["title"].to_string());
    titles.collect()
}

#[test]
fn what_it_leans_on_goes_and_comes() {
    let house =
        House::built("sed -i 's/^LOG_LEVEL.*/&\\nNODE_ANSWER_SECONDS = \"3\"/' hostkit.toml");
    let House { vps, code, .. } = &house;
    let admin = house.administrator("root1");
    assert_eq!(house.register("ann", code), 200);
    let ann = house.sign_in("ann", code).unwrap();
    let add = |title: &str| {
        let task = format!(r#"{{"title":"{title}"}}"#);
        house.json("/tasks/", &ann, Some(&task)).0
    };
    assert_eq!(add("before all of it"), 201);
    assert_well(&house, "at first");
    let release = house.status()["release"].clone();

    // PostgreSQL is away for longer, and then only for a moment.
    vps.sh("systemctl stop postgresql@15-main").succeeds();
    assert_sick(&house, "without PostgreSQL");
    assert_eq!((add("into the void"), house.curl("/", "").0), (503, 200));
    let text = vps.hostkit("status halext").succeeds();
    assert!(text.contains("sick") && text.contains("answers 503"), "{text}");
    vps.sh("systemctl start postgresql@15-main").succeeds();
    vps.wait_until("it is well with PostgreSQL", |_| is_well(&house));
    vps.sh("systemctl restart postgresql@15-main").succeeds();
    vps.wait_until("it is well after a restart", |_| is_well(&house));
    assert_well(&house, "with PostgreSQL");
    assert_eq!(add("after PostgreSQL"), 201);

    // Without Redis answers are not remembered, and that is all.
    start_node(vps, "cellar", 11434, "");
    house.add_node(&admin, "cellar", "127.0.0.1", 11434);
    let redis = || house.json("/admin/server/status", &admin, None).1["redis"].clone();
    let is_remembered = |question: &str| {
        let said = house.chat(&ann, question);
        assert!(said.contains("cellar") && said.contains("event: done"), "{said}");
        house.chat(&ann, question).contains("\"cached\": true")
    };
    assert!(is_remembered("one"));
    vps.sh("systemctl stop redis-server").succeeds();
    assert!(!is_remembered("two"));
    assert_eq!((redis(), add("without Redis")), ("away".into(), 201));
    assert_well(&house, "without Redis");
    vps.sh("systemctl start redis-server").succeeds();
    vps.wait_until("Redis is used again", |_| redis() == "ok");
    assert!(is_remembered("three"));
    vps.sh("systemctl restart redis-server").succeeds();
    vps.wait_until("Redis is used again", |_| redis() == "ok");
    assert_well(&house, "with Redis");

    // A node that takes a question and never answers: the next one does.
    vps.sh("systemctl stop node-cellar").succeeds();
    start_node(vps, "stuck", 11435, "--hang");
    house.add_node(&admin, "stuck", "127.0.0.1", 11435);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| house.chat(&ann, "are you there"));
        assert_well(&house, "while a node hangs");
        let said = answer.join().unwrap();
        assert!(said.contains("\"reason\": \"silent for 3 s\""), "{said}");
        assert!(said.contains("event: done") && said.contains("mock"), "{said}");
    });

    // A process that hangs is told from one that works, and one that is killed is started again.
    let pid = || vps.sh("systemctl show -P MainPID hostkit-halext").succeeds();
    vps.sh(&format!("kill -STOP {}", pid())).succeeds();
    assert_sick(&house, "while it hangs");
    vps.sh(&format!("kill -CONT {}", pid())).succeeds();
    assert_well(&house, "as it goes on");
    vps.sh(&format!("kill -KILL {}", pid())).succeeds();
    assert_eq!(house.health().0, 6);
    vps.wait_until("it was started again", |_| is_well(&house));

    a_build_meets_a_full_disk(&house);

    // The plug is pulled.
    vps.crash();
    vps.boot();
    vps.wait_until("it is well after the boot", |_| is_well(&house));
    assert_well(&house, "after the boot");
    assert_eq!(house.status()["release"], release);
    assert_eq!(redis(), "ok");
    let kept = ["\"without Redis\"", "\"after PostgreSQL\"", "\"before all of it\""];
    assert_eq!(tasks(&house, &ann), kept);
    vps.hostkit("drift halext").succeeds();
    vps.hostkit("doctor").succeeds();
}

/// It fills up while packages are unpacked for the build: what is live stays so.
fn a_build_meets_a_full_disk(house: &House) {
    let vps = &house.vps;
    let releases = "/home/halext/releases";
    // Below its reserve nothing would begin at all.
    vps.sh("sed -i 's/^#\\?reserve.*/reserve = \"0\"/' /etc/hostkit/hostkit.toml").succeeds();
    vps.sh(&format!(
        "set -e; systemctl stop hostkit-halext; cp -a {releases} /root/kept; mount -t tmpfs tmpfs {releases}; \
         cp -a /root/kept/. {releases}; setfacl --restore=<(cd /root/kept; getfacl -p . | sed 's|^# file: .*|# file: {releases}|'); \
         chown --reference=/root/kept {releases}; chmod --reference=/root/kept {releases}; \
         used=$(df --block-size=1M --output=used {releases} | tail -n 1); mount -o remount,size=$((used + 60))m {releases}; \
         systemctl start hostkit-halext"
    ))
    .succeeds();
    vps.wait_until("it is well on a small disk", |_| is_well(house));
    let before = house.status();
    let told = vps.hostkit("deploy halext --source /root/halext --no-watch").fails_with(1);
    let said = told.to_lowercase();
    assert!(said.contains("no space left") || said.contains("full"), "{told}");
    assert!(said.contains("halext still serves"), "{told}");
    assert_well(house, "on a full disk");
    let after = house.status();
    assert_eq!((&after["release"], &after["up_since"]), (&before["release"], &before["up_since"]));
    let free =
        vps.sh(&format!("df --block-size=1M --output=avail {releases} | tail -n 1")).succeeds();
    assert!(free.trim().parse::<u32>().unwrap() > 50, "it is tidied up: {free}");
    vps.sh(&format!(
        "systemctl stop hostkit-halext; umount {releases}; systemctl start hostkit-halext"
    ))
    .succeeds();
    vps.wait_until("it is well on its own disk", |_| is_well(house));
}
