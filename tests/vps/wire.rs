//! HTTP/1.1 and websockets by hand: a test has to see each byte that is missing.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A connection to a web server. It may be used for one request after the other.
pub struct Wire {
    stream: TcpStream,
    host: String,
    rest: Vec<u8>,
}

/// What an answer begins with, and how its body ends.
pub struct Head {
    pub status: u16,
    pub is_last: bool,
    length: Option<usize>,
    is_chunked: bool,
}

pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    /// Whole lines, each with its end.
    pub headers: &'a str,
    pub body: &'a str,
}

impl Wire {
    /// Nothing may keep silent for longer than `patience`.
    pub fn open(address: SocketAddr, host: &str, patience: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience.min(Duration::from_secs(5)))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: host.to_owned(), rest: Vec::new() })
    }

    /// The whole answer to a request.
    pub fn ask(&mut self, request: &Request<'_>) -> Result<(Head, String)> {
        let head = self.begin(request)?;
        let mut body = Vec::new();
        while let Some(more) = self.more(&head, body.len())? {
            body.extend_from_slice(&more);
        }
        Ok((head, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Sends a request and reads the head of the answer.
    pub fn begin(&mut self, request: &Request<'_>) -> Result<Head> {
        let Request { method, path, headers, body } = request;
        let length = match body.len() {
            0 => String::new(),
            length => format!("Content-Length: {length}\r\n"),
        };
        let host = &self.host;
        let text =
            format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}\r\n{body}");
        self.stream.write_all(text.as_bytes())?;
        let text = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..at + 4).collect();
                break String::from_utf8_lossy(&head).into_owned();
            }
            if self.fill()? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed without an answer"));
            }
        };
        let value = |name: &str| {
            let of = |line: &str| {
                let (is, value) = line.split_once(':')?;
                is.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
            };
            text.lines().find_map(of)
        };
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let is_empty = matches!(status, 101 | 204 | 304);
        Ok(Head {
            status,
            length: if is_empty {
                Some(0)
            } else {
                value("content-length").and_then(|n| n.parse().ok())
            },
            is_chunked: value("transfer-encoding").as_deref() == Some("chunked"),
            is_last: value("connection").as_deref() == Some("close"),
        })
    }

    /// The next piece of a body of which so much was read; none at its proper end.
    pub fn more(&mut self, head: &Head, read: usize) -> Result<Option<Vec<u8>>> {
        if head.is_chunked {
            return self.chunk();
        }
        match head.length {
            Some(length) if read >= length => Ok(None),
            Some(length) => self.exactly((length - read).min(1 << 16)).map(Some),
            None if self.rest.is_empty() && self.fill()? == 0 => Ok(None),
            None => Ok(Some(std::mem::take(&mut self.rest))),
        }
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let at = loop {
            match self.rest.windows(2).position(|two| two == b"\r\n") {
                Some(at) => break at,
                None if self.fill()? == 0 => return Err(cut()),
                None => {}
            }
        };
        let line: Vec<u8> = self.rest.drain(..at + 2).collect();
        let size = String::from_utf8_lossy(&line[..at]).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| Error::other(size))?;
        let mut bytes = self.exactly(size + 2)?;
        bytes.truncate(size);
        Ok((size > 0).then_some(bytes))
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.rest.len() < length {
            if self.fill()? == 0 {
                return Err(cut());
            }
        }
        Ok(self.rest.drain(..length).collect())
    }

    fn fill(&mut self) -> Result<usize> {
        let mut part = [0; 8192];
        let n = self.stream.read(&mut part)?;
        self.rest.extend_from_slice(&part[..n]);
        Ok(n)
    }

    /// Says something on a websocket.
    pub fn say(&mut self, text: &str) -> Result<()> {
        // A mask of zeros leaves the text as it is.
        let length = u8::try_from(text.len()).ok().filter(|n| *n < 126).ok_or_else(cut)?;
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
        self.stream.write_all(&frame)
    }

    /// What is said next on a websocket; none when the other side has closed it, as one should.
    pub fn hear(&mut self) -> Result<Option<String>> {
        let head = self.exactly(2)?;
        let length = match head[1] & 0x7f {
            126 => self.exactly(2)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            127 => self.exactly(8)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            length => usize::from(length),
        };
        let payload = self.exactly(length)?;
        match head[0] & 0x0f {
            8 => Ok(None),
            9 => {
                let pong = [&[0x8a, 0x80 | head[1] & 0x7f, 0, 0, 0, 0], &payload[..]].concat();
                self.stream.write_all(&pong)?;
                self.hear()
            }
            _ => Ok(Some(String::from_utf8_lossy(&payload).into_owned())),
        }
    }
}

fn cut() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "it was cut off")
}
