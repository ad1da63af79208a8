//! zip: its list comes last, so the archive is kept in a file without a name meanwhile.

use std::{
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use flate2::read::DeflateDecoder;
use rawzip::{
    CompressionMethod, ErrorKind, FileReader, ZipArchive, ZipArchiveEntryWayfinder,
    ZipFileHeaderRecord,
};

use super::{bad, named, path, refused, tree::Tree, unreadable};
use crate::error::{Context, Error, Result};

const KIND: u32 = 0o170_000;

pub(super) fn unpack(input: &mut dyn Read, tree: &mut Tree) -> Result<()> {
    let mut kept = tree.scratch()?;
    let mut buffer = vec![0; rawzip::MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => kept
                .write_all(&buffer[..n])
                .context(|| "could not keep the archive for unpacking".into())?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    let archive = ZipArchive::from_file(kept, &mut buffer).map_err(broken)?;
    let mut entries = archive.entries(&mut buffer);
    let mut seen = 0_u64;
    while let Some(record) = entries.next_entry().map_err(broken)? {
        seen += 1;
        Entry { record: &record, archive: &archive }.unpack(tree)?;
    }
    // Without zip64 there are sixteen bits to say how many there are.
    if seen & 0xffff != archive.entries_hint() & 0xffff {
        return Err(bad("its list of files is not complete"));
    }
    Ok(())
}

struct Entry<'e> {
    record: &'e ZipFileHeaderRecord<'e>,
    archive: &'e ZipArchive<FileReader>,
}

impl Entry<'_> {
    fn unpack(&self, tree: &mut Tree) -> Result<()> {
        let path = self.record.file_path();
        let name = path.as_bytes();
        if name.contains(&b'\\') {
            return Err(refused(name, "its path has a backslash in it"));
        }
        let Some(path) = tree.place(name)? else { return Ok(()) };
        let mode = self.record.mode().value();
        if name.ends_with(b"/") || mode & KIND == 0o040_000 {
            return tree.directory(&path);
        }
        let flags = self.record.flags();
        if flags.is_encrypted() || flags.has_strong_encryption() {
            return Err(refused(name, "it is encrypted").hint("pack it without a password"));
        }
        match mode & KIND {
            0 | 0o100_000 => self.file(&path, mode & 0o100 != 0, tree),
            0o120_000 => self.link(&path, tree),
            _ => Err(refused(name, "it is neither file, directory nor link")
                .hint("leave out what is neither file, directory nor link")),
        }
    }

    fn file(&self, path: &Path, is_executable: bool, tree: &mut Tree) -> Result<()> {
        let size = self.size();
        tree.charge(path, size)?;
        let file = tree.file(path, is_executable)?;
        let mut contents = self.contents()?;
        tree.pour(&mut contents, &file, size, path)?;
        end(&mut contents, path)
    }

    fn link(&self, path: &Path, tree: &mut Tree) -> Result<()> {
        let mut target = Vec::new();
        if self.size() > path::LONGEST_PATH as u64 {
            return Err(refused(self.record.file_path().as_bytes(), "its target is too long"));
        }
        let mut contents = self.contents()?;
        (&mut contents)
            .take(self.size())
            .read_to_end(&mut target)
            .map_err(|e| named(unreadable(e), path))?;
        end(&mut contents, path)?;
        tree.link(path, &target)
    }

    fn size(&self) -> u64 {
        self.record.uncompressed_size_hint()
    }

    /// The contents, which turn into an error where they are not as long as was said, or others.
    fn contents(&self) -> Result<Box<dyn Read + '_>> {
        let method = self.record.compression_method();
        let entry: ZipArchiveEntryWayfinder = self.record.wayfinder();
        let entry = self.archive.get_entry(entry).map_err(broken)?;
        match method {
            CompressionMethod::STORE => Ok(Box::new(entry.verifying_reader(entry.reader()))),
            CompressionMethod::DEFLATE => {
                Ok(Box::new(entry.verifying_reader(DeflateDecoder::new(entry.reader()))))
            }
            _ => {
                let name = self.record.file_path();
                Err(refused(name.as_bytes(), format!("it is compressed with {method}"))
                    .hint("pack it with `zip` or `tar` as they come"))
            }
        }
    }
}

/// Nothing may follow: an empty file, too, is compared with what the list says of it.
fn end(contents: &mut dyn Read, path: &Path) -> Result<()> {
    match contents.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(refused(path.as_os_str().as_bytes(), "it is longer than it says")),
        Err(e) => Err(named(unreadable(e), path)),
    }
}

