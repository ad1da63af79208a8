//! `.env`: whatever goes in reaches the process, by systemd's own reading.

use hostkit::envfile::EnvFile;

use crate::vps::Vps;

/// A small generator, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

#[test]
fn random_values_reach_a_process_unchanged() {
    let vps = Vps::bare();
    let hard: Vec<char> =
        "\"'\\$`#;%= \n\t\r!{}()<>|&*?~^[]@:,.-_/aZ09éß漢🦀\u{1}\u{7f}".chars().collect();
    let mut dice = Dice(20_261_121);
    for round in 0..4 {
        let mut file = EnvFile::default();
        let mut wanted = Vec::new();
        for i in 0..250 {
            let value: String = (0..dice.next(40)).map(|_| hard[dice.next(hard.len())]).collect();
            let key = format!("KEY_{i}");
            file.set(&key, &value).unwrap();
            wanted.push((key, value));
        }
        vps.write("/root/env", &file.to_string());
        let seen = vps
            .sh("systemd-run --quiet --wait --pipe -p EnvironmentFile=/root/env /usr/bin/env -0 > /root/seen && base64 -w0 /root/seen")
            .succeeds();
        let bytes = data_encoding::BASE64.decode(seen.trim().as_bytes()).unwrap();
        let seen: std::collections::BTreeMap<String, String> = bytes
            .split(|b| *b == 0)
            .filter_map(|entry| {
                String::from_utf8(entry.to_vec())
                    .ok()?
                    .split_once('=')
                    .map(|(k, v)| (k.into(), v.into()))
            })
            .collect();
        for (key, value) in &wanted {
            assert_eq!(seen.get(key), Some(value), "round {round}: {key}");
        }
    }
}

#[test]
fn what_we_read_is_what_systemd_reads() {
    let vps = Vps::bare();
    let hard: Vec<&str> = vec![
        "A=", "B=", "\"", "'", "\\", "$", "#", ";", " ", "\n", "x", "=", "\\\n", "\"q\"", "'s'",
        "\t", "%h",
    ];
    let mut dice = Dice(7);
    let mut compared = 0;
    for _ in 0..60 {
        let mut text = String::from("A=");
        for _ in 0..dice.next(14) {
            text.push_str(hard[dice.next(hard.len())]);
        }
        text.push('\n');
        let Ok(ours) = EnvFile::parse(&text) else { continue };
        vps.write("/root/env", &text);
        let seen = vps.sh("systemd-run --quiet --wait --pipe -p EnvironmentFile=/root/env /usr/bin/env -0 | base64 -w0").succeeds();
        let bytes = data_encoding::BASE64.decode(seen.trim().as_bytes()).unwrap();
        for key in ["A", "B"] {
            let theirs = bytes
                .split(|b| *b == 0)
                .find_map(|entry| entry.strip_prefix(format!("{key}=").as_bytes()));
            // The last of two wins for systemd; we keep one of each.
            let last = ours.variables().filter(|(k, _)| *k == key).map(|(_, v)| v).next_back();
            assert_eq!(theirs.map(String::from_utf8_lossy).as_deref(), last, "{key} of {text:?}");
        }
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}
