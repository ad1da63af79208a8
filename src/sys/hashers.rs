//! Hashes of files, by as many threads as there are processors.

use std::{
    fs::File,
    io::{ErrorKind, Read, Result},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, channel, sync_channel},
    },
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// More would take the disk's time from each other.
const MOST: usize = 4;

/// A file, and who waits for its hash.
type Job = (File, std::sync::mpsc::Sender<Result<String>>);

pub(super) struct Hashers {
    jobs: SyncSender<Job>,
}

impl Hashers {
    pub(super) fn new() -> Self {
        let count = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST));
        let (jobs, queue) = sync_channel(count);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let queue = Arc::clone(&queue);
            // With none of them, each file is hashed by who asks.
            let _ = std::thread::Builder::new().spawn(move || work(&queue));
        }
        Self { jobs }
    }

    /// Where the hash of a file will come.
    pub(super) fn hash(&self, file: File) -> Receiver<Result<String>> {
        let (answer, hash) = channel();
        if let Err(left) = self.jobs.send((file, answer)) {
            let (file, answer) = left.0;
            let _ = answer.send(hash_of(file));
        }
        hash
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((file, answer)) = job else { return };
        let _ = answer.send(hash_of(file));
    }
}

fn hash_of(mut file: File) -> Result<String> {
    let (mut hash, mut part) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(HEXLOWER.encode(&hash.finalize())),
            Ok(n) => hash.update(&part[..n]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn each_file_gets_its_own_hash() {
        let dir = tempfile::tempdir().unwrap();
        let hashers = Hashers::new();
        let asked: Vec<(String, Receiver<Result<String>>)> = (0..200)
            .map(|n| {
                let (path, text) = (dir.path().join(n.to_string()), format!("{n}").repeat(n));
                let is = HEXLOWER.encode(&Sha256::digest(&text));
                File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
                (is, hashers.hash(File::open(path).unwrap()))
            })
            .collect();
        for (is, hash) in asked {
            assert_eq!(hash.recv().unwrap().unwrap(), is);
        }
        // A directory can't be read.
        assert!(hashers.hash(File::open(dir.path()).unwrap()).recv().unwrap().is_err());
    }
}
