//! Whatever is written, backed up, damaged and restored, in whatever order: nothing is lost.
//!
//! `HOSTKIT_CYCLES` says how many rounds (12), `HOSTKIT_SEED` repeats those of another run.

use std::{collections::BTreeMap, time::Instant};

use crate::vps::{Shop, Vps};

const MANIFEST: &str =
    "[project]\nruntime = \"custom\"\n[process.web]\ncommand = \"/usr/bin/python3 server.py\"\n";

/// Sums of each part by itself, by other means than hostkit's.
const LOOK: &str = r#"set -e
url=$(cat /root/url) redis=$(cat /root/redis)
sum() { sha256sum | cut -c1-16; }
dump=$(pg_dump --inserts --no-owner --no-privileges "$url"); mkdir -p /root/seen; grep -v '^--\|^\\\|^$' <<< "$dump" | sort > /root/seen/now; s=$(sum < /root/seen/now); mv /root/seen/now /root/seen/$s; echo "database $s"
echo "redis $(redis-cli --no-auth-warning -u $redis keys '*' | sort | while read -r key; do echo "$key"; redis-cli --no-auth-warning -u $redis dump "$key"; done | sum)"
cd /home/my-shop/shared; echo "files $({ find . -mindepth 1 -printf '%y %m %u %l %p\0'; find . -type f -print0 | sort -z | xargs -0r sha256sum -z; } | sort -z | sum)"
echo "release $(hostkit project info my-shop --json | jq -r .data.release)"
echo "env $(sort /home/my-shop/.env | sum)"
echo "secrets $(for n in 0 1 2 3; do hostkit secrets show my-shop SECRET_$n; done | sum)"
"#;

type State = BTreeMap<String, String>;

/// The parts that each choice brings back.
const DB: [&str; 2] = ["database", "redis"];
const FILES: [&str; 2] = ["files", "release"];
const ENV: [&str; 2] = ["env", "secrets"];

/// Numbers that a seed repeats.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.roll(all.len() as u64)).unwrap()]
    }
}

fn look(vps: &Vps) -> State {
    let told = vps.sh(LOOK).succeeds();
    let state: State =
        told.lines().filter_map(|l| l.split_once(' ')).map(|(k, v)| (k.into(), v.into())).collect();
    assert_eq!(state.len(), 6, "{told}");
    state
}

const NAMES: [&str; 9] = [
    "a",
    "'b c'",
    "\"d'e\"",
    "ü",
    "$'new\\nline'",
    "deep/er/f",
    "deep/-rf",
    "'*'",
    "deep/$'\\377'",
];

/// Something that a project does to its own data.
fn write(dice: &mut Dice) -> String {
    let (n, size) = (dice.roll(1 << 40), dice.roll(60_000));
    let (file, other) = (*dice.of(&NAMES), *dice.of(&NAMES));
    let table = format!("t{}", dice.roll(4));
    let key = format!("key{}", dice.roll(6));
    let sql = |sql: &str| format!("q \"{sql}\"");
    match dice.roll(16) {
        0..=2 => sql(&format!(
            "CREATE TABLE IF NOT EXISTS {table} (id serial PRIMARY KEY, name text, raw bytea); INSERT INTO {table} (name, raw) SELECT md5((n + {n})::text) || E'\\\\t\\\\\\\\ü', decode(md5(n::text), 'hex') FROM generate_series(1, {}) n",
            1 + size % 900
        )),
        3 => sql(&format!("UPDATE goods SET name = 'n{n}' WHERE id % 7 = {}", n % 7)),
        4 => sql(&format!(
            "INSERT INTO goods (name) SELECT 'x' || n FROM generate_series({n}, {n} + 40) n ON CONFLICT DO NOTHING"
        )),
        5 => sql(&format!(
            "CREATE INDEX IF NOT EXISTS i{} ON goods (name); COMMENT ON TABLE goods IS 'c{n}'",
            n % 3
        )),
        6 => format!("r set {key} v{n}"),
        7 => format!("r del {key}; r rpush {key} a b{n} c"),
        8 => format!("r del {key}; r hset {key} f{n} v g w"),
        9..=11 => format!("rm -rf {file}; mkdir -p deep/er; yes {n} | head -c {size} > {file}"),
        12 => format!("test -d {file} || {{ rm -f {file}; mkdir {file}; }}; chmod 750 {file}"),
        13 => format!("rm -rf {file}; ln -s {n}/../{other} {file}"),
        14 => {
            format!("if test -f {file}; then echo {n} >> {file}; chmod 640 {file}; else true; fi")
        }
        _ => format!(
            "rm -rf {file}; truncate -s {size} {file}; test -e {other} || cp -a {file} {other} || true"
        ),
    }
}

