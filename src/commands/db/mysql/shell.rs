//! A client of a project's database in MariaDB, as the project.

use std::process::ExitCode;

use super::entry;
use crate::{
    commands::{
        Context,
        exec::{self, Inside},
    },
    error::Result,
    registry::Project,
    secret::Secret,
    sys::mysql::SOCKET,
};

pub(in crate::commands::db) fn shell(
    cx: &mut Context,
    project: &Project,
    sql: Option<&str>,
    tuples_only: bool,
    tty: Option<&str>,
) -> Result<ExitCode> {
    let name = &project.name;
    let entry = entry(cx, project)?;
    let mut words: Vec<String> =
        ["/usr/bin/mariadb", "--no-defaults", "--protocol=socket"].map(String::from).into();
    words.extend(["--socket".into(), SOCKET.into(), "--user".into(), entry.account]);
    words.extend(["--database".into(), name.database()]);
    words.push("--default-character-set=utf8mb4".into());
    if tuples_only {
        words.extend(["--batch", "--skip-column-names"].map(String::from));
    } else {
        words.push("--table".into());
    }
    if let Some(sql) = sql {
        words.extend(["--execute".into(), sql.to_owned()]);
    }
    let history = name.home().join(".cache/mysql_history");
    let command = Inside {
        verb: "db shell",
        words: &words,
        process: None,
        tty,
        variables: vec![
            ("MYSQL_PWD", entry.password),
            ("MYSQL_HISTFILE", Secret::new(history.display().to_string())),
        ],
        limit: None,
    };
    exec::go(cx, project, &command)
}
