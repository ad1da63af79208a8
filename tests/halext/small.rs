//! A server of the size that Halext's own description asks for: 2 GB of memory.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::house::{self, DOMAIN, House};
use crate::vps::{Memory, Vps};

const SIZE: u64 = 2 << 30;

/// The most of each that was seen at one time while something went on.
fn most(vps: &Vps, work: impl FnOnce() + Send) -> Memory {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut most = vps.memory();
            while !is_over.load(SeqCst) {
                let now = vps.memory();
                most =
                    Memory { own: most.own.max(now.own), cache: most.cache.max(now.cache), ..now };
                std::thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let works = scope.spawn(work);
        let worked = works.join();
        is_over.store(true, SeqCst);
        worked.unwrap();
        looks.join().unwrap()
    })
}

#[test]
fn two_gigabytes_hold_the_server_the_build_and_all_services() {
    let vps = Vps::small(SIZE);
    house::push(&vps);
    // As a unit of the server: what a test runs by itself is counted elsewhere.
    let hostkit = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ran = vps.run(
            &[&["systemd-run", "--pipe", "--wait", "-q", "hostkit"], &words[..]].concat(),
            b"",
        );
        ran.succeeds()
    };
    let idle = vps.memory();
    let mut told = String::new();
    let line = format!("provision halext --source /root/halext --domain {DOMAIN}");
    let first = most(&vps, || told = hostkit(&line));
    let second = most(&vps, || drop(hostkit("deploy halext --source /root/halext --no-watch")));
    let after = vps.memory();
    let mb = |bytes: u64| bytes >> 20;
    for (what, now) in [
        ("a server that is ready", idle),
        ("while it is provisioned", first),
        ("while it is deployed again", second),
        ("afterwards", after),
    ] {
        println!("{what}: programs {} MB, pages of files {} MB", mb(now.own), mb(now.cache));
    }
    println!("most at once, with pages of files: {} of {} MB", mb(after.peak), mb(SIZE));
    assert_eq!(after.killed, 0, "nobody was killed for want of memory");
    assert!(after.peak <= SIZE && first.own > 200 << 20, "it was not counted: {first:?}");
    // Half of it is enough for all programs together; the rest is there for files.
    assert!(first.own.max(second.own) < SIZE / 2, "{first:?} {second:?}");
    let house = House { code: house::code_of(&told), vps };
    assert_eq!(house.register("ann", &house.code), 200);
    assert_eq!(house.health().0, 0);
}
