//! What must hold of the server itself.

use std::{os::unix::fs::MetadataExt, path::Path};

use super::{Check, Cure};
use crate::{
    commands::{Context, alert, facts, init, secrets::keys, storage},
    config,
    names::Runtime,
    registry::{self, Live, Of, Registry},
    sys::{mysql, nginx, prometheus, redis, system},
    ui::{bytes, count},
};

pub fn checks(cx: &mut Context) -> Vec<Check> {
    let mut checks = vec![system(cx), binary(), registry(cx), room(cx), memory()];
    checks.extend(interrupted(cx));
    checks.extend([running_nginx(cx), nginx_config(cx), postgres(cx)]);
    checks.extend(mysql(cx));
    checks.extend(redis_checks(cx));
    checks.extend([wall(cx), initialised(cx)]);
    checks.extend(object_storage(cx));
    checks.extend(metrics(cx));
    checks.extend(php(cx));
    checks.extend(alerts(cx));
    checks.extend(sealed(cx));
    checks
}

/// What everybody leans on, as far as it can be seen at a glance.
pub fn services(cx: &mut Context) -> Vec<Check> {
    let mut checks = vec![running_nginx(cx), postgres(cx)];
    checks.extend(mysql(cx));
    checks.extend(redis_checks(cx));
    checks.extend(metrics(cx));
    checks
}

/// Whether the key of what lies sealed is there, where anything does.
fn sealed(cx: &mut Context) -> Option<Check> {
    let values: u64 = cx.registry.as_mut()?.sealing_keys().ok()?.values().sum();
    let name = "secrets";
    if values == 0 && keys::known(cx).is_none() {
        return None;
    }
    if let Err(error) = keys::ring(cx) {
        return Some(Check::error(name, &error));
    }
    Some(match keys::lost(cx) {
        Err(error) => Check::error(name, &error),
        Ok(0) if keys::is_rotating(cx) => {
            Check::wrong(name, "a change of keys was interrupted").fix("hostkit secrets rotate-key")
        }
        Ok(0) => Check::fine(name, count(usize::try_from(values).unwrap_or(usize::MAX), "value")),
        Ok(lost) => Check::wrong(
            name,
            format!("no key on this server opens {lost} of {values} sealed values"),
        )
        .fix("put the old `/etc/hostkit/master.key` back from its copy"),
    })
}

fn system(cx: &Context) -> Check {
    match facts::check_system(&cx.host) {
        Ok(distribution) => Check::fine("system", distribution.name),
        Err(error) => Check::error("system", &error),
    }
}

/// Whether anybody looks, where somebody is to be told.
fn alerts(cx: &Context) -> Option<Check> {
    let name = "alerts";
    Some(match alert::state(cx) {
        Ok((0, false)) => return None,
        Ok((n, true)) if n > 0 => Check::fine(name, count(n, "channel")),
        Ok((0, true)) => Check::wrong(name, "a timer looks for nobody").fix("hostkit alert check"),
        Ok(_) => Check::wrong(name, "no timer looks whether something is wrong")
            .fix("hostkit alert check"),
        Err(error) => Check::error(name, &error),
    })
}

/// Where projects get buckets.
fn object_storage(cx: &Context) -> Option<Check> {
    let place = storage::place(cx).ok()?;
    Some(match storage::check(cx) {
        Ok(()) => Check::fine("object storage", place.endpoint),
        Err(error) => Check::error("object storage", &error),
    })
}

/// Where figures of projects are kept.
fn metrics(cx: &Context) -> Option<Check> {
    let name = "metrics";
    cx.config.metrics.enabled.then(|| match prometheus::check() {
        Ok(()) => {
            let metrics = &cx.config.metrics;
            Check::fine(name, format!("{}, {} at most", metrics.retention, metrics.size))
        }
        Err(error) => Check::error(name, &error).cure(Cure::Start(prometheus::UNIT)),
    })
}

