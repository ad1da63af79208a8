//! Archives as an attacker would make them, and what becomes of them.

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::symlink},
};

use proptest::prelude::*;

use super::{
    samples::{Place, SMALL, cause, gzip, tar, unpacked, zstd},
    *,
};

#[test]
fn tar_comes_as_it_is_or_compressed() {
    let archive = tar().file("a", "one").file("b/c", "two").end();
    let expected = ["a 644 one", "b/ 755", "b/c 644 two"];
    assert_eq!(unpacked(&archive), expected);
    assert_eq!(unpacked(&gzip(&archive)), expected);
    assert_eq!(unpacked(&zstd(&archive)), expected);
    let (first, second) = archive.split_at(700);
    assert_eq!(unpacked(&[gzip(first), gzip(b""), gzip(second)].concat()), expected);
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    assert_eq!(unpacked(&[skippable, zstd(first), zstd(second)].concat()), expected);
}

#[test]
fn other_kinds_are_told_by_name() {
    assert_eq!(cause(b"\xfd7zXZ\0rest"), "it is xz, and none of tar, tar.gz, tar.zst and zip");
    assert_eq!(cause(b"BZh9"), "it is bzip2, and none of tar, tar.gz, tar.zst and zip");
    assert_eq!(cause(&[b'x'; 600]), "it is none of tar, tar.gz, tar.zst and zip");
    assert_eq!(cause(b""), "there is nothing in it");
    assert_eq!(cause(&gzip(&[b'x'; 600])), "there is no tar in it");
    assert_eq!(cause(&gzip(&gzip(&tar().end()))), "it ends too early");
}

#[test]
fn paths_stay_below() {
    for (name, why) in [
        ("/etc/x", "its path is absolute"),
        ("//x", "its path is absolute"),
        ("..", "its path has `..` in it"),
        ("a/../../x", "its path has `..` in it"),
        ("a/..", "its path has `..` in it"),
        ("./../beside/x", "its path has `..` in it"),
        ("", "it has an empty path"),
        (".", "it would stand in place of the directory itself"),
        ("a/b/c/d/e/f/g", "it lies more than 6 names deep"),
    ] {
        assert_eq!(cause(&tar().file(name, "x").end()), why, "{name}");
    }
    let long = "x".repeat(256);
    assert_eq!(cause(&tar().file(&long, "").end()), "a name in its path is too long");
    let long = "x/".repeat(2048) + "x";
    assert_eq!(cause(&tar().file(&long, "").end()), "its path is too long");
    let with_nul = tar().pax(b'x', &[("path", "a\0b")]).file("a", "").end();
    assert_eq!(cause(&with_nul), "its path has a NUL in it");
    let told_twice = tar().pax(b'x', &[("path", "../x")]).file("a", "").end();
    assert_eq!(cause(&told_twice), "its path has `..` in it");
    let plain = tar().dir("./").file("./a//./b", "x").file("c", "");
    assert_eq!(unpacked(&plain.end()), ["a/ 755", "a/b 644 x", "c 644 "]);
}

#[test]
fn names_are_bytes_and_shown_escaped() {
    let archive = tar().file("a\nb", "1").file(b"\xff", "2").end();
    assert_eq!(unpacked(&archive), ["\\xff 644 2", "a\\nb 644 1"]);
    let error = Place::new().unpack(&tar().file("/a\n\x1b[2Jb", "").end()).unwrap_err();
    assert_eq!(error.message, "could not unpack `/a\\n\\u{1b}[2Jb`");
}

#[test]
fn modes_and_owners_are_made_plain() {
    let archive = tar()
        .entry(b'0', b"setuid", b"", 0o6755, b"")
        .entry(b'0', b"open", b"", 0o777, b"")
        .entry(b'0', b"group", b"", 0o670, b"")
        .entry(b'5', b"sticky", b"", 0o1777, b"")
        .end();
    let expected = ["group 644 ", "open 755 ", "setuid 755 ", "sticky/ 755"];
    assert_eq!(unpacked(&archive), expected);
}

