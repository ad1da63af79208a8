//! Several tar archives as one: each without its end, and then one end.

use std::io::{self, Read, Write};

use super::tar::{BLOCK, is_header};

/// Copies the entries of an archive that git made; what comes after its end is left.
pub fn append(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut block = [0; BLOCK];
    loop {
        from.read_exact(&mut block)?;
        if block.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let size = ::tar::Header::from_byte_slice(&block).entry_size()?;
        if !is_header(&block) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no tar archive"));
        }
        to.write_all(&block)?;
        let whole = size.div_ceil(BLOCK as u64) * BLOCK as u64;
        if io::copy(&mut from.by_ref().take(whole), to)? < whole {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The end of an archive.
pub fn end(to: &mut impl Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, text: &[u8]) -> Vec<u8> {
        let mut made = ::tar::Builder::new(Vec::new());
        let mut header = ::tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        made.append_data(&mut header, name, text).unwrap();
        made.into_inner().unwrap()
    }

    #[test]
    fn two_archives_are_read_as_one() {
        let mut both = Vec::new();
        append(&archive("a", b"one")[..], &mut both).unwrap();
        append(&archive("b", &[7; 513])[..], &mut both).unwrap();
        end(&mut both).unwrap();
        let mut read = ::tar::Archive::new(&both[..]);
        let sizes: Vec<u64> = read.entries().unwrap().map(|e| e.unwrap().size()).collect();
        assert_eq!(sizes, [3, 513]);
        assert!(append(&archive("a", b"one")[..600], &mut Vec::new()).is_err());
        assert!(append(&[1; 512][..], &mut Vec::new()).is_err());
    }
}
