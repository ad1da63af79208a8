//! Versions come and go while people live in the house.

use std::collections::BTreeSet;

use super::{
    house::{DOMAIN, House, start_node},
    people::People,
};

/// The second version writes a column that its migrations add, has another page, and brings one
/// more migration each time.
const SECOND: &str = r#"set -e
cp -a /root/halext /root/second; cd /root/second
echo 2.0.0 > VERSION
sed -i 's|^    due_date: Mapped.*|&\n    colour: Mapped[str] = mapped_column(default="red")|' backend/app/models.py
grep -q colour backend/app/models.py
echo "ALTER TABLE tasks ADD COLUMN colour TEXT NOT NULL DEFAULT 'none';" > backend/app/migrations/0003_colour.sql
sed -i 's|<title>.*</title>|<title>the second</title>|' frontend/index.html"#;

/// What is live: its version and its page, and the process that answers.
fn site(house: &House) -> (String, bool, String) {
    let version = house.json("/version", "", None).1["version"].as_str().unwrap_or("").to_owned();
    let page = house.curl("/", "").1;
    assert!(page.contains("<div id=\"root\""), "{page}");
    let pid = house.vps.sh("systemctl show -P MainPID hostkit-halext").succeeds();
    (version, page.contains("the second"), pid)
}

fn migrations(house: &House) -> Vec<String> {
    house.select("SELECT name FROM schema_migrations ORDER BY name")
}

#[test]
fn ten_deploys_and_three_broken_ones_fail_nobody() {
    // Longer than a stream takes, and short enough for ten. The app itself waits for a second only:
    // a stream that ends whole after the switch does so because hostkit waited.
    let house = House::built(
        "sed -i 's/^drain = .*/drain = \"8s\"/; s/--timeout-graceful-shutdown 25/--timeout-graceful-shutdown 1/' hostkit.toml \
         && grep -q 'drain = \"8s\"' hostkit.toml && echo 1.0.0 > VERSION",
    );
    let vps = &house.vps;
    vps.sh(SECOND).succeeds();
    let admin = house.administrator("root1");
    start_node(vps, "cellar", 11434, "--pause 0.3");
    house.add_node(&admin, "cellar", "127.0.0.1", 11434);
    let people = People::move_in(&house, "cellar");
    vps.wait_until("all of them are at home", |_| people.done().0 >= 6);

    for n in 0..10 {
        let (tree, version) = [("second", "2.0.0"), ("halext", "1.0.0")][n % 2];
        if n > 0 && tree == "second" {
            vps.write(
                &format!("/root/second/backend/app/migrations/{:04}_more.sql", n + 2),
                &format!("ALTER TABLE tasks ADD COLUMN more{n} TEXT;\n"),
            );
        }
        let line = format!("deploy halext --source /root/{tree} --no-watch --quiet");
        vps.hostkit(&line).succeeds();
        let (is, is_second, _) = site(&house);
        assert!(is == version && is_second == (tree == "second"), "{n}: {is} {is_second}");
        people.assert_none_failed(&format!("deploy {n}"));
    }
    let names = migrations(&house);
    assert_eq!(names.len(), 7, "{names:?}");
    vps.hostkit("drift halext").succeeds();

    // What is broken is refused, and nobody notices.
    let before = (site(&house), names);
    for (what, path, text, code) in [
        ("backend", "backend/app/main.py", "raise RuntimeError('out of order')\n", 6),
        ("frontend", "frontend/src/broken.ts", "export const broken: number = \"no\";\n", 1),
        (
            "migration",
            "backend/app/migrations/0099_broken.sql",
            "ALTER TABLE tasks ADD COLUMN half TEXT;\nALTER TABLE nothing ADD COLUMN x INT;\n",
            1,
        ),
    ] {
        vps.sh("rm -rf /root/broken; cp -a /root/second /root/broken").succeeds();
        vps.write(&format!("/root/broken/{path}"), text);
        let line = "deploy halext --source /root/broken --no-watch";
        let told = vps.hostkit(line).fails_with(code);
        assert!(told.contains("halext still serves"), "{what}: {told}");
        assert_eq!((site(&house), migrations(&house)), before, "{what}");
        people.assert_none_failed(what);
    }
    let tally = people.move_out();
    tally.print();
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
    assert!(tally.requests() > 2000 && tally.streams > 60, "hardly anybody came");
    assert!(tally.closed >= 10, "{}: websockets follow the releases", tally.closed);

    // Every task that was acknowledged is there, and both versions wrote some.
    let kept: BTreeSet<String> =
        house.select("SELECT id || '|' || title FROM tasks").into_iter().collect();
    let lost: Vec<&String> = tally.tasks.iter().filter(|task| !kept.contains(*task)).collect();
    assert!(lost.is_empty(), "{} of {}: {lost:?}", lost.len(), tally.tasks.len());
    let colours =
        house.select("SELECT colour || ' ' || count(*) FROM tasks GROUP BY colour ORDER BY colour");
    println!("{} tasks kept: {colours:?}", kept.len());
    assert_eq!(colours.len(), 2, "{colours:?}");
    // As is every answer that was streamed, in full.
    let whole = house.select(
        "SELECT count(*) FROM chat_messages WHERE role = 'assistant' AND content LIKE 'cellar with llama3 heard: what is % times %'",
    );
    assert!(whole[0].parse::<usize>().unwrap() >= tally.streams, "{whole:?} {}", tally.streams);
    assert!(vps.get(DOMAIN, "/").is_some_and(|answer| answer.status == 200));
    vps.hostkit("drift halext").succeeds();
    vps.hostkit("rollback halext").succeeds();
    assert_eq!(house.health().0, 0);
}