/// Something that goes wrong.
fn damage(dice: &mut Dice) -> &'static str {
    let all: [&'static str; 12] = [
        "q 'DELETE FROM goods WHERE id % 3 = 0'",
        "q 'DROP TABLE IF EXISTS t0, t1 CASCADE'",
        "q 'DROP SCHEMA public CASCADE; CREATE SCHEMA public'",
        "q 'UPDATE goods SET name = md5(name || id)'",
        "q 'ALTER TABLE IF EXISTS goods RENAME TO bads'",
        "find . -mindepth 1 -delete",
        "find . -type f -name '*[a-c]*' -delete",
        // Of the same length and time, as a bad disk or a bad program does it.
        "find . -type f -size +10c | while read -r f; do t=$(stat -c %y \"$f\"); printf SPOILT | dd of=\"$f\" conv=notrunc status=none; touch -d \"$t\" \"$f\"; done",
        "find . -type f -exec truncate -s 3 {} +",
        "rm -rf junk; mkdir junk; echo junk > junk/junk; chmod 000 junk/junk",
        "r flushdb",
        "r set junk 1; r del key1 key2",
    ];
    dice.of::<&'static str>(&all)
}

/// Runs as the project's user, and leaves no part of it out.
fn as_user(vps: &Vps, lines: &[String]) {
    let script = format!(
        "set -e; q() {{ psql -qX -v ON_ERROR_STOP=1 \"$URL\" -c \"$1\" 2>/dev/null || true; }}; r() {{ redis-cli --no-auth-warning -u \"$REDIS\" \"$@\" > /dev/null; }}; cd ~/shared; mkdir -p deep/er\n{}",
        // What can't be done to what is there is not done: what there is then is looked at.
        lines.iter().map(|line| format!("{{ {line}; }} || true\n")).collect::<String>()
    );
    let head = format!("URL={}\nREDIS={}\n", vps.read("/root/url"), vps.read("/root/redis"));
    vps.run(
        &["runuser", "-u", "my-shop", "--", "env", "HOME=/home/my-shop", "bash", "-s"],
        format!("{head}{script}\n").as_bytes(),
    )
    .succeeds();
}

fn write_env(vps: &Vps, dice: &mut Dice) {
    let (n, name) = (dice.roll(1 << 40), dice.roll(4));
    match dice.roll(3) {
        0 => vps.hostkit(&format!("env set my-shop VAR{name}=value{n}")).succeeds(),
        1 => vps.hostkit(&format!("env unset my-shop VAR{name}")).stdout,
        _ => {
            let line = format!("secrets set my-shop SECRET_{name} --quiet");
            let words: Vec<&str> =
                [&["hostkit"][..], &line.split(' ').collect::<Vec<_>>()].concat();
            vps.run(&words, format!("secret {n}").as_bytes()).succeeds()
        }
    };
}

fn damage_env(vps: &Vps, dice: &mut Dice) -> bool {
    match dice.roll(4) {
        0 => vps.sh("sed -i '/^VAR/d; /^DATABASE_URL/d' /home/my-shop/.env").succeeds(),
        1 => vps.sh("echo 'VAR1=spoilt' > /home/my-shop/.env").succeeds(),
        2 => vps.sh("rm /home/my-shop/.env").succeeds(),
        _ => vps.run(&["hostkit", "secrets", "set", "my-shop", "SECRET_1"], b"spoilt").succeeds(),
    };
    vps.sh("grep -qs ^DATABASE_URL /home/my-shop/.env").code == 0
}

