//! Files with holes: where in them their data belongs.

use std::io::Read;

use super::{bad, extended, refused, tar::BLOCK, unreadable};
use crate::error::{Error, Result};

const MOST_PIECES: usize = 1 << 16;

/// A file's whole size, and the pieces of it that are no holes.
pub(super) struct Map {
    pub(super) size: u64,
    pub(super) pieces: Vec<(u64, u64)>,
}

impl Map {
    /// Pieces in order that do not overlap, lie in the file and are what the archive holds.
    fn checked(self, name: &[u8], stored: u64) -> Result<Self> {
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for &(offset, length) in &self.pieces {
            let next = offset.checked_add(length).filter(|_| offset >= end);
            end = next.ok_or_else(|| damaged(name))?;
            sum += length;
        }
        if end > self.size || sum != stored {
            return Err(damaged(name));
        }
        Ok(self)
    }

    /// GNU's old form: in the header, and in blocks behind it.
    pub(super) fn old(
        stream: &mut dyn Read,
        header: &::tar::Header,
        name: &[u8],
        stored: u64,
    ) -> Result<Self> {
        let gnu = header.as_gnu().ok_or_else(|| damaged(name))?;
        let size = gnu.real_size().map_err(|_| damaged(name))?;
        let mut pieces = Vec::new();
        add(&mut pieces, &gnu.sparse, name)?;
        let mut goes_on = gnu.is_extended();
        while goes_on {
            let mut block = ::tar::GnuExtSparseHeader::new();
            stream.read_exact(block.as_mut_bytes()).map_err(unreadable)?;
            add(&mut pieces, block.sparse(), name)?;
            goes_on = block.is_extended();
        }
        Self { size, pieces }.checked(name, stored)
    }

    /// What PAX says, in the header or before the data; and how much of the data that took.
    pub(super) fn pax(
        stream: &mut dyn Read,
        sparse: &extended::Sparse,
        name: &[u8],
        stored: u64,
    ) -> Result<(Self, u64)> {
        let size = sparse.size.ok_or_else(|| damaged(name))?;
        let (numbers, taken) = match (sparse.major, sparse.minor, &sparse.map) {
            (Some(1), Some(0), None) => before_data(stream, name, stored)?,
            (None, None, Some(map)) => (in_header(map)?, 0),
            _ => {
                return Err(refused(
                    name,
                    "its holes are told in a way that hostkit does not know",
                )
                .hint("pack it without `--sparse`"));
            }
        };
        if numbers.len() % 2 != 0 {
            return Err(damaged(name));
        }
        let pieces = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok((Self { size, pieces }.checked(name, stored - taken)?, taken))
    }
}

fn add(pieces: &mut Vec<(u64, u64)>, more: &[::tar::GnuSparseHeader], name: &[u8]) -> Result<()> {
    for piece in more.iter().filter(|piece| !piece.is_empty()) {
        let (Ok(offset), Ok(length)) = (piece.offset(), piece.length()) else {
            return Err(damaged(name));
        };
        pieces.push((offset, length));
    }
    if pieces.len() > MOST_PIECES {
        return Err(refused(name, "it has too many holes").hint("pack it without `--sparse`"));
    }
    Ok(())
}

fn in_header(map: &[u8]) -> Result<Vec<u64>> {
    if map.is_empty() {
        return Ok(Vec::new());
    }
    map.split(|b| *b == b',').map(extended::number).collect()
}

/// Numbers, one a line, how many pairs first; then up to the end of the block.
fn before_data(stream: &mut dyn Read, name: &[u8], stored: u64) -> Result<(Vec<u64>, u64)> {
    let mut numbers = Vec::new();
    let mut expected = None;
    let mut line = Vec::new();
    let mut taken = 0;
    while expected.is_none_or(|expected| numbers.len() < expected) {
        let mut block = [0; BLOCK];
        taken += BLOCK as u64;
        if taken > stored {
            return Err(damaged(name));
        }
        stream.read_exact(&mut block).map_err(unreadable)?;
        for byte in block {
            if expected == Some(numbers.len()) {
                break;
            }
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let number = extended::number(&line)?;
            line.clear();
            if expected.is_some() {
                numbers.push(number);
            } else {
                let pairs = usize::try_from(number).ok().filter(|pairs| *pairs <= MOST_PIECES);
                expected = Some(2 * pairs.ok_or_else(|| bad("a file in it has too many holes"))?);
            }
        }
        if line.len() > 20 {
            return Err(damaged(name));
        }
    }
    Ok((numbers, taken))
}

fn damaged(name: &[u8]) -> Error {
    refused(name, "the list of its holes is damaged").hint("pack it without `--sparse`")
}
