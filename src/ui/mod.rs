//! Every printed line. A thread of its own prints, so that nobody's terminal can stall the work.

mod dashboard;
mod progress;
mod table;
mod text;

use std::{
    io::{IsTerminal, Write},
    sync::mpsc::{self, Sender},
    thread::JoinHandle,
};

use serde::Serialize;

pub use dashboard::{Dashboard, write};
pub use table::{Align, Column, Table};
pub use text::{Paint, ago, bytes, count, elapsed, painted_diff};

use crate::{
    error::Error,
    plan::{Part, Progress},
};

/// How to speak: to a person or a program, and how much.
#[derive(Clone, Copy, Debug, Default)]
pub struct Voice {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
}

pub struct Ui {
    pub voice: Voice,
    sender: Option<Sender<Message>>,
    printer: Option<JoinHandle<()>>,
}

enum Message {
    Head(String),
    Parts(Vec<Part>),
    Progress(Progress),
    Note(String),
    Data(String),
}

impl Ui {
    pub fn start(voice: Voice) -> Self {
        let (sender, receiver) = mpsc::channel();
        let printer = std::thread::spawn(move || {
            let mut screen = progress::Screen::new(voice);
            loop {
                let message = match screen.pause() {
                    Some(pause) => receiver.recv_timeout(pause),
                    None => receiver.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                };
                match message {
                    Ok(Message::Head(text)) => screen.head(&text),
                    Ok(Message::Parts(parts)) => screen.parts(parts),
                    Ok(Message::Progress(progress)) => screen.progress(&progress),
                    Ok(Message::Note(text)) => screen.note(&text),
                    Ok(Message::Data(text)) => screen.data(&text),
                    Err(mpsc::RecvTimeoutError::Timeout) => screen.tick(),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
            screen.clear();
        });
        Self { voice, sender: Some(sender), printer: Some(printer) }
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(message);
        }
    }

    /// What is about to be done, above its steps.
    pub fn head(&self, text: impl Into<String>) {
        self.send(Message::Head(text.into()));
    }

    /// The lines that the next [`listener`](Self::listener) will report on.
    pub fn parts(&self, parts: &[Part]) {
        self.send(Message::Parts(parts.to_vec()));
    }

    /// For the engine: tells the printer, and never waits for it.
    pub fn listener(&self) -> impl Fn(Progress) + Sync + use<> {
        let sender = self.sender.clone();
        move |progress| {
            if let Some(sender) = &sender {
                let _ = sender.send(Message::Progress(progress));
            }
        }
    }

    /// Something worth knowing that is no error: "waiting for …", "left out: …".
    pub fn note(&self, text: impl Into<String>) {
        self.send(Message::Note(text.into()));
    }

    /// A line of somebody else's, as it comes: only where the result is text.
    pub fn say(&self, text: &str) {
        self.send(Message::Data(text.to_owned()));
    }

    /// The result: text for a person, or one document for a program.
    pub fn result<T: Serialize>(&self, command: &str, project: Option<&str>, data: &T, text: &str) {
        if self.voice.json {
            self.send(Message::Data(document(command, project, data)));
        } else if !text.is_empty() {
            self.send(Message::Data(text.to_owned()));
        }
    }

    /// Waits until all is printed. Called last, when no lock is held.
    pub fn finish(&mut self) {
        self.sender = None;
        if let Some(printer) = self.printer.take() {
            let _ = printer.join();
        }
    }
}

#[derive(Serialize)]
struct Document<'a, T> {
    ok: bool,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    data: &'a T,
}

/// A result as one line, for whoever writes more than one.
pub fn document<T: Serialize>(command: &str, project: Option<&str>, data: &T) -> String {
    let document = Document { ok: true, command, project, data };
    let json = serde_json::to_string(&document).unwrap_or_else(|_| "{\"ok\":true}".into());
    format!("{json}\n")
}

#[derive(Serialize)]
struct Failure<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    error: crate::error::Report<'a>,
}

/// Prints an error: three lines for a person, one document for a program.
pub fn print_error(json: bool, command: &str, error: &Error) {
    if json {
        let failure = Failure { ok: false, command, error: error.report() };
        let text = serde_json::to_string(&failure).unwrap_or_else(|_| "{\"ok\":false}".into());
        let _ = writeln!(std::io::stdout(), "{text}");
        return;
    }
    let paint = Paint::of(&std::io::stderr());
    let mut text = format!("{} {}\n", paint.red("error:"), text::printable(&error.message));
    if let Some(cause) = &error.cause {
        text.push_str(&format!("{} {}\n", paint.bold("cause:"), indented(&text::printable(cause))));
    }
    if let Some(hint) = &error.hint {
        text.push_str(&format!("{}  {}\n", paint.green("hint:"), indented(&text::printable(hint))));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n       ")
}

/// The width of the terminal that standard output goes to; none where it goes elsewhere.
pub fn width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| console::Term::stdout().size().1.into())
}