fn broken(error: rawzip::Error) -> Error {
    match error.into_kind() {
        ErrorKind::IO(e) => unreadable(e),
        ErrorKind::Eof => unreadable(io::ErrorKind::UnexpectedEof.into()),
        ErrorKind::MissingEndOfCentralDirectory => {
            bad("it has no list of files at its end").hint("send it again, as a whole")
        }
        other => bad(other),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::DeflateEncoder};
    use rawzip::{ZipArchiveWriter, path::EntryPath};

    use super::*;
    use crate::archive::samples::{Place, cause, unpacked};

    /// Entries by name, mode and contents; a name that ends in a slash is a directory.
    fn zip(entries: &[(&[u8], u32, &[u8])]) -> Vec<u8> {
        let mut archive = ZipArchiveWriter::new(Vec::new());
        for (name, mode, contents) in entries {
            let (mut entry, config) = archive
                .new_file(EntryPath::verbatim(*name))
                .compression_method(CompressionMethod::DEFLATE)
                .unix_permissions(*mode)
                .start()
                .unwrap();
            let encoder = DeflateEncoder::new(&mut entry, Compression::default());
            let mut writer = config.wrap(encoder);
            writer.write_all(contents).unwrap();
            let (encoder, descriptor) = writer.finish().unwrap();
            encoder.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap()
    }

    /// Where the record of the first entry in the list of files begins.
    fn record(archive: &[u8]) -> usize {
        archive.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap()
    }

    #[test]
    fn files_directories_and_links() {
        let archive = zip(&[
            (b"top/", 0o40_700, b""),
            (b"top/a", 0o104_755, b"one"),
            (b"top/b/c", 0o100_666, b"two"),
            (b"top/l", 0o120_777, b"b/c"),
            (b"top/\xff\n", 0, b""),
            (b"top/a", 0o100_644, b"three"),
            (b"__MACOSX/._a", 0o100_644, b"x"),
        ]);
        let expected = ["\\xff\\n 644 ", "a 644 three", "b/ 755", "b/c 644 two", "l -> b/c"];
        assert_eq!(unpacked(&archive), expected);
        assert_eq!(unpacked(&zip(&[])), [""; 0]);
    }

    #[test]
    fn names_and_links_lead_nowhere_else() {
        let one = |name: &[u8], mode, contents: &[u8]| cause(&zip(&[(name, mode, contents)]));
        assert_eq!(one(b"../x", 0o100_644, b""), "its path has `..` in it");
        assert_eq!(one(b"/x", 0o100_644, b""), "its path is absolute");
        assert_eq!(one(b"/", 0o40_755, b""), "its path is absolute");
        assert_eq!(one(b"..\\x", 0o100_644, b""), "its path has a backslash in it");
        assert_eq!(one(b"a\0b", 0o100_644, b""), "its path has a NUL in it");
        let out = "it is a link that leads out of the archive";
        assert_eq!(one(b"a/b", 0o120_777, b"../../x"), out);
        assert_eq!(one(b"a/b", 0o120_777, b"/etc"), "its path is absolute");
        assert_eq!(one(b"a", 0o120_777, &[b'a'; 5000]), "its target is too long");
        assert_eq!(one(b"a", 0o10_644, b""), "it is neither file, directory nor link");
        assert_eq!(one(b"a", 0o60_644, b""), "it is neither file, directory nor link");
        assert_eq!(one(b"a", 0o140_644, b""), "it is neither file, directory nor link");
        let through = zip(&[(b"d/x", 0o100_644, b""), (b"l", 0o120_777, b"d"), (b"l/x", 0, b"")]);
        assert_eq!(cause(&through), "a link stands where it needs a directory");
    }

    #[test]
    fn limits_hold_whatever_the_list_says() {
        let big = vec![0; 50_001];
        assert_eq!(cause(&zip(&[(b"a", 0, &big)])), "it is larger than 50000 bytes");
        let three = [&b"a"[..], b"b", b"c"].map(|name| (name, 0, &big[..40_000]));
        let much = "the archive's files come to more than 100000 bytes";
        assert_eq!(cause(&zip(&three)), much);
        let names: Vec<_> = (0..21).map(|n| format!("{n}")).collect();
        let many: Vec<_> = names.iter().map(|n| (n.as_bytes(), 0, &b""[..])).collect();
        assert_eq!(cause(&zip(&many)), "the archive holds more than 20 files and directories");

        let mut lying = zip(&[(b"a", 0, &big)]);
        let size = record(&lying) + 24;
        for said in [0_u32, 1, 49_999] {
            lying[size..size + 4].copy_from_slice(&said.to_le_bytes());
            assert!(cause(&lying).starts_with("Invalid"));
        }
        let long = [zip(&[(b"a", 0, b"")]), vec![0; 2 << 20]].concat();
        assert!(cause(&long).starts_with("it comes to more than"));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let archive = zip(&[(b"a", 0, b"contents"), (b"b", 0, b"")]);
        let changed = |offset: usize, bit: u8| {
            let mut archive = archive.clone();
            let at = record(&archive) + offset;
            archive[at] ^= bit;
            archive
        };
        assert_eq!(cause(&changed(8, 1)), "it is encrypted");
        assert_eq!(cause(&changed(8, 0x40)), "it is encrypted");
        assert_eq!(cause(&changed(10, 0x08 ^ 0x5d)), "it is compressed with 93 (ZSTD)");
        assert!(cause(&changed(16, 1)).starts_with("Invalid checksum"));
        for length in 4..archive.len() {
            assert!(Place::new().unpack(&archive[..length]).is_err(), "{length}");
        }
        let mut fewer = archive.clone();
        let end = fewer.len() - 22;
        fewer[end + 10] = 1;
        assert_eq!(cause(&fewer), "its list of files is not complete");
    }

    #[test]
    fn no_copy_of_the_archive_is_left() {
        let place = Place::new();
        place.unpack(&zip(&[(b"a", 0, b""), (b".hostkit-archive", 0, b"x")])).unwrap();
        assert_eq!(place.holds(), [".hostkit-archive 644 x", "a 644 "]);
    }
}
