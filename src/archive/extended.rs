//! Headers that say more of the entry that follows them: long names, and what PAX adds.

use super::bad;
use crate::error::Result;

/// No such header is longer.
pub(super) const LONGEST: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) sparse: Sparse,
}

/// What PAX says of a file with holes.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) is_sparse: bool,
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) map: Option<Vec<u8>>,
}

impl Extended {
    pub(super) fn read(&mut self, records: &[u8]) -> Result<()> {
        for record in Records(records) {
            let (key, value) = record?;
            match key {
                b"path" => self.path = Some(value.to_owned()),
                b"linkpath" => self.link = Some(value.to_owned()),
                b"size" => self.size = Some(number(value)?),
                _ => {
                    if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                        self.sparse.read(key, value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Sparse {
    fn read(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.is_sparse = true;
        match key {
            b"major" => self.major = Some(number(value)?),
            b"minor" => self.minor = Some(number(value)?),
            b"name" => self.name = Some(value.to_owned()),
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"map" => self.map = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// Refuses what would be said of all entries at once, and none could be told from.
pub(super) fn check_global(records: &[u8]) -> Result<()> {
    for record in Records(records) {
        let (key, _) = record?;
        if matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.") {
            return Err(bad("it gives all of its entries one name or size"));
        }
    }
    Ok(())
}

/// `LENGTH KEY=VALUE\n`, the length being that of all of it.
struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    fn take(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let space = self.0.iter().take(20).position(|b| *b == b' ')?;
        let length = usize::try_from(number(&self.0[..space]).ok()?).ok()?;
        let (record, rest) = self.0.split_at_checked(length)?;
        let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        self.0 = rest;
        Some((&record[..equals], &record[equals + 1..]))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.take();
        if record.is_none() {
            self.0 = &[];
        }
        Some(record.ok_or_else(|| bad("an extended header in it is damaged")))
    }
}

pub(super) fn number(digits: &[u8]) -> Result<u64> {
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok()).ok_or_else(|| bad("a number in it is damaged"))
}
