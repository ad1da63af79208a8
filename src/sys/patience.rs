//! Ends a hostkit whose caller says nothing for too long. It has begun nothing by then.

use std::{
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::error::Kind;

/// Waits for a caller's input, in a thread of its own since a read can't be told to give up.
pub struct Patience {
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Patience {
    /// Gives up after `idle` without a word, and after `whole` in any case, with that message.
    pub fn begin(idle: Duration, whole: Duration, message: &'static str) -> Self {
        let heard = Arc::new(Mutex::new(Some(Instant::now())));
        let last = Arc::clone(&heard);
        let start = Instant::now();
        std::thread::spawn(move || {
            loop {
                // Gone when it is heard no more; and nobody who says so waits while this sleeps.
                let Some(at) = *lock(&last) else { return };
                if at.elapsed() > idle || start.elapsed() > whole {
                    let _ = writeln!(std::io::stderr(), "error: {message}");
                    std::process::exit(i32::from(Kind::Usage.exit_code()));
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { heard }
    }

    /// Something came.
    pub fn more(&self) {
        *lock(&self.heard) = Some(Instant::now());
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        *lock(&self.heard) = None;
    }
}

fn lock(heard: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
