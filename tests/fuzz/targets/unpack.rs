//! Any archive is unpacked below its directory or refused; what it leaves is plain.
#![no_main]

use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::Path,
};

use hostkit::archive::{Limits, unpack};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { files: 50, bytes: 1 << 20, file_bytes: 1 << 19, depth: 8 };

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    sum_up(&mut bytes);
    let outer = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let inside = outer.path().join("in");
    fs::create_dir(&inside).expect("a directory");
    let unpacked = unpack(&bytes[..], File::open(&inside).expect("it").as_fd(), &LIMITS);
    let beside = fs::read_dir(outer.path()).expect("a directory").count();
    assert_eq!(beside, 1, "something lies beside the directory");
    let mut seen = Seen::default();
    seen.look(&inside, &inside);
    assert!(seen.all <= LIMITS.files && seen.bytes <= LIMITS.bytes);
    if let Ok(unpacked) = unpacked {
        assert!(seen.files <= unpacked.files && seen.bytes <= unpacked.bytes);
        assert!(unpacked.skipped.len() <= 20);
    }
});

/// Gives each header of a tar the checksum that chance would hardly find.
fn sum_up(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

#[derive(Default)]
struct Seen {
    all: u64,
    files: u64,
    bytes: u64,
}

impl Seen {
    fn look(&mut self, dir: &Path, inside: &Path) {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let meta = path.symlink_metadata().expect("an entry");
            self.all += 1;
            if meta.is_dir() {
                self.look(&path, inside);
                continue;
            }
            self.files += 1;
            if meta.is_symlink() {
                let end = path.canonicalize();
                assert!(end.is_err() || end.is_ok_and(|end| end.starts_with(inside)));
                continue;
            }
            assert!(meta.is_file());
            assert!(matches!(meta.permissions().mode() & 0o7777, 0o644 | 0o755));
            self.bytes += meta.len();
        }
    }
}