#[test]
fn devices_and_pipes_are_refused() {
    for (kind, why) in [(b'3', "it is a device"), (b'4', "it is a device"), (b'6', "it is a pipe")]
    {
        assert_eq!(cause(&tar().entry(kind, b"x", b"", 0o644, b"").end()), why);
    }
    let odd = cause(&tar().entry(b'M', b"x", b"", 0o644, b"").end());
    assert_eq!(odd, "it is of a kind that hostkit does not know: `M`");
}

#[test]
fn links_stay_inside() {
    let inside = tar()
        .link("a", "b/c")
        .link("b/c", "../d")
        .link("b/here", "..")
        .link("b/detour", "x/../../d/./")
        .file("d", "x");
    let expected =
        ["a -> b/c", "b/ 755", "b/c -> ../d", "b/detour -> ../d", "b/here -> ..", "d 644 x"];
    assert_eq!(unpacked(&inside.end()), expected);
    for (name, target) in
        [("a", ".."), ("a", "../beside"), ("b/c", "../../x"), ("b/c", "x/../../../y")]
    {
        let why = cause(&tar().link(name, target).end());
        assert_eq!(why, "it is a link that leads out of the archive");
    }
    assert_eq!(cause(&tar().link("a", "/etc").end()), "its path is absolute");
    assert_eq!(cause(&tar().link("a", "").end()), "it has an empty path");
}

#[test]
fn a_chain_of_links_leads_nowhere() {
    // By its letters the second one stays inside; through the first one it would not.
    let archive =
        tar().dir("a/b").link("a/b/up", "../..").link("out", "a/b/up/../beside").file("z", "");
    let place = Place::new();
    place.unpack(&archive.end()).unwrap();
    let out = place.dir.path().join("in/out");
    assert_eq!(fs::read_link(&out).unwrap(), Path::new("a/b/beside"));
    assert!(fs::read(out.join("secret")).is_err());
}

#[test]
fn nothing_goes_through_a_link() {
    let through = "a link stands where it needs a directory";
    let archive = tar().dir("dir").link("a", "dir");
    assert_eq!(cause(&archive.clone().file("a/x", "x").end()), through);
    assert_eq!(cause(&archive.clone().dir("a/x").end()), through);
    assert_eq!(cause(&archive.clone().dir("a").end()), through);
    assert_eq!(cause(&archive.clone().link("a/x", "y").end()), through);
    assert_eq!(cause(&archive.clone().file("a/x/y", "x").end()), through);
    let through = "a file stands where it needs a directory";
    assert_eq!(cause(&tar().file("a", "").file("a/x", "").end()), through);
}

#[test]
fn a_later_file_replaces_an_earlier_one() {
    let archive =
        tar().file("d", "old").link("a", "d").file("a", "new").file("d", "newer").link("d", "a");
    assert_eq!(unpacked(&archive.end()), ["a 644 new", "d -> a"]);
    let archive = tar().file("a", "").dir("b").file("b", "").end();
    assert_eq!(cause(&archive), "a directory stands in its place");
    let counted = Place::new().unpack(&tar().file("a", "12").file("a", "345").end()).unwrap();
    assert_eq!((counted.files, counted.bytes), (1, 5));
}

#[test]
fn hard_links_are_copies_of_what_came_before() {
    let archive =
        tar().entry(b'0', b"a", b"", 0o755, b"one").hard_link("b/c", "a").hard_link("a", "./a");
    assert_eq!(unpacked(&archive.end()), ["a 755 one", "b/ 755", "b/c 755 one"]);
    for (target, why) in [
        ("later", "it is a hard link to `later`, which the archive has not had so far"),
        ("dir", "it is a hard link to `dir`, which is no file"),
        ("link", "it is a hard link to `link`, which is a symbolic link or beyond one"),
        ("../beside/secret", "its path has `..` in it"),
        ("/etc/passwd", "its path is absolute"),
    ] {
        let archive = tar().file("a", "").dir("dir").link("link", "a").hard_link("x", target);
        assert_eq!(cause(&archive.file("later", "").end()), why);
    }
    let big = "x".repeat(40_000);
    let archive = tar().file("a", &big).hard_link("b", "a").hard_link("c", "a").end();
    assert_eq!(cause(&archive), "the archive's files come to more than 100000 bytes");
    let odd = tar().entry(b'1', b"b", b"a", 0o644, b"contents").end();
    assert_eq!(cause(&odd), "it has contents, which its kind can't have");
}

