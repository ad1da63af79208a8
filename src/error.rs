//! The one error type: what went wrong, why, and what to do next.

use std::{error, fmt, io};

use serde::Serialize;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whose turn it is now. Decides the exit code, so scripts can branch on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The host said no; what we had done is undone.
    Failed,
    /// The request can't be carried out as written.
    Usage,
    /// No such project, release, key, …
    Missing,
    /// It exists already, or something stands where it should go.
    Conflict,
    /// The caller may not do this.
    Forbidden,
    /// It came up and did not stay up.
    Unhealthy,
    /// Somebody else is at it.
    Locked,
    /// The server lacks something that hostkit needs.
    NotReady,
    /// The host said no and so did the undo. A person must look.
    Stuck,
    /// A signal asked us to stop; what we had done is undone.
    Interrupted(i32),
}

impl Kind {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Missing => 3,
            Self::Conflict => 4,
            Self::Forbidden => 5,
            Self::Unhealthy => 6,
            Self::Locked => 7,
            Self::NotReady => 8,
            Self::Stuck => 9,
            Self::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// A stable code for scripts, and three lines for people: what, why, what next.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub code: &'static str,
    pub message: String,
    pub cause: Option<String>,
    pub hint: Option<String>,
    /// Line and column of the text that is at fault.
    pub place: Option<(u32, u32)>,
}

impl Error {
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), cause: None, hint: None, place: None }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, "failed", message)
    }

    pub fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, code, message)
    }

    pub fn missing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Missing, code, message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, code, message)
    }

    pub fn not_ready(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::NotReady, code, message)
    }

    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn coded(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    pub fn report(&self) -> Report<'_> {
        let Self { kind: _, code, message, cause, hint, place: _ } = self;
        Report { code, message, cause: cause.as_deref(), hint: hint.as_deref() }
    }
}

/// What `--json` prints of an error.
#[derive(Serialize)]
pub struct Report<'a> {
    pub code: &'a str,
    pub message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<&'a str>,
}

impl fmt::Display for Error {
    /// One line: where an error is the cause of another, or a line of a journal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Some(cause) => write!(f, "{}: {cause}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl error::Error for Error {}

/// Names what could not be done, and keeps the system's own word for why.
pub trait Context<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| {
            let e: io::Error = e.into();
            let error = Error::failed(message()).caused_by(plain(&e));
            match e.raw_os_error() {
                Some(code) if code == rustix::io::Errno::NOSPC.raw_os_error() => error
                    .coded("disk_full")
                    .hint("make room on that file system (`df -h`, `df -i`), then run the command again"),
                Some(code) if code == rustix::io::Errno::DQUOT.raw_os_error() => {
                    error.coded("disk_full").hint("raise the quota, then run the command again")
                }
                _ => error,
            }
        })
    }
}

/// The system's sentence without Rust's "(os error 28)".
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    match text.split_once(" (os error") {
        Some((sentence, _)) => sentence.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_documented_exit_code() {
        let codes = [
            (Kind::Failed, 1),
            (Kind::Usage, 2),
            (Kind::Missing, 3),
            (Kind::Conflict, 4),
            (Kind::Forbidden, 5),
            (Kind::Unhealthy, 6),
            (Kind::Locked, 7),
            (Kind::NotReady, 8),
            (Kind::Stuck, 9),
            (Kind::Interrupted(2), 130),
            (Kind::Interrupted(15), 143),
        ];
        for (kind, code) in codes {
            assert_eq!(kind.exit_code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full: Result<(), io::Error> = Err(io::Error::from_raw_os_error(28));
        let error = full.context(|| "could not write `/etc/x`".into()).unwrap_err();
        assert_eq!(error.code, "disk_full");
        assert_eq!(error.cause.as_deref(), Some("no space left on device"));
        assert!(error.hint.is_some());
    }
}