fn binary() -> Check {
    let path = Path::new("/usr/bin/hostkit");
    let name = "hostkit itself";
    match path.symlink_metadata() {
        Err(_) => Check::wrong(name, "there is no `/usr/bin/hostkit`, which sudo's rules name")
            .fix("install the package, or copy this program there"),
        Ok(meta) if meta.uid() != 0 || meta.mode() & 0o022 != 0 => {
            Check::wrong(name, "somebody else than root may change `/usr/bin/hostkit`")
                .fix("chown root:root /usr/bin/hostkit && chmod 755 /usr/bin/hostkit")
        }
        Ok(_) => Check::fine(name, format!("version {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn registry(cx: &mut Context) -> Check {
    let path = Path::new(registry::PATH);
    cx.registry = None;
    let opened = Registry::open(path).and_then(|registry| {
        registry.check()?;
        registry.projects().map(|projects| (registry, projects.len()))
    });
    let (registry, projects) = match opened {
        Ok(found) => found,
        Err(error) => return Check::error("registry", &error),
    };
    cx.registry = Some(registry);
    let mode =
        path.symlink_metadata().map(|meta| (meta.uid(), meta.mode() & 0o777)).unwrap_or_default();
    if mode != (0, 0o600) {
        return Check::wrong(
            "registry",
            format!("others than root may read it (mode {:04o})", mode.1),
        )
        .fix(format!("chown root:root {0} && chmod 600 {0}", registry::PATH));
    }
    Check::fine("registry", count(projects, "project"))
}

fn room(cx: &Context) -> Check {
    match facts::check_room(cx) {
        Ok(()) => Check::fine("room on disks", format!("at least {}", cx.config.disk.reserve)),
        Err(error) => Check::error("room on disks", &error),
    }
}

/// What nginx, the databases and one build need together, as far as it was measured.
const LEAST_MEMORY: u64 = 700 << 20;

fn memory() -> Check {
    let name = "memory";
    let Some((memory, swap)) = system::memory() else { return Check::fine(name, "not known") };
    let found = format!("{}, and {} of swap", bytes(memory), bytes(swap));
    if memory + swap >= LEAST_MEMORY {
        return Check::fine(name, found);
    }
    let least = bytes(LEAST_MEMORY);
    Check::wrong(name, format!("{found}: builds need more, {least} together at least")).fix(
        "fallocate -l 1G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile",
    )
}

fn interrupted(cx: &mut Context) -> Option<Check> {
    let open = cx.registry.as_mut()?.open_operations(Of::All).ok()?;
    let dead = open.iter().filter(|o| !Path::new(&format!("/proc/{}", o.pid)).exists()).count();
    if dead == 0 {
        return Some(Check::fine("operations", "none was interrupted"));
    }
    let check = Check::wrong("operations", format!("{} interrupted", count(dead, "operation")));
    Some(check.fix("hostkit recover").cure(Cure::Recover))
}

fn running_nginx(cx: &Context) -> Check {
    match cx.host.unit(nginx::UNIT) {
        Ok(unit) if unit.is_active() => Check::fine("nginx", "running"),
        Ok(unit) => Check::wrong("nginx", format!("it is {}", unit.active))
            .fix("systemctl start nginx")
            .cure(Cure::Start(nginx::UNIT)),
        Err(error) => Check::error("nginx", &error),
    }
}

fn nginx_config(cx: &Context) -> Check {
    let name = "nginx configuration";
    match cx.host.nginx_dump() {
        Ok(Ok(dump)) => Check::fine(name, count(dump.files.len(), "file")),
        Ok(Err(broken)) => Check::error(name, &broken.error()),
        Err(error) => Check::error(name, &error),
    }
}

fn postgres(cx: &Context) -> Check {
    match cx.host.postgres_version() {
        Ok(version) => Check::fine("postgres", format!("version {version}")),
        Err(error) => Check::error("postgres", &error).cure(Cure::Start("postgresql.service")),
    }
}

fn mysql(cx: &Context) -> Option<Check> {
    let name = "mariadb";
    cx.config.mysql.enabled.then(|| match cx.host.mysql_version() {
        Ok(version) => Check::fine(name, format!("version {version}")),
        Err(error) if error.code == "mysql_down" => {
            Check::error(name, &error).cure(Cure::Start(mysql::UNIT))
        }
        Err(error) => Check::error(name, &error),
    })
}

fn redis_checks(cx: &Context) -> Vec<Check> {
    let version = match cx.host.redis_version() {
        Ok(version) => version,
        Err(error) => {
            let check = Check::error("redis", &error);
            let is_down = error.code == "redis_down";
            return vec![if is_down {
                check.cure(Cure::Start("redis-server.service"))
            } else {
                check
            }];
        }
    };
    let mut checks =
        vec![Check::fine("redis", format!("version {}.{}", version.major, version.minor))];
    let off = cx.host.redis_user("default").map(|user| user.is_none_or(|user| !user.is_on));
    checks.push(match off {
        Ok(true) => Check::fine("redis without password", "switched off"),
        Ok(false) => Check::wrong(
            "redis without password",
            "anybody on this server may do anything in Redis",
        )
        .fix(format!(
            "switch the default user off as `{}`, or `hostkit init --undo` and `init`",
            redis::ADMIN
        )),
        Err(error) => Check::error("redis without password", &error),
    });
    checks.push(match cx.host.redis_keyspace().map(|keys| keys.get(&0).copied().unwrap_or(0)) {
        Ok(0) => Check::fine("redis database 0", "empty"),
        Ok(n) => Check::wrong(
            "redis database 0",
            format!("{n} keys, where every project can reach them"),
        )
        .fix("find who writes there: a client that ignores its database number"),
        Err(error) => Check::error("redis database 0", &error),
    });
    let databases = cx.host.redis_setting("databases");
    let wanted = cx.config.redis.databases.to_string();
    checks.push(match databases {
        Ok(Some(has)) if has == wanted => Check::fine("redis databases", has),
        Ok(has) => Check::wrong(
            "redis databases",
            format!(
                "the server has {}, and `redis.databases` is {wanted}",
                has.unwrap_or_default()
            ),
        )
        .fix("hostkit init")
        .cure(Cure::Init),
        Err(error) => Check::error("redis databases", &error),
    });
    checks
}

fn wall(cx: &Context) -> Check {
    match cx.host.wall() {
        Ok(Some(wall)) => Check::fine("wall", count(wall.walled.len(), "port")),
        Ok(None) => Check::wrong("wall", "the kernel does not have it")
            .fix("systemctl restart hostkit-wall")
            .cure(Cure::Start("hostkit-wall.service")),
        Err(error) => Check::error("wall", &error),
    }
}

/// Whether what projects in PHP start is there, where there are any.
fn php(cx: &mut Context) -> Option<Check> {
    let projects = cx.registry.as_mut()?.projects().ok()?;
    let live = projects.iter().filter_map(|project| Some((project, project.live.as_ref()?)));
    let pools: Vec<_> = live.filter(|(_, live)| live.spec.runtime == Runtime::Php).collect();
    let program = |live: &Live| live.spec.web().and_then(|web| web.command.first().cloned());
    let name = "php";
    let first = program(pools.first()?.1).unwrap_or_default();
    for (project, live) in &pools {
        let program = program(live).unwrap_or_default();
        if !Path::new(&program).exists() {
            let finding = format!("{} was deployed for `{program}`, and it is gone", project.name);
            return Some(Check::wrong(name, finding).fix(format!(
                "install it again, or deploy for the one that is here: `hostkit deploy {}`",
                project.name
            )));
        }
    }
    // The package's own master is the owner's business, and no project's.
    let version = first.rsplit("php-fpm").next().unwrap_or_default();
    let unit = format!("php{version}-fpm.service");
    let found = match cx.host.unit(&unit) {
        Ok(is) if is.is_active() => format!(
            "{first}; `{unit}` runs too, and no project needs it (`systemctl disable --now {unit}`)"
        ),
        _ => first,
    };
    Some(Check::fine(name, found))
}

fn initialised(cx: &mut Context) -> Check {
    let name = "what init made";
    if !init::is_ready(&cx.host) {
        return Check::wrong(name, "the server is not prepared").fix("hostkit init");
    }
    match init::drift(cx) {
        Ok(differences) if differences.is_empty() => Check::fine(name, config::PATH),
        Ok(differences) => {
            let all: Vec<String> =
                differences.iter().map(|d| format!("{}: {}", d.what, d.differs)).collect();
            Check::wrong(name, all.join("; ")).fix("hostkit init").cure(Cure::Init)
        }
        Err(error) => Check::error(name, &error),
    }
}
