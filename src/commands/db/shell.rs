//! A client of a project's database, as the project.

use std::process::ExitCode;

use super::mysql::{self, Engine, Which};
use crate::{
    commands::{
        Context,
        checkpoint::take,
        exec::{self, Inside},
    },
    error::{Error, Result},
    secret::Secret,
};

/// Open psql, or mariadb, on a project's database, as the project
///
/// It runs in the sandbox of the project's processes and logs in as they do, so it can do what
/// they can. Statements come from `-c`, from standard input or from a terminal; the exit code is
/// the client's own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  hostkit db shell my-shop
  hostkit db shell my-shop -c 'SELECT count(*) FROM orders'
  hostkit db shell my-shop < seed.sql

Exit codes: psql's own: 0, 1 where a statement of -c failed, 2 where there was no connection,
3 where a script was stopped by an error")]
pub struct Args {
    /// Project whose database to open
    pub name: String,

    #[command(flatten)]
    which: Which,

    /// Run this and end
    #[arg(long, short = 'c', value_name = "SQL")]
    command: Option<String>,

    /// Print rows without heads and frames
    #[arg(long, short = 't')]
    tuples_only: bool,

    /// Give it a terminal of this kind; where there is one, it gets one anyway
    #[arg(long, hide = true, value_name = "TERM")]
    tty: Option<String>,
}

pub(super) fn run(args: &Args, cx: &mut Context) -> Result<ExitCode> {
    let name = args.name.parse()?;
    if cx.ui.voice.json {
        return Err(Error::usage(
            "no_json",
            "`db shell` has no JSON: its output is the client's own",
        )
        .hint(format!("leave `--json` out: `hostkit db shell {name} -c …`")));
    }
    let (project, engine) = args.which.of(cx, &name)?;
    if engine == Engine::Mysql {
        let (sql, tty) = (args.command.as_deref(), args.tty.as_deref());
        return mysql::shell(cx, &project, sql, args.tuples_only, tty);
    }
    let login = take::login(cx, &project)?;
    let mut words: Vec<String> =
        ["/usr/bin/psql", "--no-password", "--set=ON_ERROR_STOP=1"].map(String::from).into();
    if args.tuples_only {
        words.extend(["--tuples-only", "--no-align"].map(String::from));
    }
    if let Some(sql) = &args.command {
        words.extend(["--command".into(), sql.clone()]);
    }
    let history = name.home().join(".cache/psql_history");
    let command = Inside {
        verb: "db shell",
        words: &words,
        process: None,
        tty: args.tty.as_deref(),
        variables: vec![
            ("PGHOST", Secret::new("127.0.0.1")),
            ("PGPORT", Secret::new("5432")),
            ("PGUSER", Secret::new(login.role)),
            ("PGDATABASE", Secret::new(name.database())),
            ("PGPASSWORD", login.password),
            // What fits on the screen stays there.
            ("LESS", Secret::new("-FRX")),
            ("PSQL_HISTORY", Secret::new(history.display().to_string())),
        ],
        limit: None,
    };
    exec::go(cx, &project, &command)
}
