//! `hostkit status --watch`: the same page, drawn again and again.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    time::{Duration, Instant},
};

use super::{
    Context,
    status::{self, Args, Status},
};
use crate::{
    error::{Error, Result},
    names::ProjectName,
    sys::{
        relay,
        signals::{self, Changing},
        terminal::Keys,
    },
    ui::{Dashboard, Paint, document, width, write},
};

const USUAL: Duration = Duration::from_secs(2);
const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_hours(1);

/// A key is answered so soon, and so is a terminal that has become another size.
const TICK: Duration = Duration::from_millis(100);

const QUIT: u8 = b'q';
const INTERRUPT: u8 = 3;

/// Until a key, a signal, or nobody looks any more: each way to end it is a good one.
pub(super) fn run(args: &Args, cx: &mut Context) -> Result<()> {
    let every = args.every.map_or(USUAL, |wait| wait.0);
    if !(LEAST..=MOST).contains(&every) {
        return Err(Error::usage("bad_time", "`--every` wants 200ms to 1h"));
    }
    let name: Option<ProjectName> = args.name.as_deref().map(str::parse).transpose()?;
    let mut meters = Meters::default();
    let mut seen = status::gather(args, cx)?;
    meters.read(&mut seen);
    // What ends us must find the terminal put right again first.
    let _changing = Changing::begin();
    let screen = if cx.ui.voice.json { None } else { Dashboard::begin() };
    let keys = screen.as_ref().map(|_| Keys::begin());
    loop {
        let heard = match (&screen, cx.ui.voice.json) {
            (Some(screen), _) => screen.draw(&page(&seen, every)),
            (None, true) => {
                write(&document("status", name.as_ref().map(ProjectName::as_str), &seen))
            }
            (None, false) => write(&format!("{}\n", page(&seen, every))),
        };
        if !heard
            || is_over(every, keys.as_ref(), || {
                screen.as_ref().is_none_or(|screen| screen.draw(&page(&seen, every)))
            })
        {
            return Ok(());
        }
        seen = status::gather(args, cx)?;
        meters.read(&mut seen);
    }
}

fn page(seen: &Status, every: Duration) -> String {
    let paint = Paint::of(&std::io::stdout());
    let now = jiff::Timestamp::now().strftime("%H:%M:%S UTC");
    let time = if every.subsec_millis() == 0 {
        format!("{} s", every.as_secs())
    } else {
        format!("{} ms", every.as_millis())
    };
    let head = paint.dim(&format!("hostkit status, {now}, every {time}, q ends it"));
    format!("{head}\n\n{}", status::render(seen, paint))
}

/// Waits for the next turn; whether it is the last.
fn is_over(every: Duration, keys: Option<&Keys>, mut draw: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + every;
    let mut size = width();
    loop {
        let left = end.saturating_duration_since(Instant::now()).min(TICK);
        if keys.is_none() {
            std::thread::sleep(left);
        }
        let key = keys.and_then(|keys| keys.next(left));
        if matches!(key, Some(QUIT | INTERRUPT)) || signals::check().is_err() || !relay::is_heard()
        {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        let is = width();
        if is != size {
            size = is;
            if !draw() {
                return true;
            }
        }
    }
}

/// What can only be told from two looks: how much of a processor, how many requests.
#[derive(Default)]
struct Meters {
    last: Option<Instant>,
    cpu: HashMap<String, (u32, u64)>,
    logs: HashMap<String, u64>,
}

impl Meters {
    fn read(&mut self, seen: &mut Status) {
        let now = Instant::now();
        let since = self.last.replace(now).map(|last| now.duration_since(last).as_secs_f64());
        for row in &mut seen.projects {
            let cpu = row.used.map(|used| (row.main_pid, used));
            let before = match cpu {
                Some(cpu) => self.cpu.insert(row.name.clone(), cpu),
                None => self.cpu.remove(&row.name),
            };
            // Another process counts from nothing.
            let both = before.zip(cpu).filter(|(before, is)| before.0 == is.0 && before.1 <= is.1);
            row.cpu = both.zip(since).map(|((before, is), since)| {
                #[expect(clippy::cast_precision_loss, reason = "a share of a few digits")]
                let used = (is.1 - before.1) as f64;
                tenths(used / 1e9 / since * 100.0)
            });
            let requests = self.requests(&row.name);
            row.requests = requests.zip(since).map(|(n, since)| tenths(f64::from(n) / since));
        }
    }

    /// How many nginx has noted since the last look.
    fn requests(&mut self, name: &str) -> Option<u32> {
        /// Nobody counts more of a log at one time.
        const LONGEST: u64 = 8 << 20;
        let path = format!("/var/log/nginx/hostkit-{name}.access.log");
        let mut file = File::open(path).ok()?;
        let end = file.metadata().ok()?.len();
        let from = self.logs.insert(name.to_owned(), end)?;
        // One that was begun anew is read from its start.
        let from = if end < from { 0 } else { from };
        let from = from.max(end.saturating_sub(LONGEST));
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut new = Vec::new();
        file.take(end - from).read_to_end(&mut new).ok()?;
        u32::try_from(new.split(|byte| *byte == b'\n').count() - 1).ok()
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
