//! Ports, Redis databases and user numbers: handed out in the transaction that opens an operation.

use std::collections::BTreeSet;

use rusqlite::{Transaction, params};

use crate::{
    config::Config,
    error::{Error, Result},
    names::ProjectName,
};

/// What each project has besides its own port, and how far above it.
pub const OFFSETS: &[(&str, u16)] = &[
    ("web", 0),
    ("auth", 1000),
    ("payments", 2000),
    ("sms", 3000),
    ("booking", 4000),
    ("chatbot", 5000),
    ("standby", 6000),
];

/// One of a project's ports, by what it is for.
pub fn port_of(base: u16, role: &str) -> u16 {
    base + OFFSETS.iter().find(|(r, _)| *r == role).map_or(0, |(_, offset)| *offset)
}

/// What a new project asks for, and what the host says is taken by others.
pub struct Wanted<'a> {
    pub config: &'a Config,
    pub redis: bool,
    /// That one and no other.
    pub port: Option<u16>,
    pub busy_ports: BTreeSet<u16>,
    pub busy_databases: BTreeSet<u32>,
    pub busy_uids: BTreeSet<u32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Allotment {
    pub port: u16,
    pub redis: Option<u32>,
    pub uid: u32,
}

pub(super) fn allot(
    tx: &Transaction<'_>,
    project: &ProjectName,
    wanted: &Wanted<'_>,
    operation: i64,
) -> Result<Allotment> {
    let lost = |e: rusqlite::Error| super::lost(&e);
    let port = match wanted.port {
        Some(port) => fixed_port(tx, wanted, port)?,
        None => free_port(tx, wanted)?,
    };
    for (role, offset) in OFFSETS {
        tx.execute(
            "INSERT INTO ports VALUES (?1, ?2, ?3, ?4)",
            params![port + offset, project.as_str(), role, operation],
        )
        .map_err(lost)?;
    }
    let redis = wanted.redis.then(|| free_database(tx, wanted)).transpose()?;
    if let Some(number) = redis {
        tx.execute(
            "INSERT INTO redis_databases VALUES (?1, ?2, ?3)",
            params![number, project.as_str(), operation],
        )
        .map_err(lost)?;
    }
    let uid = next_uid(tx, wanted)?;
    tx.execute("INSERT INTO uids VALUES (?1, ?2)", params![uid, project.as_str()]).map_err(lost)?;
    Ok(Allotment { port, redis, uid })
}

/// For a project that is found on the host, or was handed its own: the rows, unless they are there.
pub(super) fn write(
    tx: &Transaction<'_>,
    project: &str,
    uid: u32,
    port: u16,
    redis: Option<u32>,
) -> rusqlite::Result<()> {
    for (role, offset) in OFFSETS {
        tx.execute(
            "INSERT INTO ports VALUES (?1, ?2, ?3, NULL) ON CONFLICT (project, role) DO UPDATE SET operation = NULL",
            params![port + offset, project, role],
        )?;
    }
    if let Some(number) = redis {
        tx.execute(
            "INSERT INTO redis_databases VALUES (?1, ?2, NULL) ON CONFLICT (project) DO UPDATE SET operation = NULL",
            params![number, project],
        )?;
    }
    tx.execute("INSERT OR IGNORE INTO uids VALUES (?1, ?2)", params![uid, project]).map(|_| ())
}

/// Gives back what an operation that came to nothing had taken.
pub(super) fn give_back(tx: &Transaction<'_>, operation: i64) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM ports WHERE operation = ?1", [operation])?;
    tx.execute("DELETE FROM redis_databases WHERE operation = ?1", [operation]).map(|_| ())
}