#[test]
fn limits_hold() {
    let many = (0..21).fold(tar(), |tar, n| tar.file(n.to_string(), ""));
    assert_eq!(cause(&many.end()), "the archive holds more than 20 files and directories");
    let dirs = (0..4).fold(tar(), |tar, n| tar.file(format!("{n}/a/b/c/d/e"), ""));
    assert_eq!(cause(&dirs.end()), "the archive holds more than 20 files and directories");
    let again = (0..21).fold(tar(), |tar, _| tar.file("a", ""));
    assert_eq!(cause(&again.end()), "the archive holds more than 20 files and directories");
    let big = tar().file("a", &"x".repeat(50_001)).end();
    assert_eq!(cause(&big), "it is larger than 50000 bytes");
    let sum = (0..3).fold(tar(), |tar, n| tar.file(n.to_string(), &"x".repeat(40_000)));
    assert_eq!(cause(&sum.end()), "the archive's files come to more than 100000 bytes");
}

#[test]
fn bombs_stop_at_the_limit() {
    let mut padded = tar().file("a", "x").end();
    padded.resize(3 << 20, 0);
    for bomb in [gzip(&padded), zstd(&padded), padded] {
        assert!(cause(&bomb).starts_with("it comes to more than"));
    }
    let hidden = (0..40).fold(tar(), |tar, n| tar.file(format!(".git/{n}"), &"x".repeat(40_000)));
    assert!(cause(&gzip(&hidden.end())).starts_with("it comes to more than"));
    let members = gzip(b"").repeat(100_000);
    assert!(cause(&[gzip(&[0; 512]), members].concat()).starts_with("it comes to more than"));
}

#[test]
fn what_ends_too_early_is_refused() {
    let archive = tar().file("a", &"x".repeat(3000)).file("b/c", "y").end();
    let needed = archive.len() - 1024;
    for (archive, needed) in [
        (gzip(&archive), gzip(&archive).len()),
        (zstd(&archive), zstd(&archive).len()),
        (archive, needed),
    ] {
        for length in (1..needed).step_by(37).chain([needed - 1]) {
            assert!(Place::new().unpack(&archive[..length]).is_err(), "{length} of {needed}");
        }
    }
    assert_eq!(cause(&tar().file("a", "x").0), "it ends too early");
}

#[test]
fn what_follows_the_end_is_ignored() {
    let archive = tar().file("a", "x").file("b", "").end();
    let garbage = b"garbage".repeat(1000);
    for archive in [
        [&archive[..], &garbage].concat(),
        [&gzip(&archive)[..], &garbage].concat(),
        [&zstd(&archive)[..], &garbage].concat(),
        gzip(&[&archive[..], &tar().file("/x", "").end()].concat()),
    ] {
        assert_eq!(unpacked(&archive), ["a 644 x", "b 644 "]);
    }
}

#[test]
fn damage_is_noticed() {
    let archive = tar().file("a", "some contents").file("b", "").end();
    let mut header = archive.clone();
    header[1024 + 3] = b'x';
    assert_eq!(cause(&header), "it is damaged");
    for mut archive in [gzip(&archive), zstd(&archive)] {
        let last = archive.len() - 2;
        archive[last] ^= 1;
        cause(&archive);
    }
}

