//! One request and its answer over a connection, by one deadline for all of it.
//!
//! Who answers is a project's program: it may send a byte now and then, and never end.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use super::signals;
use crate::error::{Context, Result};

/// An answer is read up to here.
const LONGEST: usize = 64 << 10;

/// No wait is longer, so that a signal is heeded soon.
const SLICE: Duration = Duration::from_millis(250);

pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    /// What is left of it. Never zero, which a socket would take for no limit.
    pub(super) fn left(&self) -> io::Result<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, "it took too long"));
        }
        // Sockets count in microseconds, and would round less than one down to none.
        Ok(left.max(Duration::from_millis(1)))
    }

    fn slice(&self) -> io::Result<Duration> {
        self.left().map(|left| left.min(SLICE))
    }
}

pub(super) trait Connection: Read + Write {
    fn wait_at_most(&self, limit: Duration) -> io::Result<()>;
}

impl Connection for TcpStream {
    fn wait_at_most(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }
}

impl Connection for UnixStream {
    fn wait_at_most(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))?;
        self.set_write_timeout(Some(limit))
    }
}

/// Connects to a socket, also where a full queue would make that wait for ever.
pub(super) fn connect(
    socket: &Path,
    deadline: &Deadline,
    failed: impl Fn() -> String,
) -> Result<UnixStream> {
    let stream = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    let stream = UnixStream::from(stream.context(&failed)?);
    let address = SocketAddrUnix::new(socket).context(&failed)?;
    patiently(&failed, || {
        // The limit for sending is the one for connecting, too.
        sockopt::set_socket_timeout(&stream, sockopt::Timeout::Send, Some(deadline.slice()?))?;
        Ok(rustix::net::connect(&stream, &address)?)
    })?;
    Ok(stream)
}

/// Sends a request and reads what comes until the other side ends it, or it is long enough.
pub(super) fn exchange(
    stream: &mut impl Connection,
    request: &[u8],
    deadline: &Deadline,
    failed: impl Fn() -> String,
) -> Result<Vec<u8>> {
    exchange_within(LONGEST, stream, request, deadline, failed)
}

/// As [`exchange`], where an answer may be longer or has to be shorter.
pub(super) fn exchange_within(
    longest: usize,
    stream: &mut impl Connection,
    request: &[u8],
    deadline: &Deadline,
    failed: impl Fn() -> String,
) -> Result<Vec<u8>> {
    let mut rest = request;
    while !rest.is_empty() {
        let sent = patiently(&failed, || {
            stream.wait_at_most(deadline.slice()?)?;
            match stream.write(rest)? {
                0 => Err(ErrorKind::WriteZero.into()),
                sent => Ok(sent),
            }
        })?;
        rest = &rest[sent..];
    }
    let mut answer = Vec::new();
    let mut part = [0; 8 << 10];
    while answer.len() < longest {
        let came = patiently(&failed, || {
            stream.wait_at_most(deadline.slice()?)?;
            stream.read(&mut part)
        })?;
        if came == 0 {
            break;
        }
        answer.extend(&part[..came]);
    }
    answer.truncate(longest);
    Ok(answer)
}

/// Tries again while a slice of the time runs out. A signal is looked for only then: an undo asks
/// too after one has come, and whoever answers it at once is to be heard.
fn patiently<T>(
    failed: impl Fn() -> String,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Result<T> {
    loop {
        match attempt() {
            Err(e) if e.kind() == ErrorKind::WouldBlock => signals::check()?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done.context(failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener, thread};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(700);

    /// Sends a byte now and then, for as long as anybody listens.
    fn trickle(mut stream: impl Write) {
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn assert_given_up<T>(ask: impl FnOnce(&Deadline) -> Result<T>) {
        let start = Instant::now();
        let error = ask(&Deadline::after(LIMIT)).err().unwrap();
        assert!(error.cause.unwrap().contains("it took too long"));
        assert!(start.elapsed() >= LIMIT);
    }

    #[test]
    fn a_port_that_trickles_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || trickle(listener.accept().unwrap().0));
        assert_given_up(|deadline| {
            let mut stream = TcpStream::connect(address).unwrap();
            exchange(&mut stream, b"GET /", deadline, String::new)
        });
    }

    #[test]
    fn a_socket_that_trickles_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("php.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || trickle(listener.accept().unwrap().0));
        assert_given_up(|deadline| {
            let mut stream = connect(&path, deadline, String::new)?;
            exchange(&mut stream, b"GET /", deadline, String::new)
        });
    }

    #[test]
    fn a_socket_that_reads_nothing_is_given_up() {
        let (mut ours, _theirs) = UnixStream::pair().unwrap();
        let long = vec![b'x'; 8 << 20];
        assert_given_up(|deadline| exchange(&mut ours, &long, deadline, String::new));
    }

    #[test]
    fn a_socket_with_a_full_queue_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("php.sock");
        let listener = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let deadline = Deadline::after(LIMIT);
        let _first = connect(&path, &deadline, String::new).unwrap();
        assert_given_up(|deadline| connect(&path, deadline, String::new));
    }

    #[test]
    fn an_answer_without_an_end_is_cut() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        thread::spawn(move || while theirs.write_all(&[b'x'; 4096]).is_ok() {});
        let deadline = Deadline::after(Duration::from_secs(10));
        let answer = exchange(&mut ours, b"GET /", &deadline, String::new).unwrap();
        assert_eq!(answer.len(), LONGEST);
    }
}
