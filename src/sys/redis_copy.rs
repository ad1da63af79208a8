//! All keys of one database in Redis, as a stream: out of it, and into it again.

use std::io::{Read, Write};

use super::{Host, redis_keys::Keys};
use crate::error::{Context, Error, Result};

const HEAD: &[u8] = b"hostkit redis 1\n";

/// No key and no value is longer: Redis's own limit.
const LONGEST: u32 = 512 << 20;

/// What ends the stream, where the length of a key would be.
const END: u32 = u32::MAX;

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
