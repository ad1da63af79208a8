//! People who use Halext all the time: they move in, write tasks, chat, and listen.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::house::{DOMAIN, House, PASSWORD};
use crate::vps::wire::{Request, Wire};

/// Longest silence that anybody puts up with.
const PATIENCE: Duration = Duration::from_secs(15);

const JSON: &str = "Content-Type: application/json\r\n";

pub struct People {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

/// What they saw together.
#[derive(Default)]
struct Seen {
    is_over: AtomicBool,
    tally: Mutex<Tally>,
}

#[derive(Default)]
pub struct Tally {
    times: Vec<Duration>,
    pub failed: Vec<String>,
    /// Number and title of each task that was acknowledged.
    pub tasks: Vec<String>,
    pub registered: usize,
    /// Answers that came whole.
    pub streams: usize,
    pub longest_stream: Duration,
    pub pongs: usize,
    /// Websockets that were closed, and opened again.
    pub closed: usize,
}

/// One of them: who it is, and how it connects.
struct Person {
    number: usize,
    code: String,
    address: SocketAddr,
    /// Half of them keep their connection, the others open one for each request.
    kept: Option<Wire>,
    seen: Arc<Seen>,
}

type Told<T> = Result<T, String>;

impl People {
    /// Four write, three chat with a node called `node`, three listen.
    pub fn move_in(house: &House, node: &str) -> Self {
        let seen = Arc::new(Seen::default());
        let live = |number: usize| {
            let mut person = Person {
                number,
                code: house.code.clone(),
                address: "127.0.0.1:80".parse().unwrap(),
                kept: None,
                seen: Arc::clone(&seen),
            };
            let node = node.to_owned();
            house.vps.spawn_inside(move || match number {
                0..4 => person.write(),
                4..7 => person.talk(&node),
                _ => person.listen(),
            })
        };
        let threads = (0..10).map(live).collect();
        Self { seen, threads }
    }

    /// So many streams and tasks so far.
    pub fn done(&self) -> (usize, usize) {
        let tally = self.seen.tally.lock().unwrap();
        (tally.streams, tally.tasks.len())
    }

    /// Fails where anybody has met a failure until now.
    pub fn assert_none_failed(&self, when: &str) {
        let failed = self.seen.tally.lock().unwrap().failed.clone();
        assert!(failed.is_empty(), "{when}: {failed:?}");
    }

    /// They come to an end with what they do, and tell how they fared.
    pub fn move_out(self) -> Tally {
        self.seen.is_over.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.seen.tally.lock().unwrap())
    }
}

impl Tally {
    pub fn print(&self) {
        let mut times = self.times.clone();
        times.sort();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
        println!(
            "{} requests, {} failed, p99 {p99:?}; {} accounts, {} tasks; {} streams ended whole, the \
             longest took {:?}; websockets: {} pongs, closed and opened again {} times",
            times.len(),
            self.failed.len(),
            self.registered,
            self.tasks.len(),
            self.streams,
            self.longest_stream,
            self.pongs,
            self.closed,
        );
    }

    pub fn requests(&self) -> usize {
        self.times.len()
    }
}

impl Person {
    fn is_over(&self) -> bool {
        self.seen.is_over.load(SeqCst)
    }

    fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.seen.tally.lock().unwrap());
    }

    /// Writes down what failed, and rests: one cause is not counted a thousand times.
    fn fails(&self, why: &str) {
        let why = format!("{} person {}: {why}", jiff::Timestamp::now(), self.number);
        self.note(|tally| tally.failed.push(why));
        std::thread::sleep(Duration::from_millis(500));
    }

    /// One request, by the connection that is kept or by a new one.
    fn ask(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Told<(u16, String)> {
        let start = Instant::now();
        let keeps = self.number.is_multiple_of(2);
        let told = |e: std::io::Error| format!("{method} {path}: {e}");
        let mut wire = match self.kept.take() {
            Some(wire) => wire,
            None => Wire::open(self.address, DOMAIN, PATIENCE).map_err(told)?,
        };
        let close = if keeps { "" } else { "Connection: close\r\n" };
        let headers = &format!("{headers}{close}");
        let (head, text) = wire.ask(&Request { method, path, headers, body }).map_err(told)?;
        self.note(|tally| tally.times.push(start.elapsed()));
        if keeps && !head.is_last {
            self.kept = Some(wire);
        }
        Ok((head.status, text))
    }

    fn wants(
        &mut self,
        status: u16,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Told<Value> {
        let (is, text) = self.ask(method, path, headers, body)?;
        if is != status {
            return Err(format!("{method} {path}: status {is}: {:.200}", text.trim()));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Registers under a new name and signs in; the header that says so.
    fn enter(&mut self) -> Told<String> {
        let code = format!("X-Halext-Code: {}\r\n", self.code);
        let name = format!("p{}-{}", self.number, jiff::Timestamp::now().as_microsecond());
        let body = format!(r#"{{"username":"{name}","password":"{PASSWORD}"}}"#);
        self.wants(200, "POST", "/api/users/", &format!("{JSON}{code}"), &body)?;
        let form = format!("{code}Content-Type: application/x-www-form-urlencoded\r\n");
        let body = format!("username={name}&password={PASSWORD}");
        let token = self.wants(200, "POST", "/api/token", &form, &body)?;
        self.note(|tally| tally.registered += 1);
        let token = token["access_token"].as_str().unwrap_or_default();
        Ok(format!("Authorization: Bearer {token}\r\n"))
    }

    /// A token, however long it takes: what fails on the way is written down.
    fn entered(&mut self) -> String {
        loop {
            match self.enter() {
                Ok(bearer) => return bearer,
                Err(_) if self.is_over() => return String::new(),
                Err(why) => self.fails(&why),
            }
        }
    }

    /// A household has many members, and each writes a few tasks.
    fn write(&mut self) {
        while !self.is_over() {
            let bearer = self.entered();
            for n in 0..20 {
                if self.is_over() {
                    break;
                }
                if let Err(why) = self.one_task(&bearer, n) {
                    self.fails(&why);
                }
            }
        }
    }

    fn one_task(&mut self, bearer: &str, n: usize) -> Told<()> {
        let title = format!("task {n} of {} at {}", self.number, jiff::Timestamp::now());
        let body = format!(r#"{{"title":"{title}","priority":"low"}}"#);
        let added = self.wants(201, "POST", "/api/tasks/", &format!("{JSON}{bearer}"), &body)?;
        self.note(|tally| tally.tasks.push(format!("{}|{title}", added["id"])));
        let listed = self.wants(200, "GET", "/api/tasks/", bearer, "")?;
        if !listed.as_array().is_some_and(|all| all.iter().any(|task| task["id"] == added["id"])) {
            return Err(format!("{title}: it was acknowledged, and is not listed"));
        }
        let page = self.wants(200, "GET", "/tasks", "", "")?;
        let page = page.as_str().unwrap_or_default();
        let script = page.split('"').find(|part| part.starts_with("/assets/"));
        script.ok_or_else(|| format!("that is not the page: {page:.200}"))?;
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    }

    /// Asks, hears the answer to its end, and asks again.
    fn talk(&mut self, node: &str) {
        let bearer = self.entered();
        let mut n = 0;
        while !self.is_over() {
            n += 1;
            let start = Instant::now();
            let question = format!("what is {n} times {}", self.number);
            match self.hear_out(&bearer, &question, node) {
                Ok(()) => self.note(|tally| {
                    tally.streams += 1;
                    tally.longest_stream = tally.longest_stream.max(start.elapsed());
                }),
                Err(why) => self.fails(&format!("{question}, after {:?}: {why}", start.elapsed())),
            }
        }
    }

    /// The whole answer, word by word, from the node that was to give it, and the stream's own end.
    fn hear_out(&mut self, bearer: &str, question: &str, node: &str) -> Told<()> {
        let told = |e: std::io::Error| e.to_string();
        let mut wire = Wire::open(self.address, DOMAIN, PATIENCE).map_err(told)?;
        let (headers, body) = (format!("{JSON}{bearer}"), format!(r#"{{"message":"{question}"}}"#));
        let request = Request { method: "POST", path: "/api/chat", headers: &headers, body: &body };
        let (head, text) = wire.ask(&request).map_err(told)?;
        if head.status != 200 {
            return Err(format!("status {}: {text:.200}", head.status));
        }
        let events = events(&text);
        let said: String = events
            .iter()
            .filter(|(event, _)| event == "token")
            .filter_map(|(_, data)| data["text"].as_str())
            .collect();
        let wanted = format!("{node} with llama3 heard: {question} ");
        let ended = events.last().is_some_and(|(event, _)| event == "done");
        if said == wanted && ended { Ok(()) } else { Err(format!("not whole: {text}")) }
    }

    /// Keeps a websocket open and says something all the time; opens another when it is closed.
    fn listen(&mut self) {
        let bearer = self.entered();
        let conversation = loop {
            let told =
                self.ask("POST", "/api/chat", &format!("{JSON}{bearer}"), r#"{"message":"hi"}"#);
            match told.map(|(_, text)| events(&text)) {
                Ok(events) if events.len() > 1 => break events[0].1["conversation_id"].to_string(),
                _ if self.is_over() => return,
                other => self.fails(&format!("no conversation: {other:?}")),
            }
        };
        let token = bearer.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let mut is_first = true;
        while !self.is_over() {
            match self.connect(&conversation, &token) {
                Ok(mut wire) => {
                    self.note(|tally| tally.closed += usize::from(!is_first));
                    while !self.is_over() && self.is_answered(&mut wire) {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
                Err(why) => self.fails(&format!("websocket: {why}")),
            }
            is_first = false;
        }
    }

    fn connect(&self, conversation: &str, token: &str) -> Told<Wire> {
        let told = |e: std::io::Error| e.to_string();
        let headers = format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: bearer, {token}\r\n"
        );
        let mut wire = Wire::open(self.address, DOMAIN, PATIENCE).map_err(told)?;
        let path = format!("/ws/{conversation}");
        let head = wire
            .begin(&Request { method: "GET", path: &path, headers: &headers, body: "" })
            .map_err(told)?;
        if head.status == 101 { Ok(wire) } else { Err(format!("status {}", head.status)) }
    }

    /// One that keeps silent has failed; one that was closed has not.
    fn is_answered(&self, wire: &mut Wire) -> bool {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        let mut said = wire.say("ping");
        while said.is_ok() {
            match wire.hear() {
                Ok(Some(text)) if text.contains("pong") => {
                    self.note(|tally| tally.pongs += 1);
                    return true;
                }
                Ok(Some(_)) => {}
                Ok(None) => return false,
                Err(e) => said = Err(e),
            }
        }
        if let Some(e) = said.err().filter(|e| matches!(e.kind(), TimedOut | WouldBlock)) {
            self.fails(&format!("a websocket kept silent: {e}"));
        }
        false
    }
}

/// The events of a stream: name and data.
pub fn events(text: &str) -> Vec<(String, Value)> {
    let of = |block: &str| {
        let (event, data) = block.strip_prefix("event: ")?.split_once("\ndata: ")?;
        Some((event.to_owned(), serde_json::from_str(data).ok()?))
    };
    text.split("\n\n").filter_map(of).collect()
}
