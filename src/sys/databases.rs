//! Whole databases: dumped, filled from a dump, and one put in another's place.

use std::{
    fs::File,
    io::Write,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::MemfdFlags;

use super::{
    Cmd, Host, Owner,
    pipe::Ours,
    postgres::{identifier, literal},
    restic::IDLE,
};
use crate::{
    error::{Context, Error, Result},
    secret::Secret,
};

/// Long enough for a database of many gigabytes.
const LIMIT: Duration = Duration::from_hours(6);

/// With whose rights a database is read and filled. Nothing in it runs with more.
pub struct Login {
    pub role: String,
    /// Whose all is that the role makes: mostly itself.
    pub owner: String,
    pub password: Secret,
    pub user: Owner,
}

impl Login {
    pub(super) fn cmd(&self, program: &'static str, database: &str) -> Cmd {
        Cmd::new(program)
            .args(["--format=custom", "--host=127.0.0.1", "--no-password"])
            .args(["--username", &self.role, "--dbname", database])
            .env("PGPASSWORD", self.password.expose())
            .user(self.user)
            .limit(LIMIT)
    }

    /// With all that the login may read: also what it made in its own name.
    fn dump(&self, database: &str) -> Cmd {
        // Whoever holds a lock of a table for longer than that is not waited for.
        let cmd = self.cmd("/usr/bin/pg_dump", database).arg("--lock-wait-timeout=20000");
        cmd.env("PGOPTIONS", "-c role=none")
    }
}

impl Host {
    /// Dumps a database into a new file, which is on the disk when this returns; says how long
    /// it is.
    pub fn dump_database(&self, database: &str, login: &Login, into: &Path) -> Result<u64> {
        let failed = || format!("could not write `{}`", into.display());
        self.effect(&format!("dump the database `{database}`"), || {
            let mut new = File::options();
            let file = new.write(true).create_new(true).mode(0o600).open(into).context(failed)?;
            self.ask_into(&login.dump(database), file.try_clone().context(failed)?)?.success()?;
            file.sync_all().context(failed)?;
            Ok(file.metadata().context(failed)?.len())
        })
    }

    /// Dumps a database into what is open already.
    pub fn dump_to(&self, database: &str, login: &Login, into: File) -> Result<()> {
        self.ask_into(&login.dump(database), into)?.success().map(|_| ())
    }

    /// Dumps a database as it was at a moment, and hands it on as it comes.
    pub fn stream_database(
        &self,
        database: &str,
        login: &Login,
        moment: &str,
        to: &mut dyn Write,
    ) -> Result<()> {
        // What holds it together packs it, and finds again what did not change.
        let cmd = login
            .cmd("/usr/bin/pg_dump", database)
            .args(["--lock-wait-timeout=20000", "--compress=0"])
            .arg(format!("--snapshot={moment}"));
        let mut dump = self.start(&cmd, Ours::Output)?;
        let drained = dump.drain(to, IDLE);
        let ended = match &drained {
            Ok(_) => dump.finish()?.success().map(|_| ()),
            Err(_) => Ok(()),
        };
        drained?;
        ended
    }

    /// Fills an empty database from a dump: all of it, or an error. Extensions that only a
    /// superuser can make have to be in `like`.
    pub fn fill_database(
        &self,
        database: &str,
        login: &Login,
        from: &Path,
        like: &str,
    ) -> Result<()> {
        let dump =
            || File::open(from).context(|| format!("could not read the dump `{}`", from.display()));
        let list = Cmd::new("/usr/bin/pg_restore").arg("--list").user(login.user).input(dump()?);
        let list = self.ask(&list)?.success()?.stdout_text();
        // What a superuser gave the database is made by one, and commented by one.
        let mut made = vec![" COMMENT - EXTENSION ".to_owned()];
        for extension in extensions(&list) {
            if let Some(schema) = self.give_extension(database, login, extension, like)? {
                made.push(format!(" SCHEMA - {schema} "));
            }
        }
        let is_made = |line: &&str| made.iter().any(|entry| line.contains(entry));
        let wanted: String =
            list.lines().filter(|line| !is_made(line)).flat_map(|line| [line, "\n"]).collect();
        let failed = || "could not pass on what to restore".to_owned();
        let memory =
            rustix::fs::memfd_create("hostkit-restore", MemfdFlags::empty()).context(failed)?;
        let mut chosen = File::from(memory);
        chosen.write_all(wanted.as_bytes()).context(failed)?;
        let fill = login
            .cmd("/usr/bin/pg_restore", database)
            .args(["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"])
            .arg(format!("--use-list=/proc/self/fd/{}", chosen.as_raw_fd()))
            .input(dump()?);
        self.run(&fill, &format!("fill the database `{database}`"))?.success().map(|_| ())
    }

    /// Makes an extension that only a superuser can make, and says in which schema. The dump may
    /// be forged, so there is none that the project did not have from a superuser before.
    fn give_extension(
        &self,
        database: &str,
        login: &Login,
        name: &str,
        like: &str,
    ) -> Result<Option<String>> {
        let lacks = |why: &str, hint: String| {
            Error::failed(format!("the dump needs the extension `{name}`"))
                .caused_by(why)
                .hint(hint)
        };
        let sql = "SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions \
                   WHERE name = $1";
        let rows = self.query(sql, &[&name])?;
        match rows.first().and_then(|row| row.get::<_, Option<bool>>(0)) {
            // The owner makes it.
            Some(true) => return Ok(None),
            Some(false) => {}
            None => {
                let hint = format!("find its package: `apt-cache search postgresql {name}`");
                return Err(lacks("PostgreSQL does not have it", hint));
            }
        }
        let sql = "SELECT n.nspname::text, n.nspowner = 10 FROM pg_extension e \
                   JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1";
        let Some(row) = self.query_in(like, sql, &[&name])?.pop() else {
            let hint = format!(
                "if it is to have it: `sudo -u postgres psql {like} -c 'CREATE EXTENSION {name}'`"
            );
            return Err(lacks("only a superuser can make it, and none has for this project", hint));
        };
        let (schema, is_ours): (String, bool) = (row.get(0), row.get(1));
        let (of, owner) = (identifier(&schema), identifier(&login.owner));
        let whose = if is_ours { "postgres" } else { &owner };
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {of} AUTHORIZATION {whose}; GRANT USAGE ON SCHEMA {of} TO {owner}; \
             CREATE EXTENSION IF NOT EXISTS {} SCHEMA {of}",
            identifier(name)
        );
        self.sql_in(database, &format!("make the extension `{name}`"), &sql)?;
        Ok(Some(schema))
    }

    /// Makes an extension in a new database that its project had from a superuser before, where
    /// only a superuser can make it.
    pub fn give_again(&self, database: &str, role: &str, name: &str, schema: &str) -> Result<()> {
        let sql = "SELECT bool_or(trusted OR NOT superuser) FROM pg_available_extension_versions \
                   WHERE name = $1";
        let rows = self.query(sql, &[&name])?;
        if rows.first().and_then(|row| row.get::<_, Option<bool>>(0)) != Some(false) {
            return Ok(());
        }
        let (of, role) = (identifier(schema), identifier(role));
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {of} AUTHORIZATION {role}; CREATE EXTENSION IF NOT EXISTS {} SCHEMA {of}",
            identifier(name)
        );
        self.sql_in(database, &format!("make the extension `{name}`"), &sql)
    }

    /// How many bytes a database takes, if there is one.
    pub fn database_size(&self, name: &str) -> Result<Option<u64>> {
        let sql = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1";
        let rows = self.query(sql, &[&name])?;
        Ok(rows.first().map(|row| u64::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
    }

    /// Puts `new` in the place of `database`, whose sessions end, and which is `aside` from then
    /// on, each with a word about itself. Whoever stops it leaves one or the other in place.
    pub fn replace_database(
        &self,
        database: &str,
        new: &str,
        aside: &str,
        about: &str,
        about_aside: &str,
    ) -> Result<()> {
        self.end_sessions_in(&[database, new])?;
        let (of, new, to) = (identifier(database), identifier(new), identifier(aside));
        let sql = format!(
            "BEGIN; ALTER DATABASE {of} RENAME TO {to}; ALTER DATABASE {new} RENAME TO {of}; \
             COMMENT ON DATABASE {of} IS {}; COMMENT ON DATABASE {to} IS {}; \
             ALTER DATABASE {of} ALLOW_CONNECTIONS true; ALTER DATABASE {to} ALLOW_CONNECTIONS true; COMMIT",
            literal(about),
            literal(about_aside)
        );
        self.sql(&format!("put another database in the place of `{database}`"), &sql)
    }

    /// Lets nobody in, and ends who is there.
    fn end_sessions_in(&self, databases: &[&str]) -> Result<()> {
        for database in databases {
            let of = identifier(database);
            let sql = format!("ALTER DATABASE {of} WITH ALLOW_CONNECTIONS false IS_TEMPLATE false");
            self.sql(&format!("close the database `{database}`"), &sql)?;
        }
        let names: Vec<String> = databases.iter().map(|name| literal(name)).collect();
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({})",
            names.join(", ")
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.query(&sql, &[])?.is_empty() {
            if Instant::now() > deadline {
                return Err(Error::failed("somebody does not leave the database")
                    .hint("see who: `SELECT * FROM pg_stat_activity`"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Lets a database say something about itself.
    pub fn name_database(&self, database: &str, about: &str) -> Result<()> {
        let sql = format!("COMMENT ON DATABASE {} IS {}", identifier(database), literal(about));
        self.sql(&format!("name the database `{database}`"), &sql)
    }

    /// Lets its users in again.
    pub fn open_database(&self, database: &str) -> Result<()> {
        let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", identifier(database));
        self.sql(&format!("open the database `{database}`"), &sql)
    }

    pub fn drop_database(&self, database: &str) -> Result<()> {
        if self.database(database)?.is_none() {
            return Ok(());
        }
        // An owner may make a template of it, which nobody could drop then.
        let of = identifier(database);
        self.sql(
            &format!("make `{database}` no template"),
            &format!("ALTER DATABASE {of} IS_TEMPLATE false"),
        )?;
        let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(database));
        self.sql(&format!("remove the database `{database}`"), &sql)
    }
}

/// The extensions that a dump's table of contents names: `3; 3079 16389 EXTENSION - pgcrypto `.
fn extensions(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter(|line| !line.starts_with(';'))
        .filter_map(|line| Some(line.split_once(" EXTENSION - ")?.1.trim()))
        .filter(|name| !name.is_empty() && !name.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_of_a_dump_are_found() {
        let list = "; Archive\n;     dbname: EXTENSION - no\n3; 3079 16389 EXTENSION - pgcrypto \n\
                    3470; 0 0 COMMENT - EXTENSION pgcrypto \n215; 1259 1 TABLE public t shop_user\n";
        assert_eq!(extensions(list).collect::<Vec<_>>(), ["pgcrypto"]);
    }
}