fn taken<T>(tx: &Transaction<'_>, sql: &str) -> Result<BTreeSet<T>>
where
    T: rusqlite::types::FromSql + Ord,
{
    let read = || {
        let mut statement = tx.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<BTreeSet<T>>>()
    };
    read().map_err(|e| super::lost(&e))
}

fn free_port(tx: &Transaction<'_>, wanted: &Wanted<'_>) -> Result<u16> {
    let pool = wanted.config.ports;
    let taken = taken::<u16>(tx, "SELECT port FROM ports")?;
    let free = |port: u16| !taken.contains(&port) && !wanted.busy_ports.contains(&port);
    (pool.first..=pool.last)
        .find(|base| OFFSETS.iter().all(|(_, offset)| free(base + offset)))
        .ok_or_else(|| {
            Error::conflict("no_port", "there is no port left for another project")
                .caused_by(format!(
                    "{} to {} are taken, or something listens there",
                    pool.first, pool.last
                ))
                .hint("raise it: `hostkit config set ports.last 8999`")
        })
}

/// The one that was asked for, unless somebody took it since that was looked at.
fn fixed_port(tx: &Transaction<'_>, wanted: &Wanted<'_>, port: u16) -> Result<u16> {
    let taken = taken::<u16>(tx, "SELECT port FROM ports")?;
    let is_taken = |port: &u16| taken.contains(port) || wanted.busy_ports.contains(port);
    let Some(held) = OFFSETS.iter().map(|(_, offset)| port + offset).find(is_taken) else {
        return Ok(port);
    };
    Err(Error::conflict("port_taken", format!("port {port} is taken"))
        .caused_by(format!("{held} belongs to another project, or something listens there")))
}

fn free_database(tx: &Transaction<'_>, wanted: &Wanted<'_>) -> Result<u32> {
    let databases = wanted.config.redis.databases;
    let taken = taken::<u32>(tx, "SELECT number FROM redis_databases")?;
    let free = |number: &u32| !taken.contains(number) && !wanted.busy_databases.contains(number);
    (1..databases).find(free).ok_or_else(|| {
        Error::conflict("no_redis_database", "there is no Redis database left for another project")
            .caused_by(format!("1 to {} belong to projects or hold keys of something else", databases - 1))
            .hint(format!(
                "raise it: `hostkit config set redis.databases {}`, then `hostkit init` (or leave Redis out: --no-redis)",
                databases * 2
            ))
    })
}

fn next_uid(tx: &Transaction<'_>, wanted: &Wanted<'_>) -> Result<u32> {
    let pool = wanted.config.uids;
    let used = taken::<u32>(tx, "SELECT uid FROM uids")?;
    let after = used.range(..=pool.last).next_back().map_or(pool.first, |last| last + 1);
    let start = after.max(pool.first);
    (start..=pool.last).find(|uid| !wanted.busy_uids.contains(uid)).ok_or_else(|| {
        Error::conflict("no_uid", "there is no user number left for another project")
            .caused_by(format!(
                "{} to {} have been used, and none is used twice",
                pool.first, pool.last
            ))
            .hint("raise it: `hostkit config set uids.last 39999`")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::{NewOperation, Outcome, Registry, Way, tests::fresh};

    fn take(
        registry: &mut Registry,
        config: &Config,
        name: &str,
        busy: &[u16],
    ) -> Result<(i64, Allotment)> {
        let project: ProjectName = name.parse().unwrap();
        let wanted = Wanted {
            config,
            redis: true,
            port: None,
            busy_ports: busy.iter().copied().collect(),
            busy_databases: [2].into(),
            busy_uids: [20_001].into(),
        };
        let operation = NewOperation {
            project: Some(&project),
            verb: "provision",
            actor: "root",
            way: Way::Undo,
        };
        let (id, allotment) = registry.begin(&operation, Some(&wanted))?;
        Ok((id, allotment.unwrap()))
    }

    #[test]
    fn the_lowest_that_nobody_has_is_handed_out() {
        let (_dir, mut registry) = fresh();
        let config = Config::default();
        let first = take(&mut registry, &config, "one", &[8001]).unwrap().1;
        assert_eq!(first, Allotment { port: 8002, redis: Some(1), uid: 20_000 });
        let second = take(&mut registry, &config, "two", &[8001, 9003]).unwrap().1;
        assert_eq!(second, Allotment { port: 8004, redis: Some(3), uid: 20_002 });
    }

    #[test]
    fn what_is_asked_for_is_handed_out_or_refused() {
        let (_dir, mut registry) = fresh();
        let config = Config::default();
        take(&mut registry, &config, "one", &[]).unwrap();
        let mut ask = |port: u16, busy: &[u16]| {
            let project: ProjectName = "two".parse().unwrap();
            let wanted = Wanted {
                config: &config,
                redis: false,
                port: Some(port),
                busy_ports: busy.iter().copied().collect(),
                busy_databases: BTreeSet::new(),
                busy_uids: BTreeSet::new(),
            };
            registry.preview(&project, &wanted).map(|allotment| allotment.port)
        };
        assert_eq!(ask(8000, &[]).unwrap(), 8000);
        assert_eq!(ask(8100, &[8101]).unwrap(), 8100);
        // Its own, one that comes with it, and one that comes with somebody else's.
        for (port, busy) in [(8001, &[][..]), (8100, &[14_100]), (8100, &[8100]), (7001, &[])] {
            let error = ask(port, busy).unwrap_err();
            assert_eq!((error.code, error.kind.exit_code()), ("port_taken", 4), "{port}");
        }
    }

    #[test]
    fn what_came_to_nothing_is_free_again_but_for_the_users_number() {
        let (_dir, mut registry) = fresh();
        let config = Config::default();
        let (operation, one) = take(&mut registry, &config, "one", &[]).unwrap();
        registry.close(operation, Outcome::Undone, None, &[]).unwrap();
        let two = take(&mut registry, &config, "two", &[]).unwrap().1;
        assert_eq!((two.port, two.redis), (one.port, one.redis));
        assert_ne!(two.uid, one.uid);
    }

    #[test]
    fn an_empty_pool_names_the_key_to_raise() {
        let (_dir, mut registry) = fresh();
        let mut config = Config::default();
        config.redis.databases = 2;
        take(&mut registry, &config, "one", &[]).unwrap();
        let error = take(&mut registry, &config, "two", &[]).unwrap_err();
        assert_eq!(error.code, "no_redis_database");
        assert!(error.hint.unwrap().contains("redis.databases"));
        assert_eq!(take(&mut registry, &Config::default(), "two", &[]).unwrap().1.port, 8002);
    }

    proptest! {
        #[test]
        fn no_number_is_ever_in_two_hands(busy in prop::collection::btree_set(8001_u16..8020, 0..10), count in 1..12_usize) {
            let (_dir, mut registry) = fresh();
            let busy: Vec<u16> = busy.into_iter().collect();
            let mut config = Config::default();
            config.redis.databases = 64;
            let mut seen = BTreeSet::new();
            for i in 0..count {
                let got = take(&mut registry, &config, &format!("project-{i}"), &busy).unwrap().1;
                for (_, offset) in OFFSETS {
                    prop_assert!(!busy.contains(&(got.port + offset)));
                    prop_assert!(seen.insert(u32::from(got.port + offset)));
                }
                prop_assert!(seen.insert(got.uid) && seen.insert(got.redis.unwrap()));
            }
        }
    }
}
