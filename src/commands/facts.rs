//! What plans must know of the host, looked up in one place.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{Context, db::mysql, metrics, secrets::values, ssl, storage};
use crate::{
    config::Config,
    error::{Error, Result},
    names::ReleaseId,
    plan::{Ground, Plan},
    projects::{self, Facts, HostFacts, Passwords},
    registry::{Project, Wanted},
    secret::Secret,
    sys::{
        Host, Owner, net, nginx,
        redis::{self, Version},
        system, users,
    },
};

pub const UID_FLOOR: &str = "/etc/hostkit/uid-floor";

pub fn user(name: &str, package: &str) -> Result<Owner> {
    users::find(name)?.map(|user| user.owner).ok_or_else(|| {
        Error::not_ready("user_missing", format!("there is no user `{name}`"))
            .hint(format!("it comes with the package: `apt-get install {package}`"))
    })
}

/// What the plan of a project must know.
pub fn of_project(host: &Host, project: &Project) -> Result<Facts> {
    let (app, release) = app(host, project)?;
    let redis_version = match project.redis {
        Some(_) => host.redis_version()?,
        None => Version { major: 7, minor: 0 },
    };
    Ok(Facts {
        has_ipv6: net::has_ipv6(),
        web: user("www-data", "nginx")?,
        log_group: users::find_group("adm")?.map_or(0, |(gid, _)| gid),
        redis_version,
        env: host.read_text(&project.name.env_file())?,
        secrets: None,
        release,
        app,
        tls: ssl::files::facts(host, project)?,
    })
}

/// What a switch must know: neither Redis nor PostgreSQL has to answer for it.
pub fn of_switch(host: &Host, project: &Project) -> Result<Facts> {
    Ok(Facts {
        has_ipv6: net::has_ipv6(),
        web: user("www-data", "nginx")?,
        log_group: users::find_group("adm")?.map_or(0, |(gid, _)| gid),
        tls: ssl::files::facts(host, project)?,
        ..Facts::unknown()
    })
}

/// What a site must know.
pub fn of_site(host: &Host, project: &Project) -> Result<Facts> {
    let (app, release) = app(host, project)?;
    Ok(Facts { release, app, ..of_switch(host, project)? })
}

/// Where the link to the live release leads, and to which, if that is complete.
fn app(host: &Host, project: &Project) -> Result<(Option<PathBuf>, Option<ReleaseId>)> {
    let home = project.name.home();
    let app = host.read_link(&home.join("app"))?.filter(|to| is_release(to));
    let release = match &app {
        Some(to) if host.meta(&home.join(to).join(".complete"))?.is_some() => {
            to.file_name().and_then(|name| name.to_str()?.parse::<ReleaseId>().ok())
        }
        _ => None,
    };
    Ok((app, release))
}

/// Whether a link's target is a release of the same project, and nothing else.
fn is_release(to: &Path) -> bool {
    to.strip_prefix("releases").is_ok_and(|rest| {
        rest.to_str().is_some_and(|name| name == "empty" || name.parse::<ReleaseId>().is_ok())
    })
}

/// The plan of a project as it is recorded.
pub fn plan_of(cx: &Context, project: &Project, ground: Ground) -> Result<Plan> {
    let mut facts = of_project(&cx.host, project)?;
    facts.secrets = values::of_plan(cx, &project.name);
    let passwords = passwords(cx, project, facts.env.as_deref())?;
    plan_with(cx, project, &facts, &passwords, ground)
}

/// The passwords that a `.env` holds, and new ones where it holds none that would do.
pub fn passwords(cx: &Context, project: &Project, env: Option<&str>) -> Result<Passwords> {
    let mut passwords = projects::passwords(env)?;
    if project.storage.is_some() {
        passwords.storage = storage::keys(cx, passwords.storage)?;
    }
    Ok(passwords)
}

