//! Streams: what an archive is, what is compressed in it, and where reading it must end.

use std::{
    error,
    io::{self, BufRead, Read},
};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError::ReadFrameHeaderError as Header, ReadFrameHeaderError},
};

use super::{amount, bad, tar::is_header};
use crate::error::Result;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    Gzip,
    Tar,
    Zip,
    Zstd,
}

impl Format {
    /// Told by the first 512 bytes.
    pub(super) fn of(head: &[u8]) -> Result<Self> {
        let other = match head {
            [] => return Err(bad("there is nothing in it")),
            [0x1f, 0x8b, ..] => return Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                return Ok(Self::Zstd);
            }
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => return Ok(Self::Zip),
            _ if is_header(head) => return Ok(Self::Tar),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
            [b'B', b'Z', b'h', ..] => "bzip2",
            [b'7', b'z', 0xbc, 0xaf, ..] => "7z",
            [b'R', b'a', b'r', b'!', ..] => "rar",
            _ => return Err(bad("it is none of tar, tar.gz, tar.zst and zip")),
        };
        Err(bad(format!("it is {other}, and none of tar, tar.gz, tar.zst and zip")))
    }
}

/// A stream that ends in an error where it goes on for too long.
pub(super) struct Capped<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R> Capped<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, limit, left: limit }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            io::Error::other(format!("it comes to more than {}", amount(self.limit)))
        })?;
        Ok(n)
    }
}

/// All members of a gzip stream, up to its end or to what is no member.
pub(super) struct Gzip<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { member: Some(GzDecoder::new(inner)) }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let Some(mut rest) = self.member.take().map(GzDecoder::into_inner) else { break };
            if matches!(rest.fill_buf()?, [0x1f] | [0x1f, 0x8b, ..]) {
                self.member = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

/// All frames of a Zstandard stream, up to its end or to what is no frame.
pub(super) struct Zstd<R> {
    inner: R,
    frame: FrameDecoder,
    is_over: bool,
}

impl<R: Read> Zstd<R> {
    pub(super) fn new(inner: R) -> Self {
        // It takes windows up to 128 MiB, as `zstd` itself does.
        Self { inner, frame: FrameDecoder::new(), is_over: false }
    }

    /// Goes on to the next frame, if there is one.
    fn next_frame(&mut self) -> io::Result<()> {
        if let Some(told) = self.frame.get_checksum_from_data()
            && self.frame.get_calculated_checksum() != Some(told)
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        match self.frame.init(&mut self.inner) {
            Ok(()) => Ok(()),
            Err(Header(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut (&mut self.inner).take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.frame = FrameDecoder::new();
                Ok(())
            }
            Err(Header(ReadFrameHeaderError::MagicNumberReadError(e))) => {
                self.is_over = true;
                if e.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(e) }
            }
            Err(Header(ReadFrameHeaderError::BadMagicNumber(_))) => {
                self.is_over = true;
                Ok(())
            }
            Err(e) => Err(innermost(&e)),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.is_over {
            if self.frame.can_collect() > 0 {
                return self.frame.read(buffer);
            }
            if self.frame.is_finished() {
                self.next_frame()?;
            } else {
                self.frame
                    .decode_blocks(&mut self.inner, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|e| innermost(&e))?;
            }
        }
        Ok(0)
    }
}

/// The decoder wraps what reading said; what counts is the word inside.
fn innermost(error: &(dyn error::Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            return match io.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(io.kind(), io.to_string()),
            };
        }
        cause = e.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
