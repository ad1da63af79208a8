//! All keys of one database in Redis, as a stream: out of it, and into it again.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use super::{Host, redis_keys::Keys};
use crate::error::{Context, Error, Result};

const HEAD: &[u8] = b"hostkit redis 1\n";

/// No key and no value is longer: Redis's own limit.
const LONGEST: u32 = 512 << 20;

/// What ends the stream, where the length of a key would be.
const END: u32 = u32::MAX;

/// What is logged is on the disk after that, and all of a Redis after this.
const LOGGED: Duration = Duration::from_millis(2100);
const SETTLING: Duration = Duration::from_mins(10);

/// So many keys are asked for at once.
const BATCH: usize = 256;

/// One key: its value as Redis itself writes it down, and when it ends, in milliseconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    pub key: Vec<u8>,
    pub ends: i64,
    pub value: Vec<u8>,
}

impl Host {
    /// Writes down every key of a database; how many. Each is whole as it was at one moment.
    pub fn dump_keys(&self, keys: &Keys, to: &mut dyn Write) -> Result<u64> {
        let mut connection = self.redis_of(keys)?;
        to.write_all(HEAD).context(writing)?;
        let mut count = 0_u64;
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0_u64;
        loop {
            let (next, batch) = some_keys(&mut connection, cursor).map_err(unread)?;
            // A scan may name a key twice.
            for entry in batch.into_iter().filter(|entry| seen.insert(entry.key.clone())) {
                write_entry(to, &entry).context(writing)?;
                count += 1;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        to.write_all(&END.to_be_bytes()).context(writing)?;
        to.write_all(&count.to_be_bytes()).context(writing)?;
        Ok(count)
    }

    /// Empties a database and fills it with what was written down, in one go: all of it or nothing.
    pub fn fill_keys(&self, keys: &Keys, from: &mut dyn Read) -> Result<u64> {
        let entries = read_entries(from)?;
        self.effect("fill a project's Redis", || {
            let mut connection = self.redis_of(keys)?;
            let mut all = redis::pipe();
            all.atomic().cmd("FLUSHDB").ignore();
            for Entry { key, ends, value } in &entries {
                let ends = (*ends).max(0);
                all.cmd("RESTORE").arg(key).arg(ends).arg(value).arg("REPLACE");
                if ends > 0 {
                    all.arg("ABSTTL");
                }
                all.ignore();
            }
            let filled = all.query::<()>(&mut connection);
            filled.map_err(|e| Error::failed("could not put keys back into Redis").caused_by(e))
        })?;
        Ok(entries.len() as u64)
    }

    /// Waits until what a database holds now would outlive a loss of power.
    pub fn settle_keys(&self, keys: &Keys) -> Result<()> {
        let failed = |e: redis::RedisError| {
            Error::failed("could not have Redis write down what it holds").caused_by(e)
        };
        let mut connection = self.redis_of(keys)?;
        let start = Instant::now();
        let mut has_begun = false;
        while start.elapsed() < SETTLING {
            let info: String =
                redis::cmd("INFO").arg("persistence").query(&mut connection).map_err(failed)?;
            match standing(&info) {
                Standing::Logs { is_pending: false } if start.elapsed() > LOGGED => return Ok(()),
                Standing::Saved { is_well: true } if has_begun => return Ok(()),
                Standing::Saved { is_well: false } if has_begun => {
                    return Err(Error::failed("Redis could not write down what it holds")
                        .hint("see its log: `journalctl -u redis-server`"));
                }
                Standing::Saved { .. } => {
                    redis::cmd("BGSAVE").query::<()>(&mut connection).map_err(failed)?;
                    has_begun = true;
                }
                Standing::Logs { .. } | Standing::Saves => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err(Error::failed("Redis does not come to an end of writing down what it holds"))
    }
}

/// How Redis stands with its disk.
#[derive(Debug, Eq, PartialEq)]
enum Standing {
    /// It logs each change, and sees to it every second.
    Logs {
        is_pending: bool,
    },
    /// It writes down everything now.
    Saves,
    Saved {
        is_well: bool,
    },
}

fn standing(info: &str) -> Standing {
    let has = |line: &str| info.lines().any(|l| l.trim() == line);
    if has("aof_enabled:1") {
        Standing::Logs { is_pending: !has("aof_pending_bio_fsync:0") }
    } else if has("rdb_bgsave_in_progress:1") {
        Standing::Saves
    } else {
        Standing::Saved { is_well: has("rdb_last_bgsave_status:ok") }
    }
}

fn some_keys(c: &mut redis::Connection, cursor: u64) -> redis::RedisResult<(u64, Vec<Entry>)> {
    let (next, keys): (u64, Vec<Vec<u8>>) =
        redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(BATCH).query(c)?;
    if keys.is_empty() {
        return Ok((next, Vec::new()));
    }
    let mut ask = redis::pipe();
    for key in &keys {
        ask.cmd("DUMP").arg(key).cmd("PEXPIRETIME").arg(key);
    }
    let answers: Vec<redis::Value> = ask.query(c)?;
    let entries = keys.into_iter().zip(answers.chunks_exact(2)).filter_map(|(key, pair)| {
        match pair {
            // It may have gone meanwhile.
            [redis::Value::BulkString(value), redis::Value::Int(ends)] => {
                Some(Entry { key, ends: *ends, value: value.clone() })
            }
            _ => None,
        }
    });
    Ok((next, entries.collect()))
}

fn unread(error: redis::RedisError) -> Error {
    Error::failed("could not read the keys of Redis").caused_by(error)
}

fn writing() -> String {
    "could not hand on the keys of Redis".into()
}

fn write_entry(to: &mut dyn Write, entry: &Entry) -> std::io::Result<()> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1).to_be_bytes();
    to.write_all(&length(&entry.key))?;
    to.write_all(&entry.key)?;
    to.write_all(&entry.ends.to_be_bytes())?;
    to.write_all(&length(&entry.value))?;
    to.write_all(&entry.value)
}

/// Reads a whole stream. One that is cut short is an error.
pub fn read_entries(from: &mut dyn Read) -> Result<Vec<Entry>> {
    let bad = |why: &str| Error::failed("could not read kept keys of Redis").caused_by(why);
    let mut head = [0; HEAD.len()];
    from.read_exact(&mut head).map_err(|_| bad("the stream is too short"))?;
    if head != HEAD {
        return Err(bad("it is no stream of keys"));
    }
    let mut entries = Vec::new();
    loop {
        let length = number(from).map_err(|_| bad("it is cut short"))?;
        if length == END {
            let mut count = [0; 8];
            from.read_exact(&mut count).map_err(|_| bad("it is cut short"))?;
            if u64::from_be_bytes(count) != entries.len() as u64 {
                return Err(bad("it lacks some of its keys"));
            }
            return Ok(entries);
        }
        let key = bytes(from, length).map_err(|_| bad("a key is cut short"))?;
        let mut ends = [0; 8];
        from.read_exact(&mut ends).map_err(|_| bad("it is cut short"))?;
        let length = number(from).map_err(|_| bad("it is cut short"))?;
        let value = bytes(from, length).map_err(|_| bad("a value is cut short"))?;
        entries.push(Entry { key, ends: i64::from_be_bytes(ends), value });
    }
}

fn number(from: &mut dyn Read) -> std::io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn bytes(from: &mut dyn Read, length: u32) -> std::io::Result<Vec<u8>> {
    if length > LONGEST {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    // Not what it claims at once: it may be cut short.
    let mut bytes = Vec::new();
    let read = from.take(length.into()).read_to_end(&mut bytes)?;
    if read as u64 == u64::from(length) {
        Ok(bytes)
    } else {
        Err(std::io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(entries: &[Entry]) -> Vec<u8> {
        let mut out = HEAD.to_vec();
        for entry in entries {
            write_entry(&mut out, entry).unwrap();
        }
        out.extend(END.to_be_bytes());
        out.extend((entries.len() as u64).to_be_bytes());
        out
    }

    #[test]
    fn what_is_on_the_disk_is_told() {
        let saved = "rdb_bgsave_in_progress:0\r\nrdb_last_bgsave_status:ok\r\naof_enabled:0\r\n";
        assert_eq!(standing(saved), Standing::Saved { is_well: true });
        assert_eq!(standing(&saved.replace("ok", "err")), Standing::Saved { is_well: false });
        assert_eq!(standing(&saved.replace("progress:0", "progress:1")), Standing::Saves);
        let logs = "aof_enabled:1\r\naof_pending_bio_fsync:0\r\n";
        assert_eq!(standing(logs), Standing::Logs { is_pending: false });
        assert_eq!(
            standing("aof_enabled:1\r\naof_pending_bio_fsync:1"),
            Standing::Logs { is_pending: true }
        );
    }

    #[test]
    fn keys_come_back_and_a_short_stream_does_not() {
        let entries = [
            Entry { key: b"a\n\0".to_vec(), ends: -1, value: b"x".to_vec() },
            Entry { key: Vec::new(), ends: 1_700_000_000_000, value: Vec::new() },
        ];
        let whole = stream(&entries);
        assert_eq!(read_entries(&mut whole.as_slice()).unwrap(), entries);
        for end in 0..whole.len() {
            assert!(read_entries(&mut &whole[..end]).is_err(), "{end}");
        }
    }
}