pub fn plan_with(
    cx: &Context,
    project: &Project,
    facts: &Facts,
    passwords: &Passwords,
    ground: Ground,
) -> Result<Plan> {
    projects::plan(project, facts, passwords, &cx.config, &cx.templates()?, ground)
}

/// What a new project can't have, since somebody else does.
pub fn wanted<'a>(
    host: &Host,
    config: &'a Config,
    redis: bool,
    port: Option<u16>,
    busy_ports: BTreeSet<u16>,
) -> Result<Wanted<'a>> {
    Ok(Wanted {
        config,
        redis,
        port,
        busy_ports,
        busy_databases: if redis {
            host.redis_keyspace()?.into_keys().collect()
        } else {
            BTreeSet::new()
        },
        busy_uids: busy_uids(config)?,
    })
}

/// Numbers of users and groups within hostkit's range that exist.
fn busy_uids(config: &Config) -> Result<BTreeSet<u32>> {
    let range = config.uids.first..=config.uids.last;
    let mut busy = BTreeSet::new();
    for table in ["/etc/passwd", "/etc/group"] {
        let text = std::fs::read_to_string(table)
            .map_err(|e| Error::failed(format!("could not read `{table}`")).caused_by(e))?;
        let number = |line: &str| line.split(':').nth(2)?.parse().ok();
        busy.extend(text.lines().filter_map(number).filter(|uid| range.contains(uid)));
    }
    Ok(busy)
}

/// What the plan of a server that is prepared must know, and hostkit's own password of Redis.
pub fn of_ready_host(cx: &mut Context) -> Result<(HostFacts, Secret)> {
    let dump = match cx.host.nginx_dump()? {
        Ok(dump) => dump,
        Err(broken) => return Err(broken.error()),
    };
    let facts = of_host(cx, &dump)?;
    let secret = facts.redis_secret.clone().ok_or_else(|| {
        Error::not_ready("not_initialised", format!("`{}` is missing", redis::SECRET))
            .hint("put it back: `hostkit init`")
    })?;
    Ok((facts, secret))
}

/// What the plan of the server must know.
pub fn of_host(cx: &mut Context, dump: &nginx::Dump) -> Result<HostFacts> {
    let projects = match cx.registry.as_mut() {
        Some(registry) => registry.projects()?,
        None => Vec::new(),
    };
    let storage = storage::facts(cx)?;
    let mysql = mysql::facts(cx)?;
    let metrics = metrics::facts(cx)?;
    let host = &cx.host;
    let hba = host.query("SHOW hba_file", &[])?;
    let databases = host.query("SELECT datname::text FROM pg_database ORDER BY 1", &[])?;
    let own: BTreeSet<String> = projects.iter().map(|project| project.name.database()).collect();
    let stock = Path::new("/etc/nginx/sites-enabled/default");
    Ok(HostFacts {
        has_ipv6: net::has_ipv6(),
        web: user("www-data", "nginx")?,
        redis_user: user("redis", "redis-server")?,
        postgres_uid: user("postgres", "postgresql")?.uid,
        hba_file: hba.first().map(|row| PathBuf::from(row.get::<_, String>(0))).unwrap_or_default(),
        redis_conf: "/etc/redis/redis.conf".into(),
        redis_secret: host
            .read_text(Path::new(redis::SECRET))?
            .map(|text| Secret::new(text.trim())),
        databases: databases
            .iter()
            .map(|row| row.get::<_, String>(0))
            .filter(|name| matches!(name.as_str(), "postgres" | "template0" | "template1"))
            .filter(|name| !own.contains(name))
            .collect(),
        sets_names_hash: dump.sets("server_names_hash_bucket_size")
            || dump.sets("server_names_hash_max_size"),
        sets_map_hash: dump.sets("map_hash_bucket_size") || dump.sets("map_hash_max_size"),
        foreign_default: dump
            .foreign_default()
            .filter(|path| !is_stock(path, stock))
            .map(Path::to_owned),
        may_refuse_tls: may_refuse_tls(host, dump)?,
        projects,
        storage,
        mysql,
        metrics,
    })
}