struct Held {
    id: String,
    parts: Vec<&'static str>,
    state: State,
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn open() -> Shop {
    let shop = Shop::named("my-shop", "");
    let vps = &shop.vps;
    for version in ["one", "two"] {
        shop.app(version, "", "pass", "");
        vps.write(&format!("/root/{version}/hostkit.toml"), MANIFEST);
    }
    vps.sh("set -e; . /home/my-shop/.env; printf %s $DATABASE_URL > /root/url; printf %s $REDIS_URL > /root/redis").succeeds();
    as_user(vps, &["q 'CREATE TABLE goods (id serial PRIMARY KEY, name text UNIQUE); CREATE VIEW cheap AS SELECT name FROM goods'".into(), "q \"INSERT INTO goods (name) SELECT md5(n::text) FROM generate_series(1, 500) n\"".into()]);
    for n in 0..4 {
        vps.run(&["hostkit", "secrets", "set", "my-shop", &format!("SECRET_{n}")], b"first")
            .succeeds();
    }
    shop.deploy("one");
    shop
}

/// Makes a backup, of a kind that the dice choose, and remembers what it holds.
fn keep(vps: &Vps, dice: &mut Dice) -> Held {
    let kinds: [(&str, Vec<&'static str>); 4] = [
        ("full", [DB, FILES, ENV].concat()),
        ("db", DB.to_vec()),
        ("files", FILES.to_vec()),
        ("credentials", ENV.to_vec()),
    ];
    let (kind, parts) =
        &kinds[usize::try_from([0, 0, 0, 0, 0, 1, 2, 3][usize::try_from(dice.roll(8)).unwrap()])
            .unwrap()];
    let state = look(vps);
    let id = vps.hostkit(&format!("backup create my-shop --type {kind} --quiet")).succeeds();
    Held { id: id.trim().into(), parts: parts.clone(), state }
}

/// Brings one back, whole or in part, and compares.
fn bring_back(
    vps: &Vps,
    dice: &mut Dice,
    held: &[Held],
    has_env: bool,
    told: &str,
) -> Option<Held> {
    let all = [
        ("", [DB, FILES, ENV].concat()),
        ("--db", DB.to_vec()),
        ("--files", FILES.to_vec()),
        ("--env", ENV.to_vec()),
    ];
    let (one, (option, chosen)) = loop {
        let (one, choice) = (dice.of(held), dice.of(&all).clone());
        // Without its environment a project can't be backed up, and is not left so.
        let is_enough = has_env || one.parts.contains(&"env") && choice.1.contains(&"env");
        if is_enough && choice.1.iter().any(|part| one.parts.contains(part)) {
            break (one, choice);
        }
    };
    let keeps = has_env && dice.roll(3) == 0;
    let no_backup = if keeps { "" } else { "--no-backup" };
    let line = format!("backup restore my-shop {} {option} {no_backup} --yes --json", one.id);
    let before = if has_env { look(vps) } else { State::new() };
    let done = vps.hostkit(&line);
    let when = format!("{told}; {line}: {done}");
    assert_eq!(done.code, 0, "{when}");
    let after = look(vps);
    for (part, is) in &after {
        let part: &str = part;
        if chosen.contains(&part) && one.parts.contains(&part) {
            assert_eq!(is, &one.state[part], "{part} is not what was kept; {when}");
        } else if let Some(was) = before.get(part) {
            assert_eq!(is, was, "{part} was not to change; {when}");
        }
    }
    let made = keeps.then(|| done.data()["before"].as_str().unwrap().to_owned())?;
    let parts = all.iter().find(|(o, _)| *o == option).map(|(_, parts)| parts.clone())?;
    Some(Held { id: made, parts, state: before })
}

#[test]
fn nothing_is_lost_in_any_order_of_writing_keeping_damage_and_restoring() {
    let rounds = variable("HOSTKIT_CYCLES", 12);
    let seed = variable("HOSTKIT_SEED", std::process::id().into());
    println!("HOSTKIT_SEED={seed} HOSTKIT_CYCLES={rounds}");
    let (shop, mut dice, start) = (open(), Dice(seed), Instant::now());
    let vps = &shop.vps;
    let mut held: Vec<Held> = Vec::new();
    let (mut restored, mut drills) = (0, 0);
    for round in 0..rounds {
        let mut told = format!("HOSTKIT_SEED={seed}, round {round}");
        let lines: Vec<String> = (0..=dice.roll(5)).map(|_| write(&mut dice)).collect();
        as_user(vps, &lines);
        write_env(vps, &mut dice);
        if dice.roll(8) == 0 {
            shop.deploy(["one", "two"][usize::try_from(dice.roll(2)).unwrap()]);
        }
        held.push(keep(vps, &mut dice));
        let lines: Vec<String> = (0..=dice.roll(2)).map(|_| damage(&mut dice).to_owned()).collect();
        as_user(vps, &lines);
        told.push_str(&format!("; {lines:?}"));
        let can_lose = held.iter().any(|one| one.parts.contains(&"env"));
        let has_env = !(can_lose && dice.roll(3) == 0) || damage_env(vps, &mut dice);
        held.extend(bring_back(vps, &mut dice, &held, has_env, &told));
        restored += 1;
        if restored % 10 == 0 {
            println!("{restored} rounds in {:?}", start.elapsed());
        }
        if dice.roll(6) == 0 {
            vps.hostkit("backup drill my-shop --quiet").succeeds();
            drills += 1;
        }
        if dice.roll(10) == 0 {
            vps.hostkit("backup rotate").succeeds();
            let left = vps.hostkit("backup list my-shop --json").data().to_string();
            held.retain(|one| left.contains(&one.id));
            assert!(!held.is_empty(), "{told}");
        }
    }
    vps.hostkit("repair my-shop --quiet").succeeds();
    vps.hostkit("backup verify").succeeds();
    assert!(shop.serves() == "one" || shop.serves() == "two", "{}", shop.serves());
    println!(
        "{rounds} rounds in {:?}: {restored} restored, {drills} drills, nothing lost",
        start.elapsed()
    );
}