#[test]
fn extended_headers_are_read_and_bounded() {
    let long = "n".repeat(120);
    let archive = tar()
        .pax(b'g', &[("comment", "0123")])
        .pax(b'x', &[("path", "päx\n1"), ("mtime", "1.5"), ("size", "3")])
        .file("a", "xyz")
        .file(&long, "")
        .pax(b'x', &[("linkpath", "a/b")])
        .link("l", "..");
    let expected =
        ["l -> a/b".to_owned(), format!("{long} 644 "), "p\\xc3\\xa4x\\n1 644 xyz".into()];
    assert_eq!(unpacked(&archive.end()), expected);
    let huge = tar().entry(b'x', b"x", b"", 0, &b" ".repeat((1 << 20) + 1)).end();
    assert_eq!(cause(&huge), "an extended header in it is longer than 1 MiB");
    for damaged in ["12", "99 path=x\n", "9 path=xy", "4 x\n", "-5 a=b\n", "0 a=b\n"] {
        let archive = tar().entry(b'x', b"x", b"", 0, damaged.as_bytes()).file("a", "").end();
        assert_eq!(cause(&archive), "an extended header in it is damaged", "{damaged}");
    }
    let global = tar().pax(b'g', &[("path", "x")]).file("a", "").end();
    assert_eq!(cause(&global), "it gives all of its entries one name or size");
}

#[test]
fn holes_count_as_contents() {
    let pax = |size: &str, map: &str, contents: &str| {
        let sparse = [("major", "1"), ("minor", "0"), ("name", "s"), ("realsize", size)];
        let records: Vec<_> = sparse.map(|(k, v)| (format!("GNU.sparse.{k}"), v)).into();
        let records: Vec<_> = records.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        let mut data = map.to_owned();
        data.extend(std::iter::repeat_n('\0', 512 - map.len()));
        tar().pax(b'x', &records).file("GNUSparseFile.0/s", &(data + contents)).file("z", "").end()
    };
    assert_eq!(
        unpacked(&pax("6", "2\n1\n2\n4\n1\n", "abc")),
        ["s 644 \\x00ab\\x00c\\x00", "z 644 "]
    );
    let damaged = "the list of its holes is damaged";
    assert_eq!(cause(&pax("6", "2\n1\n2\n2\n1\n", "abc")), damaged);
    assert_eq!(cause(&pax("4", "2\n1\n2\n4\n1\n", "abc")), damaged);
    assert_eq!(cause(&pax("6", "1\n1\n2\n", "abc")), damaged);
    assert_eq!(cause(&pax("60000", "0\n", "")), "it is larger than 50000 bytes");
    assert_eq!(cause(&pax("6", "99999999\n", "")), "a file in it has too many holes");

    let old = |size: u64, pieces: &[(u64, u64)]| {
        let mut header = ::tar::Header::new_gnu();
        header.set_path("s").unwrap();
        header.set_mode(0o644);
        header.set_size(3);
        header.set_entry_type(::tar::EntryType::GNUSparse);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(size);
        for (slot, (offset, length)) in gnu.sparse.iter_mut().zip(pieces) {
            slot.set_offset(*offset);
            slot.set_length(*length);
        }
        tar().add(header, b"abc").file("z", "").end()
    };
    assert_eq!(unpacked(&old(5, &[(0, 1), (3, 2)])), ["s 644 a\\x00\\x00bc", "z 644 "]);
    assert_eq!(cause(&old(5, &[(0, 1), (u64::MAX >> 1, 2)])), damaged);
    assert_eq!(cause(&old(60_000, &[(0, 3)])), "it is larger than 50000 bytes");
}

