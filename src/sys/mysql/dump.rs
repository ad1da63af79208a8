//! A database as text, packed: written and read by the server's own tools, as the project.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use super::{Cmd, Host, SOCKET, client, definer::Renamed, down, literal, tally::Tally};
use crate::{
    error::{Context, Error, Result},
    secret::Secret,
    sys::{Owner, moment::Shape, pipe::Ours, restic::IDLE, signals},
};

/// Long enough for a database of many gigabytes.
const LIMIT: Duration = Duration::from_hours(6);

/// With whose rights a database is read and filled. Nothing in it runs with more.
pub struct Entry {
    pub account: String,
    pub password: Secret,
    pub user: Owner,
}

impl Entry {
    fn dump(&self) -> Cmd {
        Cmd::new("/usr/bin/mariadb-dump")
            .args(["--no-defaults", "--protocol=socket", "--socket", SOCKET])
            .args(["--user", &self.account, "--default-character-set=utf8mb4"])
            .args(["--single-transaction", "--quick", "--hex-blob", "--no-tablespaces"])
            .env("MYSQL_PWD", self.password.expose())
            .user(self.user)
            .limit(LIMIT)
    }

    fn client(&self, database: &str) -> Cmd {
        client(&self.account)
            .args(["--database", database])
            .env("MYSQL_PWD", self.password.expose())
            .user(self.user)
            .limit(LIMIT)
    }
}

impl Host {
    /// Dumps a database into a new file, packed, which is on the disk when this returns; says how
    /// long it is.
    pub fn dump_mysql(&self, database: &str, entry: &Entry, into: &Path) -> Result<u64> {
        let failed = || format!("could not write `{}`", into.display());
        self.effect(&format!("dump the database `{database}`"), || {
            let mut new = File::options();
            let file = new.write(true).create_new(true).mode(0o600).open(into).context(failed)?;
            let mut packed = GzEncoder::new(file, Compression::fast());
            self.stream_mysql(database, entry, &mut packed)?;
            let file = packed.finish().context(failed)?;
            file.sync_all().context(failed)?;
            Ok(file.metadata().context(failed)?.len())
        })
    }

    /// Hands a database on as it comes, packed.
    pub fn dump_mysql_to(&self, database: &str, entry: &Entry, to: impl Write) -> Result<()> {
        let mut packed = GzEncoder::new(to, Compression::fast());
        self.stream_mysql(database, entry, &mut packed)?;
        let failed = || "could not hand the dump on".to_owned();
        packed.finish().and_then(|mut to| to.flush()).context(failed)
    }

    /// Hands a database on as it comes.
    pub fn stream_mysql(&self, database: &str, entry: &Entry, to: &mut dyn Write) -> Result<()> {
        let whole = ["--routines", "--triggers", "--events", "--skip-dump-date", "--", database];
        let mut dump = self.start(&entry.dump().args(whole), Ours::Output)?;
        let drained = dump.drain(to, IDLE);
        let ended = match &drained {
            Ok(_) => dump.finish()?.success().map(|_| ()).map_err(told),
            Err(_) => Ok(()),
        };
        drained?;
        ended
    }

    /// The same, and what is in it.
    pub fn count_mysql(&self, database: &str, entry: &Entry, to: &mut dyn Write) -> Result<Shape> {
        let mut tally = Tally::new(database, to);
        self.stream_mysql(database, entry, &mut tally)?;
        Ok(tally.shape())
    }

    /// What can't move from one database to another: triggers, routines, events and views, as
    /// statements that make them.
    pub fn mysql_programs(&self, database: &str, entry: &Entry) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let bare = ["--no-data", "--no-create-info"];
        let cmd =
            entry.dump().args(bare).args(["--routines", "--triggers", "--events", "--", database]);
        text.extend(self.ask(&cmd)?.success().map_err(told)?.whole()?.stdout);
        let views = self.mysql_views(database)?;
        if !views.is_empty() {
            let cmd = entry.dump().args(["--skip-triggers", "--", database]).args(&views);
            text.extend(self.ask(&cmd)?.success().map_err(told)?.whole()?.stdout);
        }
        Ok(text)
    }

    fn mysql_views(&self, database: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {} ORDER BY 1",
            literal(database)
        );
        Ok(self.mysql_rows(&sql)?.into_iter().flatten().collect())
    }

    /// Fails where the password does not open the database.
    pub fn try_mysql(&self, database: &str, entry: &Entry) -> Result<()> {
        self.ask(&entry.client(database).stdin("DO 1;\n"))?.success().map(|_| ()).map_err(told)
    }

    /// Runs what such a text says, as the project, in whose name all of it works then.
    pub fn run_mysql(&self, database: &str, entry: &Entry, text: &[u8]) -> Result<()> {
        let mut own = Renamed::new(Vec::new(), database);
        let written = own.write_all(text).and_then(|()| own.finish());
        written.context(|| "could not write down what a database runs".into())?;
        let cmd = entry.client(database).stdin(own.to);
        let ran = self.run(&cmd, &format!("make what `{database}` runs by itself"))?;
        ran.success().map(|_| ()).map_err(told)
    }

    /// Fills a database from a dump, packed or not: all of it, or an error. Whoever does it should
    /// know that database alone: a dump may name others.
    pub fn fill_mysql(&self, database: &str, entry: &Entry, from: &Path) -> Result<()> {
        self.effect(&format!("fill the database `{database}`"), || {
            let failed = || format!("could not read the dump `{}`", from.display());
            let mut file = BufReader::new(File::open(from).context(failed)?);
            let is_packed = file.fill_buf().context(failed)?.starts_with(&[0x1f, 0x8b]);
            let mut text: Box<dyn Read> =
                if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
            let mut client = self.start(&entry.client(database), Ours::Input)?;
            let fed = feed(&mut text, client.input()?, database);
            match fed {
                // It ended first, and says why.
                Ok(None) => client.finish()?.success().map_err(told).and_then(|_| Err(not_whole())),
                Ok(Some(ends)) => {
                    client.finish()?.success().map_err(told)?;
                    if ends.is_whole() { Ok(()) } else { Err(not_whole()) }
                }
                // Dropped, and so killed: the end of what came is not the end of what was meant.
                Err(error) => Err(error),
            }
        })
    }
}

