//! tar, as a stream: headers are read here, one by one, so that none says more than it may.

use std::{
    borrow::Cow,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use tar::Header;

use super::{
    bad,
    extended::{self, Extended, LONGEST},
    quoted, refused,
    sparse::Map,
    tree::Tree,
    unreadable,
};
use crate::error::{Context, Error, Result};

pub(super) const BLOCK: usize = 512;

/// Unpacks a tar stream, and reads what may come after its end.
pub(super) fn unpack(stream: &mut dyn Read, tree: &mut Tree) -> Result<()> {
    let mut reader = Reader { stream, tree, next: Extended::default(), is_first: true };
    while let Some(header) = reader.header()? {
        reader.entry(&header)?;
        reader.is_first = false;
    }
    // Who sends the archive is still writing, and a checksum may come last.
    io::copy(reader.stream, &mut io::sink()).map_err(unreadable)?;
    Ok(())
}

/// Whether an archive begins like this: with a header, or with its end.
pub(super) fn is_header(block: &[u8]) -> bool {
    block.len() == BLOCK && (is_end(block) || checksum_fits(Header::from_byte_slice(block)))
}

fn is_end(block: &[u8]) -> bool {
    block.iter().all(|b| *b == 0)
}

fn checksum_fits(header: &Header) -> bool {
    let (before, rest) = header.as_bytes().split_at(148);
    let bytes = || before.iter().chain(&[b' '; 8]).chain(&rest[8..]);
    let unsigned: u32 = bytes().map(|b| u32::from(*b)).sum();
    // Old programs took bytes for signed.
    let signed: i32 = bytes().map(|b| i32::from(b.cast_signed())).sum();
    header.cksum().is_ok_and(|told| told == unsigned || i64::from(told) == i64::from(signed))
}

struct Reader<'r, 't> {
    stream: &'r mut dyn Read,
    tree: &'r mut Tree<'t>,
    /// What was said of the entry to come.
    next: Extended,
    is_first: bool,
}

/// An entry's name, and how many bytes of it are in the archive.
struct Entry<'e> {
    name: &'e [u8],
    stored: u64,
    is_executable: bool,
}

impl Reader<'_, '_> {
    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        self.stream.read_exact(header.as_mut_bytes()).map_err(unreadable)?;
        if is_end(header.as_bytes()) {
            return Ok(None);
        }
        if !checksum_fits(&header) {
            let what = if self.is_first { "there is no tar in it" } else { "it is damaged" };
            return Err(bad(what));
        }
        Ok(Some(header))
    }

    fn entry(&mut self, header: &Header) -> Result<()> {
        let size = header.entry_size().map_err(|_| bad("a size in it is damaged"))?;
        match kind(header) {
            b'x' | b'X' => {
                let records = self.small(size)?;
                self.next.read(&records)
            }
            b'g' => extended::check_global(&self.small(size)?),
            b'L' => {
                self.next.path = Some(self.text(size)?);
                Ok(())
            }
            b'K' => {
                self.next.link = Some(self.text(size)?);
                Ok(())
            }
            _ => {
                let next = std::mem::take(&mut self.next);
                self.member(header, size, next)
            }
        }
    }

    fn member(&mut self, header: &Header, size: u64, next: Extended) -> Result<()> {
        let Extended { path, link, size: told_size, mut sparse } = next;
        let path = sparse.name.take().or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let mut entry = Entry {
            name: &path,
            stored: told_size.unwrap_or(size),
            is_executable: header.mode().is_ok_and(|mode| mode & 0o100 != 0),
        };
        let kind = match kind(header) {
            b'\0' | b'0' | b'7' if path.ends_with(b"/") => b'5',
            kind => kind,
        };
        let link = || {
            let target = link.or_else(|| header.link_name_bytes().map(Cow::into_owned));
            target.unwrap_or_default()
        };
        match kind {
            b'S' => {
                let map = Map::old(self.stream, header, entry.name, entry.stored)?;
                self.sparse(&entry, &map)
            }
            b'\0' | b'0' | b'7' if sparse.is_sparse => {
                let (map, taken) = Map::pax(self.stream, &sparse, entry.name, entry.stored)?;
                entry.stored -= taken;
                self.sparse(&entry, &map)
            }
            b'\0' | b'0' | b'7' => self.file(&entry),
            b'1' | b'2' | b'5' => match (self.bare(&entry)?, kind) {
                (Some(path), b'1') => self.tree.copy(&path, &link()),
                (Some(path), b'2') => self.tree.link(&path, &link()),
                (Some(path), _) => self.tree.directory(&path),
                (None, _) => Ok(()),
            },
            b'V' => self.skip(entry.stored),
            other => Err(unknown(entry.name, other)),
        }
    }

    fn file(&mut self, entry: &Entry) -> Result<()> {
        let Some(path) = self.tree.place(entry.name)? else { return self.skip(entry.stored) };
        self.tree.charge(&path, entry.stored)?;
        let file = self.tree.file(&path, entry.is_executable)?;
        self.tree.pour(self.stream, &file, entry.stored, &path)?;
        self.padding(entry.stored)
    }

    fn sparse(&mut self, entry: &Entry, map: &Map) -> Result<()> {
        let Some(path) = self.tree.place(entry.name)? else { return self.skip(entry.stored) };
        self.tree.charge(&path, map.size)?;
        let mut file = self.tree.file(&path, entry.is_executable)?;
        let unwritten = || format!("could not write {}", quoted(&path));
        file.set_len(map.size).context(unwritten)?;
        for &(offset, length) in &map.pieces {
            file.seek(SeekFrom::Start(offset)).context(unwritten)?;
            self.tree.pour(self.stream, &file, length, &path)?;
        }
        self.padding(entry.stored)
    }

    /// Where something without contents goes, unless it stays out.
    fn bare(&mut self, entry: &Entry) -> Result<Option<PathBuf>> {
        let Some(path) = self.tree.place(entry.name)? else {
            return self.skip(entry.stored).map(|()| None);
        };
        if entry.stored > 0 {
            return Err(refused(entry.name, "it has contents, which its kind can't have"));
        }
        Ok(Some(path))
    }

    /// The contents of a header that says more of the entry to come.
    fn small(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > LONGEST {
            return Err(bad("an extended header in it is longer than 1 MiB"));
        }
        let mut contents = Vec::new();
        let read = (&mut *self.stream).take(size).read_to_end(&mut contents).map_err(unreadable)?;
        if (read as u64) < size {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        self.padding(size)?;
        Ok(contents)
    }

    /// A long name, up to the NUL that ends it.
    fn text(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut text = self.small(size)?;
        if text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn skip(&mut self, size: u64) -> Result<()> {
        self.discard(size)?;
        self.padding(size)
    }

    /// Contents fill whole blocks.
    fn padding(&mut self, size: u64) -> Result<()> {
        self.discard((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64)
    }

    fn discard(&mut self, size: u64) -> Result<()> {
        let read = io::copy(&mut (&mut *self.stream).take(size), &mut io::sink());
        match read.map_err(unreadable)? {
            all if all == size => Ok(()),
            _ => Err(unreadable(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn kind(header: &Header) -> u8 {
    header.as_old().linkflag[0]
}

fn unknown(name: &[u8], kind: u8) -> Error {
    let cause = match kind {
        b'3' | b'4' => "it is a device".into(),
        b'6' => "it is a pipe".into(),
        other => format!("it is of a kind that hostkit does not know: `{}`", other.escape_ascii()),
    };
    refused(name, cause).hint("leave out what is neither file, directory nor link")
}