#[test]
fn junk_is_left_out_and_told() {
    let archive = tar()
        .dir("top/.git")
        .file("top/.git/config", "x")
        .file("top/.git/hooks/x", "x")
        .file("__MACOSX/top/._a", "x")
        .file("top/._a", "x")
        .file("top/.DS_Store", "x")
        .file("top/.gitignore", "x")
        .file("top/._", "kept")
        .end();
    let place = Place::new();
    let unpacked = place.unpack(&archive).unwrap();
    assert_eq!(place.holds(), ["._ 644 kept", ".gitignore 644 x"]);
    assert_eq!((unpacked.files, unpacked.bytes), (2, 5));
    assert_eq!(
        unpacked.skipped,
        [
            "`top/.git`: the history stays out of a release",
            "`__MACOSX`: macOS keeps its own notes there",
            "`top/._a`: macOS keeps its own notes there",
            "`top/.DS_Store`: macOS keeps its own notes there",
        ]
    );
    let much = (0..50).fold(tar(), |tar, n| tar.file(format!("._{n}"), ""));
    let skipped = Place::new().unpack(&much.end()).unwrap().skipped;
    assert_eq!((skipped.len(), skipped[19].as_str()), (20, "and more"));
}

#[test]
fn one_directory_around_everything_is_taken_off() {
    let archive = tar().dir("top").file("top/a", "1").file("top/top/b", "2").link("top/l", "top");
    assert_eq!(unpacked(&archive.end()), ["a 644 1", "l -> top", "top/ 755", "top/b 644 2"]);
    assert_eq!(unpacked(&tar().file("a/b/c", "x").end()), ["b/ 755", "b/c 644 x"]);
    assert_eq!(unpacked(&tar().file("top/.hostkit-top", "x").end()), [".hostkit-top 644 x"]);
    assert_eq!(unpacked(&tar().dir("top").end()), ["top/ 755"]);
    assert_eq!(unpacked(&tar().file("a", "x").end()), ["a 644 x"]);
    assert_eq!(unpacked(&tar().end()), [""; 0]);
    let both = tar().file("top/a", "x").link("b", "top");
    assert_eq!(unpacked(&both.end()), ["b -> top", "top/ 755", "top/a 644 x"]);
    let out = tar().file("top/a", "x").link("top/b/c", "../../top/a").end();
    assert_eq!(cause(&out), "it is a link that leads out of `top`");
}

#[test]
fn a_directory_that_is_not_empty_stays_as_it_is() {
    let place = Place::new();
    symlink("x", place.dir.path().join("in/a")).unwrap();
    let error = place.unpack(&tar().file("a", "").end()).unwrap_err();
    assert_eq!(error.code, "in_the_way");
    assert_eq!(place.holds(), ["a -> x"]);
}

#[test]
fn a_source_that_fails_is_not_the_archives_fault() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    for archive in [tar().file("a", "x").0, zstd(&tar().file("a", "x").0)[..9].to_vec()] {
        let place = Place::new();
        let into = File::open(place.dir.path().join("in")).unwrap();
        let error = unpack(archive.chain(Broken), into.as_fd(), &SMALL).unwrap_err();
        assert_eq!(error.code, "failed", "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_name_ends_up_below_or_is_refused(
        entries in proptest::collection::vec(
            ("[012567SLKxg]", "([./a]|\\.\\./|[ -~]|\\PC){0,12}", "([./a]|\\.\\./){0,8}"),
            1..6,
        ),
    ) {
        let archive = entries.iter().fold(tar(), |tar, (kind, name, target)| {
            let contents = if kind == "0" { "xyz" } else { "" };
            tar.entry(kind.as_bytes()[0], name.as_bytes(), target.as_bytes(), 0o644, contents.as_bytes())
        });
        let place = Place::new();
        // Looks at all that lies outside; what lies inside can only have been put there.
        let _ = place.unpack(&archive.end());
        let inside = place.dir.path().join("in").canonicalize().unwrap();
        for line in place.holds() {
            let Some((name, _)) = line.split_once(" -> ") else { continue };
            if let Ok(end) = inside.join(name).canonicalize() {
                prop_assert!(end.starts_with(&inside), "{}", line);
            }
        }
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        magic in 0..4_usize,
    ) {
        let start: [&[u8]; 4] = [b"", b"\x1f\x8b\x08\0", b"PK\x03\x04", b"\x28\xb5\x2f\xfd"];
        bytes.splice(0..0, start[magic].iter().copied());
        let _ = Place::new().unpack(&bytes);
    }
}