/// Whether nginx knows how to, and nobody else answers there.
fn may_refuse_tls(host: &Host, dump: &nginx::Dump) -> Result<bool> {
    let is_free = dump.listens_on_443() || !net::listeners()?.contains_key(&443);
    let knows_how = host.nginx_version()? >= [1, 19, 4];
    Ok(is_free && knows_how && dump.foreign_tls_default().is_none())
}

/// Debian's own welcome page, which answers for unknown hosts until somebody else does.
fn is_stock(path: &Path, stock: &Path) -> bool {
    path == stock || path == Path::new("/etc/nginx/sites-available/default")
}

/// Fails unless there is room for a change on every file system that it writes to.
pub fn check_room(cx: &Context) -> Result<()> {
    let reserve = cx.config.disk.reserve;
    for dir in ["/etc", "/home", "/var/lib/hostkit", "/var/log"] {
        let Some((bytes, inodes)) = cx.host.free_space(Path::new(dir))? else { continue };
        let lacks = if bytes < reserve.0 {
            format!(
                "{} are free, and {reserve} is the least (`disk.reserve`)",
                crate::ui::bytes(bytes)
            )
        } else if reserve.0 > 0 && inodes > 0 && inodes < 256 {
            format!("it has room for only {inodes} more files")
        } else {
            continue;
        };
        return Err(Error::not_ready("disk_full", format!("the file system of `{dir}` is full"))
            .caused_by(lacks)
            .hint("make room: `df -h`, `df -i`, `du -xsh /var/* | sort -h`"));
    }
    Ok(())
}

/// Fails unless all that a change of a project needs is up, before anything is changed.
pub fn check_services(cx: &Context, redis: bool, postgres: bool) -> Result<nginx::Dump> {
    let host = &cx.host;
    std::thread::scope(|scope| {
        let nginx = scope.spawn(|| match host.nginx_dump()? {
            Ok(dump) => Ok(dump),
            Err(broken) => Err(broken.error()),
        });
        let databases =
            scope.spawn(|| if postgres { host.postgres_version().map(|_| ()) } else { Ok(()) });
        let keys = scope.spawn(|| if redis { host.redis_version().map(|_| ()) } else { Ok(()) });
        let running = check_nginx(host);
        let died = || Error::failed("a check of the server came to nothing");
        let dump = nginx.join().unwrap_or_else(|_| Err(died()));
        running?;
        databases.join().unwrap_or_else(|_| Err(died()))?;
        keys.join().unwrap_or_else(|_| Err(died()))?;
        dump
    })
}

/// Fails unless nginx runs.
pub fn check_nginx(host: &Host) -> Result<()> {
    if host.unit(nginx::UNIT)?.is_active() {
        return Ok(());
    }
    Err(Error::not_ready("nginx_down", "nginx is not running")
        .hint("start it: `systemctl start nginx`, and see `journalctl -u nginx`"))
}

/// Fails where this is no server that hostkit can work on.
pub fn check_system(host: &Host) -> Result<system::Distribution> {
    let distribution = system::Distribution::here();
    if !distribution.is_supported() {
        return Err(Error::not_ready("unsupported", "hostkit does not know this system")
            .caused_by(format!(
                "it is {}, and Debian 12 and Ubuntu 22.04 are the oldest that will do",
                distribution.name
            )));
    }
    let missing = system::missing_packages();
    if !missing.is_empty() {
        return Err(Error::not_ready("package_missing", "the server lacks what hostkit drives")
            .caused_by(format!("not installed: {}", missing.join(", ")))
            .hint(format!("install it: `apt-get install {}`", missing.join(" "))));
    }
    let systemd = host.systemd_version()?;
    if systemd < 249 {
        return Err(Error::not_ready("unsupported", "systemd is too old")
            .caused_by(format!("it is version {systemd}, and 249 is the oldest that will do")));
    }
    Ok(distribution)
}