/// The server went, or it let us in no longer: that says nothing of a dump.
const GONE: [u16; 11] = [1040, 1045, 1053, 1203, 1226, 1317, 1927, 2002, 2003, 2006, 2013];

/// What a dump does in a database that is not its own.
const ELSEWHERE: [u16; 3] = [1044, 1142, 1370];

/// What the server's tools say, in our words.
fn told(error: Error) -> Error {
    let said = error.cause.as_deref().unwrap_or_default();
    if GONE.iter().any(|code| says(said, *code)) {
        return down(said);
    }
    if ELSEWHERE.iter().any(|code| says(said, *code)) {
        return Error { message: "the dump names a database of its own".into(), ..error }
            .coded("names_a_database")
            .hint(
                "make one that can be read into any: `mariadb-dump NAME`, without `--databases`",
            );
    }
    error
}

fn says(said: &str, code: u16) -> bool {
    said.lines().any(|line| {
        let is_dump = line.starts_with("mariadb-dump: ");
        line.starts_with(&format!("ERROR {code} "))
            || is_dump && line.contains(&format!("rror: {code}: "))
            || is_dump && line.contains(&format!("rror {code}: "))
            || is_dump && line.ends_with(&format!("({code})"))
    })
}

fn not_whole() -> Error {
    Error::failed("the dump is not whole").caused_by("its end is missing")
}

/// The first and the last of a dump.
#[derive(Default)]
struct Ends {
    head: Vec<u8>,
    tail: Vec<u8>,
}

const END: usize = 512;

impl Ends {
    fn see(&mut self, part: &[u8]) {
        let lacks = END - self.head.len().min(END);
        self.head.extend_from_slice(&part[..part.len().min(lacks)]);
        self.tail.extend_from_slice(&part[part.len().saturating_sub(END)..]);
        self.tail.drain(..self.tail.len().saturating_sub(END));
    }

    /// What the server's own tool has begun it has also ended.
    fn is_whole(&self) -> bool {
        let says = |text: &[u8], what: &str| String::from_utf8_lossy(text).contains(what);
        let is_known = says(&self.head, "-- MariaDB dump") || says(&self.head, "-- MySQL dump");
        !is_known || says(&self.tail, "-- Dump completed")
    }
}

/// Nothing where whoever reads has ended.
fn feed(from: &mut dyn Read, to: &mut File, database: &str) -> Result<Option<Ends>> {
    let (mut ends, mut part) = (Ends::default(), vec![0; 256 << 10]);
    let mut to = Renamed::new(to, database);
    loop {
        signals::check()?;
        let n = match from.read(&mut part) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).context(|| "could not read the dump".into()),
        };
        ends.see(&part[..n]);
        let written = if n == 0 { to.finish() } else { to.write_all(&part[..n]) };
        match written {
            Ok(()) if n == 0 => return Ok(Some(ends)),
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(None),
            Err(e) => return Err(e).context(|| "could not hand the dump on".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole(parts: &[&str]) -> bool {
        let mut ends = Ends::default();
        for part in parts {
            ends.see(part.as_bytes());
        }
        ends.is_whole()
    }

    #[test]
    fn what_is_the_servers_fault_is_not_the_dumps() {
        let kind = |said: &str| told(Error::failed("x").caused_by(said)).code;
        for said in [
            "ERROR 2013 (HY000) at line 3: Lost connection to server during query",
            "ERROR 1927 (70100) at line 3: Connection was killed",
            "mariadb-dump: Got error: 2002: \"Can't connect to local server\" when trying to connect",
            "mariadb-dump: Error 2013: Lost connection to server when dumping table `t` at row: 5",
            "mariadb-dump: Couldn't execute 'show events': Server has gone away (2006)",
        ] {
            assert_eq!(kind(said), "mysql_down", "{said}");
        }
        let elsewhere =
            "ERROR 1044 (42000) at line 22: Access denied for user 'a'@'%' to database 'b'";
        assert_eq!(kind(elsewhere), "names_a_database");
        assert_eq!(kind("ERROR 1062 (23000) at line 2: Duplicate entry '(2006)'"), "failed");
    }

    #[test]
    fn a_dump_that_was_cut_is_told_from_a_whole_one() {
        let long = "x".repeat(5_000);
        assert!(is_whole(&["-- MariaDB dump 10", &long, "-- Dump ", "completed\n"]));
        assert!(!is_whole(&["-- MariaDB dump 10", &long]));
        assert!(!is_whole(&["-- MariaDB dump 10 -- Dump completed", &long]));
        assert!(is_whole(&["CREATE TABLE t (id int);"]), "by hand");
        assert!(is_whole(&[]));
    }
}
