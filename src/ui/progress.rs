//! What is being done: live lines on a terminal, the same lines once each in a pipe.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use console::{measure_text_width, truncate_str};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Paint, Voice, elapsed};
use crate::plan::{Part, Progress};

pub(super) struct Screen {
    voice: Voice,
    paint: Paint,
    is_live: bool,
    parts: Vec<Part>,
    live: MultiProgress,
    bars: Vec<Option<ProgressBar>>,
    /// Lines of parts that have ended, until those before them have.
    ended: Vec<Option<String>>,
    next: usize,
    below: Option<ProgressBar>,
    quiet_since: Instant,
}

const TICK: Duration = Duration::from_millis(100);

impl Screen {
    pub(super) fn new(voice: Voice) -> Self {
        let stderr = std::io::stderr();
        Self {
            voice,
            paint: Paint::of(&stderr),
            is_live: stderr.is_terminal() && !voice.quiet,
            parts: Vec::new(),
            live: MultiProgress::new(),
            bars: Vec::new(),
            ended: Vec::new(),
            next: 0,
            below: None,
            quiet_since: Instant::now(),
        }
    }

    /// How long to wait for news before the spinners move.
    pub(super) fn pause(&self) -> Option<Duration> {
        let moving = self.below.is_some() || self.bars.iter().any(Option::is_some);
        (self.is_live && moving).then_some(TICK)
    }

    pub(super) fn tick(&self) {
        for bar in self.bars.iter().flatten().chain(&self.below) {
            bar.tick();
        }
    }

    pub(super) fn head(&mut self, text: &str) {
        self.line(&format!("{text}\n"));
    }

    pub(super) fn parts(&mut self, parts: Vec<Part>) {
        self.clear();
        self.bars = parts.iter().map(|_| None).collect();
        self.ended = parts.iter().map(|_| None).collect();
        self.next = 0;
        self.parts = parts;
        self.quiet_since = Instant::now();
    }

    pub(super) fn note(&mut self, text: &str) {
        let mark = self.paint.yellow("note:");
        self.line(&format!("{mark} {text}"));
    }

    pub(super) fn progress(&mut self, progress: &Progress) {
        match progress {
            Progress::Started { part } => self.start(*part),
            Progress::Done { part, took } => {
                let text = self.part_line(*part, &self.paint.check(), Some(*took));
                self.end(*part, &text);
            }
            Progress::Failed { part } => {
                let text = self.part_line(*part, &self.paint.cross(), None);
                self.end(*part, &text);
            }
            Progress::Said { line } => {
                if self.voice.verbose {
                    self.line(&format!("    {line}"));
                } else {
                    self.waiting_for(&self.paint.dim(line));
                }
            }
            Progress::Settling { what } => {
                self.flush();
                self.waiting_for(what);
            }
            Progress::Undoing => {
                self.clear();
                let text = self.paint.yellow("undoing what was done …");
                self.line(&format!("  {text}"));
            }
            Progress::Removing { what } => {
                if self.is_live {
                    self.waiting_for(&format!("removing {what}"));
                } else if self.voice.verbose {
                    self.line(&format!("  removing {what}"));
                }
            }
        }
    }

    /// The result, on standard output, when all that moves has gone.
    pub(super) fn data(&mut self, text: &str) {
        self.clear();
        let mut out = std::io::stdout();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    pub(super) fn clear(&mut self) {
        self.flush();
        for bar in self.bars.iter_mut().filter_map(Option::take).chain(self.below.take()) {
            bar.finish_and_clear();
        }
    }

    fn start(&mut self, part: usize) {
        if self.is_live
            && let Some(slot) = self.bars.get_mut(part)
        {
            let bar = self.live.add(spinner(self.paint));
            let Part { title, detail } = &self.parts[part];
            bar.set_message(format!("{title:<28}  {detail}"));
            bar.tick();
            *slot = Some(bar);
        }
    }

    fn end(&mut self, part: usize, text: &str) {
        if let Some(bar) = self.bars.get_mut(part).and_then(Option::take) {
            bar.finish_and_clear();
        }
        if let Some(slot) = self.ended.get_mut(part) {
            *slot = Some(text.to_owned());
        }
        // In the plan's order, however the lanes raced.
        while let Some(line) = self.ended.get_mut(self.next).and_then(Option::take) {
            self.line(&line);
            self.next += 1;
        }
    }

    /// Prints the lines that waited for a part with nothing to do.
    fn flush(&mut self) {
        for line in self.ended.iter_mut().filter_map(Option::take).collect::<Vec<_>>() {
            self.line(&line);
        }
    }

    fn waiting_for(&mut self, what: &str) {
        if !self.is_live {
            return;
        }
        let paint = self.paint;
        let live = &self.live;
        let bar = self.below.get_or_insert_with(|| live.add(spinner(paint)));
        bar.set_message(what.to_owned());
        bar.tick();
    }

    fn part_line(&self, part: usize, mark: &str, took: Option<Duration>) -> String {
        let Some(Part { title, detail }) = self.parts.get(part) else { return String::new() };
        let widest =
            self.parts.iter().map(|part| measure_text_width(&part.detail)).max().unwrap_or(0);
        let room = if self.is_live { console::Term::stderr().size().1.into() } else { 120 };
        let column = widest.min(usize::saturating_sub(room, 34 + 8));
        let detail = truncate_str(detail, column, "…");
        let pad = " ".repeat(column - measure_text_width(&detail));
        let took = took.map(|took| self.paint.dim(&elapsed(took))).unwrap_or_default();
        format!("  {mark} {title:<28}  {detail}{pad} {took}").trim_end().to_owned()
    }

    fn line(&self, text: &str) {
        if self.voice.quiet {
            return;
        }
        if self.is_live {
            let _ = self.live.println(text);
        } else {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

fn spinner(paint: Paint) -> ProgressBar {
    let ticks = if paint.has_utf8() { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "|/-\\ " };
    let style = ProgressStyle::with_template("  {spinner} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars(ticks);
    ProgressBar::new_spinner().with_style(style)
}
