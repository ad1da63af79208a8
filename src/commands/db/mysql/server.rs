//! The server's MariaDB: installed when the first project wants it.

use std::path::Path;

use crate::{
    commands::{Context, facts::user},
    error::{Error, Result},
    names::ProjectName,
    projects::MysqlFacts,
    steps::{mysql_drill, mysql_next},
    sys::mysql,
};

/// What the plan of the server must know of it.
pub fn facts(cx: &Context) -> Result<Option<MysqlFacts>> {
    if !cx.config.mysql.enabled {
        return Ok(None);
    }
    user("mysql", "mariadb-server").map(|user| Some(MysqlFacts { uid: user.uid }))
}

/// Fails unless it is set up and answers, before anything is changed.
pub fn check(cx: &Context) -> Result<()> {
    if !cx.config.mysql.enabled {
        return Err(Error::not_ready("no_mysql", "this server has no MariaDB for projects yet")
            .caused_by("it is installed when it is wanted")
            .hint("install it and set it up: `hostkit init --with-mysql`"));
    }
    cx.host.mysql_version().map(|_| ())
}

/// Fails where something of that name is there already: whose it is, nobody here knows.
pub fn check_new(cx: &Context, name: &ProjectName) -> Result<()> {
    check(cx)?;
    let database = name.database();
    let fills = |beside: fn(&str) -> String| mysql::filler(&beside(&database));
    let users = [name.role(), fills(mysql_next), fills(mysql_drill)];
    let mut there = None;
    for user in users {
        if let Some(host) = cx.host.mysql_hosts_of(&user)?.into_iter().next() {
            there = Some(format!("account `{user}`@`{host}`"));
        }
    }
    if cx.host.mysql_database(&database)? {
        there = Some(format!("database `{database}`"));
    }
    let Some(there) = there else { return Ok(()) };
    Err(Error::conflict(
        "in_the_way",
        format!("the {there} exists in MariaDB, and is not {name}'s"),
    )
    .caused_by("hostkit did not make it, so it does not touch it")
    .hint("move it away: `mariadb-dump`, `DROP DATABASE …`, `RENAME USER …`"))
}

/// Brings MariaDB where it is missing. One that is there and in use is not taken over unasked.
pub fn install(cx: &Context, yes: bool) -> Result<()> {
    if !mysql::is_installed() {
        return cx.host.install("mariadb-server");
    }
    if yes || cx.host.meta(Path::new(mysql::CONF))?.is_some() {
        return Ok(());
    }
    let others = cx.host.mysql_databases()?;
    let Some(first) = others.first() else { return Ok(()) };
    Err(Error::not_ready("mysql_in_use", "something else uses MariaDB on this server")
        .caused_by(format!(
            "it has the database `{first}`; hostkit would let it listen on 127.0.0.1 alone and \
             take no names of hosts (nothing is deleted)"
        ))
        .hint("go on all the same: `hostkit init --with-mysql --yes`"))
}
