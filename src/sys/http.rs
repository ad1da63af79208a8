//! One plain request to a port of this machine: its own web server, or an app that has to be up.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use super::exchange::{Deadline, exchange, exchange_within};
use crate::{
    error::{Context, Error, Result},
    names::Domain,
};

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub(super) fn new(status: u16, head: &str, body: &str) -> Self {
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}

/// Asks port 80 of this machine for a path of a site.
pub fn get(domain: &Domain, path: &str, limit: Duration) -> Result<Answer> {
    ask(80, domain, path, limit)
}

/// Asks a port of this machine for a path, in the name of a domain.
pub fn ask(port: u16, domain: &Domain, path: &str, limit: Duration) -> Result<Answer> {
    ask_at(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), domain, path, limit)
}

/// As [`ask`], wherever it is that answers.
pub(super) fn ask_at(
    address: SocketAddr,
    domain: &Domain,
    path: &str,
    limit: Duration,
) -> Result<Answer> {
    let failed = || match address.port() {
        80 => format!("could not ask the web server for `http://{domain}{path}`"),
        port => format!("port {port} does not answer `GET {path}`"),
    };
    let deadline = Deadline::after(limit);
    let mut stream = TcpStream::connect_timeout(&address, limit).context(failed)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {domain}\r\nUser-Agent: hostkit\r\nConnection: close\r\n\r\n"
    );
    let bytes = exchange(&mut stream, request.as_bytes(), &deadline, failed)?;
    read(&bytes, failed)
}

/// Asks a service of the server's own, whose answers may be so long.
pub fn ask_service(port: u16, path: &str, longest: usize, limit: Duration) -> Result<Answer> {
    let failed = || format!("port {port} does not answer");
    let deadline = Deadline::after(limit);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit).context(failed)?;
    // By that version an answer comes in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: hostkit\r\n\r\n");
    let bytes = exchange_within(longest, &mut stream, request.as_bytes(), &deadline, failed)?;
    if bytes.len() == longest {
        return Err(
            Error::failed(failed()).caused_by(format!("its answer is {longest} bytes or more"))
        );
    }
    read(&bytes, failed)
}

fn read(bytes: &[u8], failed: impl Fn() -> String) -> Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| {
        Error::failed(failed()).caused_by("it closed the connection without an answer")
    })?;
    Ok(Answer::new(status, head, body))
}
