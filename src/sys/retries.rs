//! For how long a program may try again and again.

use std::time::{Duration, Instant};

/// What it says whenever it does, and for how long that may go on.
#[derive(Clone, Copy)]
pub struct Retries {
    pub words: &'static str,
    pub limit: Duration,
}

/// A program that is listened to.
pub(super) struct Listener {
    retries: Option<Retries>,
    /// When its trouble began, and when it was told last.
    trouble: Option<(Instant, Instant)>,
}

impl Listener {
    pub(super) fn new(retries: Option<Retries>) -> Self {
        Self { retries, trouble: None }
    }

    /// Whether what is heard now is once too often. Who was silent for long has got over it.
    pub(super) fn is_too_much(&mut self, heard: &[u8], now: Instant) -> bool {
        let Some(Retries { words, limit }) = self.retries else { return false };
        if !String::from_utf8_lossy(heard).contains(words) {
            return false;
        }
        let since = match self.trouble {
            Some((since, last)) if now.duration_since(last) < 2 * limit => since,
            _ => now,
        };
        self.trouble = Some((since, now));
        now.duration_since(since) >= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_goes_on_is_too_much_and_one_that_passed_is_none() {
        let limit = Duration::from_secs(50);
        let mut listener = Listener::new(Some(Retries { words: "trying again", limit }));
        let start = Instant::now();
        let mut at = |seconds, words: &str| {
            listener.is_too_much(words.as_bytes(), start + Duration::from_secs(seconds))
        };
        assert!(!at(0, "trying again in 1 s") && !at(49, "trying again") && !at(60, "well"));
        assert!(at(61, "refused, trying again"));
        assert!(!at(200, "trying again") && !at(220, "trying again") && at(250, "trying again"));
        let mut deaf = Listener::new(None);
        assert!(!deaf.is_too_much(b"trying again", start));
    }
}
