//! A database as a file that PostgreSQL's own tools read, and back.

use std::{
    fs::File,
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::mysql::{self, Engine, Which};
use crate::{
    commands::{
        Context,
        checkpoint::{restore, take},
        confirm,
        deploy::may_name_paths,
    },
    error::{Context as _, Error, Result},
    names::{CheckpointId, ProjectName},
    registry::Project,
    sys::{Owner, databases::Login, mysql::Entry, relay, signals::Changing},
    ui::bytes,
};

/// Dump a project's database into a file
///
/// As the project's own role, in PostgreSQL's custom format: `pg_restore` and `hostkit db restore`
/// read it. Of MariaDB it is SQL, packed by gzip: `zcat` and `mariadb` read it, too. Without
/// --output it goes to standard output. It is no backup that hostkit keeps.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db backup my-shop --output /root/my-shop.dump
  hostkit db backup my-shop > my-shop.dump
  ssh my-shop@server hostkit db backup > my-shop.dump
  hostkit db backup my-blog > my-blog.sql.gz")]
pub struct BackupArgs {
    /// Project whose database to dump
    pub name: String,

    #[command(flatten)]
    which: Which,

    /// Write it to this new file
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Put a project's database back to a dump
///
/// The dump is read into a new database, as the project's own role, and takes the place of the
/// present one when it is whole: connections end, and the present one becomes a checkpoint with
/// its last row. If anything fails, the present one stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db restore my-shop my-shop.dump
  hostkit db restore my-shop - --yes < my-shop.dump
  hostkit db restore my-blog my-blog.sql.gz")]
pub struct RestoreArgs {
    /// Project whose database to put back
    pub name: String,

    /// A dump in PostgreSQL's custom format, or SQL for MariaDB, packed or not; `-` is standard input
    file: String,

    /// Do not ask
    #[arg(long, short = 'y', visible_alias = "force")]
    yes: bool,
}

#[derive(Serialize)]
struct Dumped {
    database: String,
    file: String,
    size: u64,
}

#[derive(Serialize)]
struct Restored<'a> {
    file: &'a str,
    size: u64,
    /// The state that was there before.
    before: CheckpointId,
}

/// How every dump in that format begins.
const MAGIC: &[u8] = b"PGDMP";

pub(super) fn backup(args: &BackupArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    let (project, engine) = args.which.of(cx, &name)?;
    let source = Source::of(cx, &project, engine)?;
    match &args.output {
        Some(file) => into_file(args, cx, &source, file),
        None => into_output(cx, &source),
    }
}

/// A database, and who reads it.
struct Source {
    name: ProjectName,
    login: Opened,
}

enum Opened {
    Mysql(Entry),
    Postgres(Login),
}

impl Source {
    fn of(cx: &Context, project: &Project, engine: Engine) -> Result<Self> {
        let login = match engine {
            Engine::Mysql => Opened::Mysql(mysql::entry(cx, project)?),
            Engine::Postgres => Opened::Postgres(take::login(cx, project)?),
        };
        Ok(Self { name: project.name.clone(), login })
    }

    fn dump_into(&self, cx: &Context, path: &Path) -> Result<u64> {
        let database = self.name.database();
        match &self.login {
            Opened::Mysql(entry) => cx.host.dump_mysql(&database, entry, path),
            Opened::Postgres(login) => cx.host.dump_database(&database, login, path),
        }
    }

    fn dump_to(&self, cx: &Context, to: File) -> Result<()> {
        let database = self.name.database();
        match &self.login {
            Opened::Mysql(entry) => cx.host.dump_mysql_to(&database, entry, to),
            Opened::Postgres(login) => cx.host.dump_to(&database, login, to),
        }
    }
}

fn into_file(args: &BackupArgs, cx: &mut Context, source: &Source, file: &Path) -> Result<()> {
    let name = &source.name;
    may_name_paths(&cx.caller, "let it come by standard output: `hostkit db backup > FILE`")?;
    let path = cx.started_in.join(file);
    if cx.host.meta(&path)?.is_some() {
        return Err(Error::conflict("file_exists", format!("`{}` exists already", path.display()))
            .hint("name another file: a dump replaces none"));
    }
    let _changing = Changing::begin();
    let dumped = source.dump_into(cx, &path);
    if dumped.is_err() {
        cx.host.remove_file(&path)?;
    }
    let told = dumped.as_ref().map(|_| ()).map_err(|e| Error::failed(e.to_string()));
    cx.record(Some(name), "db backup", told)?;
    let size = dumped?;
    let file = path.display().to_string();
    let text = if cx.ui.voice.quiet {
        format!("{file}\n")
    } else {
        format!("{file} holds {} ({})\n", name.database(), bytes(size))
    };
    let data = Dumped { database: name.database(), file, size };
    cx.ui.result("db backup", Some(args.name.as_str()), &data, &text);
    Ok(())
}

/// By a pipe: what runs as the project never holds a file of whoever asked.
fn into_output(cx: &mut Context, source: &Source) -> Result<()> {
    let name = &source.name;
    if cx.ui.voice.json {
        return Err(Error::usage("no_json", "the dump itself goes to standard output")
            .hint("name a file: `--output FILE`, or leave `--json` out"));
    }
    if std::io::stdout().is_terminal() {
        return Err(Error::usage("terminal", "a dump is nothing to be read on a terminal")
            .hint(format!("send it to a file: `hostkit db backup {name} > {name}.dump`")));
    }
    let failed = || "could not hand the dump on".to_owned();
    let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context(failed)?;
    let copied = std::thread::spawn(move || {
        let mut from = File::from(from);
        let mut out = std::io::stdout().lock();
        std::io::copy(&mut from, &mut out).and_then(|n| out.flush().map(|()| n))
    });
    let dumped = source.dump_to(cx, File::from(to));
    let copied = copied.join().unwrap_or_else(|_| Err(std::io::Error::other("no thread")));
    let done = dumped.and_then(|()| copied.context(failed).map(|_| ()));
    let told = done.as_ref().copied().map_err(|e| Error::failed(e.to_string()));
    let _ = cx.record(Some(name), "db backup", told);
    done.map_err(|error| {
        if relay::is_heard() { error.hint("what came is not whole: throw it away") } else { error }
    })
}

pub(super) fn restore(args: &RestoreArgs, cx: &mut Context) -> Result<()> {
    let name: ProjectName = args.name.parse()?;
    Which::default().of(cx, &name)?;
    let mut source = open(args, cx)?;
    let question = format!(
        "This puts the database of {name} back to `{}`. What is there now becomes a checkpoint. Go on? [y/N]",
        args.file.escape_debug()
    );
    confirm::ask(&question, args.yes, |why| {
        let again = format!("hostkit db restore {name} {} --yes", args.file.escape_debug());
        restore::refused(&name, why, &again)
    })?;
    let held = cx.take_project(&name, "db restore")?;
    let (project, _) = Which::default().of(cx, &name)?;
    take::settle(cx, &project)?;
    let spool = take::incoming_path(&name);
    let _changing = Changing::begin();
    let size = receive(cx, &project, &mut source, &spool);
    let settled = size.and_then(|(size, engine)| {
        let mut dumps = restore::Dumps::default();
        match engine {
            Engine::Mysql => dumps.mysql = Some(spool.clone()),
            Engine::Postgres => dumps.postgres = Some(spool.clone()),
        }
        let before = restore::put_back(cx, &project, "db restore", dumps, None)?;
        Ok((size, before.id))
    });
    cx.host.remove_file(&spool)?;
    drop(held);
    let (size, before) = settled?;
    let text = format!(
        "{name} has the {} of `{}`; what was there before is {before}\n",
        bytes(size),
        args.file
    );
    let data = Restored { file: &args.file, size, before };
    cx.ui.result("db restore", Some(name.as_str()), &data, &text);
    Ok(())
}

fn open(args: &RestoreArgs, cx: &Context) -> Result<Box<dyn Read>> {
    if args.file == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    may_name_paths(&cx.caller, "let an operator restore it")?;
    let path = cx.started_in.join(&args.file);
    let file = File::open(&path);
    Ok(Box::new(file.context(|| format!("could not read `{}`", path.display()))?))
}

/// Takes all of it in, to where nobody changes it while it is read.
fn receive(
    cx: &Context,
    project: &Project,
    source: &mut dyn Read,
    spool: &Path,
) -> Result<(u64, Engine)> {
    let failed = || "could not take the dump in".to_owned();
    cx.host.write(spool, b"", Owner::ROOT, 0o600)?;
    let mut file = File::options().append(true).open(spool).context(failed)?;
    let mut part = vec![0; 1 << 20];
    let mut size = 0_u64;
    let mut checked = 0_u64;
    let mut engine = Engine::Postgres;
    loop {
        let n = source.read(&mut part).context(failed)?;
        if n == 0 {
            break;
        }
        if size == 0 && !part[..n].starts_with(&MAGIC[..MAGIC.len().min(n)]) {
            if !project.mysql {
                return Err(no_dump());
            }
            engine = Engine::Mysql;
        }
        crate::sys::signals::check()?;
        file.write_all(&part[..n]).context(failed)?;
        size += n as u64;
        if size > checked {
            checked = size + (64 << 20);
            take::check_space(cx, Path::new(take::ROOT), 0, "a dump comes in")?;
        }
    }
    file.sync_all().context(failed)?;
    if size < 64 { Err(no_dump()) } else { Ok((size, engine)) }
}

fn no_dump() -> Error {
    Error::usage("no_dump", "this is no dump in PostgreSQL's custom format")
        .caused_by("`hostkit db backup` and `pg_dump --format=custom` make those")
        .hint("SQL goes into the present database: `hostkit db shell NAME < FILE`")
}
