//! Requests without a pause, and what became of each of them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::Vps;

/// Visitors of one site: half of them keep their connection, and every other one posts.
pub struct Load {
    stop: Arc<AtomicBool>,
    visitors: Vec<JoinHandle<()>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    times: Vec<Duration>,
    failed: Vec<String>,
}

#[derive(Debug)]
pub struct Report {
    pub requests: usize,
    pub failed: Vec<String>,
    pub p99: Duration,
}

impl Load {
    /// They come by the server's own loopback: what lies between two machines is not what a deploy
    /// can lose.
    pub fn on(vps: &Vps, host: &str, visitors: usize) -> Self {
        Self::visit(vps, host, visitors, &[])
    }

    /// They only look, at these pages in turns, and as browsers do: nginx closes connections that
    /// nobody uses when it reads its configuration again, and who finds one closed takes another.
    pub fn looking(vps: &Vps, host: &str, visitors: usize, pages: &[&str]) -> Self {
        Self::visit(vps, host, visitors, pages)
    }

    fn visit(vps: &Vps, host: &str, visitors: usize, pages: &[&str]) -> Self {
        let pages: Vec<String> = pages.iter().map(|page| (*page).to_owned()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let visit = |number: usize| {
            let (stop, seen, host) = (Arc::clone(&stop), Arc::clone(&seen), host.to_owned());
            let pages = pages.clone();
            vps.spawn_inside(move || {
                let mut connection = None;
                let mut turn = number;
                while !stop.load(Ordering::SeqCst) {
                    let start = Instant::now();
                    turn += 1;
                    let page = pages.get(turn % pages.len().max(1));
                    let came = ask(&mut connection, address, &host, number, page);
                    let mut seen = seen.lock().unwrap();
                    seen.times.push(start.elapsed());
                    if let Err(why) = came {
                        seen.failed.push(why);
                    }
                    drop(seen);
                    std::thread::sleep(Duration::from_millis(4));
                }
            })
        };
        let visitors = (0..visitors).map(visit).collect();
        Self { stop, visitors, seen }
    }

    /// Sends the visitors home, and says how they fared.
    pub fn end(self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        for visitor in self.visitors {
            visitor.join().unwrap();
        }
        let Seen { mut times, failed } = std::mem::take(&mut *self.seen.lock().unwrap());
        times.sort();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        Report { requests: times.len(), failed, p99 }
    }
}

impl Report {
    pub fn assert_none_failed(&self, at_least: usize) {
        println!("{} requests, {} failed, p99 {:?}", self.requests, self.failed.len(), self.p99);
        let first: Vec<&String> = self.failed.iter().take(10).collect();
        assert!(self.failed.is_empty(), "{} of {}: {first:?}", self.failed.len(), self.requests);
        assert!(self.requests >= at_least, "hardly anybody came: {}", self.requests);
    }
}

/// One request; the connection stays open for the next where this visitor keeps it.
fn ask(
    connection: &mut Option<TcpStream>,
    address: SocketAddr,
    host: &str,
    number: usize,
    page: Option<&String>,
) -> Result<(), String> {
    let (keeps, posts) = (number.is_multiple_of(2), number % 4 >= 2 && page.is_none());
    let path = page.map_or("/", String::as_str);
    let told = |e: std::io::Error| {
        let now = jiff::Timestamp::now();
        format!("{now} visitor {number} {path}: {e}")
    };
    let is_used = connection.is_some();
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(told)?,
    };
    stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(told)?;
    let head = if posts {
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n"
    } else {
        &format!("GET {path} HTTP/1.1\r\n")
    };
    let close = if keeps { "" } else { "Connection: close\r\n" };
    let body = if posts { "a=1" } else { "" };
    let request = format!("{head}Host: {host}\r\n{close}\r\n{body}");
    let sent = stream.write_all(request.as_bytes());
    let answer = match sent.and_then(|()| answer(&mut stream)) {
        Err(e) if is_used && page.is_some() && was_closed(&e) => {
            return ask(connection, address, host, number, page);
        }
        answer => answer.map_err(told)?,
    };
    if keeps && !answer.contains("Connection: close") {
        *connection = Some(stream);
    }
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    if status == "200" {
        Ok(())
    } else {
        Err(told(std::io::Error::other(format!("status {status}"))))
    }
}

/// Whether a connection ended before the first byte of an answer.
fn was_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The head of an answer, its body read to the end.
fn answer(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            // Where the length is not told, the end of the body is the connection's end.
            if length.is_some_and(|length| bytes.len() >= at + 4 + length) {
                return Ok(head);
            }
            let n = stream.read(&mut part)?;
            if n == 0 {
                return match length {
                    None => Ok(head),
                    Some(_) => Err(std::io::Error::other("the answer was cut off")),
                };
            }
            bytes.extend_from_slice(&part[..n]);
            continue;
        }
        let n = stream.read(&mut part)?;
        if n == 0 {
            let kind = match bytes.len() {
                0 => std::io::ErrorKind::UnexpectedEof,
                _ => std::io::ErrorKind::Other,
            };
            return Err(std::io::Error::new(kind, "closed without an answer"));
        }
        bytes.extend_from_slice(&part[..n]);
    }
}
