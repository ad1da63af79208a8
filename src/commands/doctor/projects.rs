//! What must hold of each project, and that nothing of hostkit's is left without one.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::{Check, Cure};
use crate::{
    commands::{Context, facts, recover, state},
    error::Result,
    names::ProjectName,
    plan::{Ground, differences},
    projects,
    registry::{OFFSETS, Project},
    steps::{MARK, MARK_PATH},
    sys::{http, net},
};

pub fn checks(cx: &mut Context) -> Vec<Check> {
    let Some(registry) = cx.registry.as_mut() else { return Vec::new() };
    let projects = match registry.projects() {
        Ok(projects) => projects,
        Err(error) => return vec![Check::error("projects", &error)],
    };
    let listeners = net::listeners().unwrap_or_default();
    let unsettled = recover::unsettled(cx).unwrap_or_default();
    let units = state::units(cx, true);
    let mut checks = Vec::new();
    for project in &projects {
        if project.deleting {
            checks.push(
                Check::wrong(format!("{}: deleted", project.name), "its removal is not complete")
                    .fix(format!("hostkit project delete {}", project.name))
                    .cure(Cure::Recover),
            );
            continue;
        }
        checks.extend(as_made(cx, project));
        checks.push(ports(project, &listeners));
        checks.push(site(cx, project));
        if unsettled.contains(&project.name) {
            let why = "what a restoration replaced has no checkpoint yet";
            let name = format!("{}: checkpoints", project.name);
            checks.push(Check::wrong(name, why).fix("hostkit recover").cure(Cure::Recover));
        }
        if let Some(unit) = units.get(&project.name.unit())
            && unit.is_failing()
        {
            let name = format!("{}: running", project.name);
            checks.push(
                Check::wrong(name, format!("its unit exits with status {}", unit.exit_status))
                    .fix(format!("journalctl -u {} -n 50", project.name.unit())),
            );
        }
    }
    checks.extend(super::backups::checks(cx, &projects));
    checks.extend(super::tls::checks(cx, &projects));
    match strays(cx, &projects) {
        Ok(strays) => checks.extend(strays),
        Err(error) => checks.push(Check::error("nothing without a project", &error)),
    }
    checks
}

/// One check for each part of the plan: `my-shop: unit`.
fn as_made(cx: &Context, project: &Project) -> Vec<Check> {
    let name = &project.name;
    let found = facts::plan_of(cx, project, Ground::Known)
        .and_then(|plan| differences(&plan, &cx.host).map(|found| (plan, found)));
    let (plan, found) = match found {
        Ok(found) => found,
        Err(error) => return vec![Check::error(format!("{name}: as made"), &error)],
    };
    plan.parts
        .iter()
        .map(|part| {
            let title = format!("{name}: {}", part.title);
            let wrong: Vec<String> = found
                .iter()
                .filter(|difference| difference.part == part.title)
                .map(|difference| format!("{}: {}", difference.what, difference.differs))
                .collect();
            if wrong.is_empty() {
                return Check::fine(title, part.detail.clone());
            }
            Check::wrong(title, wrong.join("; "))
                .fix(format!("hostkit repair {name}"))
                .cure(Cure::Repair(name.clone()))
        })
        .collect()
}

fn ports(project: &Project, listeners: &BTreeMap<u16, u32>) -> Check {
    let title = format!("{}: ports", project.name);
    let squatted = OFFSETS.iter().map(|(_, offset)| project.port + offset).find_map(|port| {
        let uid = *listeners.get(&port)?;
        (uid != project.uid && uid != 0).then_some((port, uid))
    });
    match squatted {
        None => Check::fine(title, "nobody else listens there"),
        Some((port, uid)) => Check::wrong(title, format!("user {uid} listens on port {port}"))
            .fix(format!("find it and end it: `ss -ltnp 'sport = :{port}'`")),
    }
}

fn site(cx: &Context, project: &Project) -> Check {
    let title = format!("{}: site answers", project.name);
    let asked = cx.config.base_domain.below(&project.name).and_then(|domain| {
        http::get(&domain, MARK_PATH, Duration::from_secs(3)).map(|a| (domain, a))
    });
    match asked {
        Ok((domain, answer)) if answer.header(MARK).is_some() => {
            Check::fine(title, format!("http://{domain}"))
        }
        Ok((domain, _)) => Check::wrong(title, format!("`{domain}` is answered by something else"))
            .fix(format!("hostkit repair {}, systemctl reload nginx", project.name)),
        Err(error) => Check::error(title, &error).fix("systemctl reload nginx"),
    }
}

/// The units of all that there is: a worker's looks like that of a project.
fn units_of(projects: &[Project]) -> Vec<String> {
    let units = |project: &Project| {
        let spec = project.live.as_ref().map(|live| &live.spec);
        projects::unit_names(project, spec)
    };
    projects.iter().flat_map(units).collect()
}

/// `hostkit project shop, given up`
fn owner_of(comment: &str) -> &str {
    let rest = comment.trim_start_matches("hostkit project ");
    rest.split_once(',').map_or(rest, |(name, _)| name)
}

/// Files, units, users, roles and Redis users that are hostkit's and belong to no project.
fn strays(cx: &Context, projects: &[Project]) -> Result<Vec<Check>> {
    let units = units_of(projects);
    let known = |name: &str| {
        let unit = format!("hostkit-{name}.service");
        projects.iter().any(|project| project.name.as_str() == name) || units.contains(&unit)
    };
    let mut strays = Vec::new();
    for (dir, before, after) in [
        ("/etc/systemd/system", "hostkit-", ".service"),
        ("/etc/sudoers.d", "hostkit-", ""),
        ("/etc/nginx/sites-available", "hostkit-", ""),
        ("/etc/nginx/sites-enabled", "hostkit-", ""),
        ("/etc/hostkit/metrics.d", "", ".json"),
        ("/etc/hostkit/wall.d", "", ".nft"),
        ("/etc/hostkit/certs", "", ".pem"),
        ("/etc/hostkit-php", "", ".conf"),
    ] {
        for file in cx.host.list(Path::new(dir))? {
            let file = file.to_string_lossy().into_owned();
            let name = file.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            let name = name.filter(|name| name.parse::<ProjectName>().is_ok());
            if let Some(name) = name.filter(|name| !known(name)) {
                strays.push(format!("{dir}/{file} (of `{name}`)"));
            }
        }
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let (Some(name), Some(comment)) = (fields.first(), fields.get(4))
            && comment.starts_with("hostkit project ")
            && !known(name)
        {
            strays.push(format!("user {name}"));
        }
    }
    if let Ok(users) = cx.host.redis_users() {
        let users =
            users.into_iter().filter(|user| user != "default" && user != crate::sys::redis::ADMIN);
        strays.extend(users.filter(|user| !known(user)).map(|user| format!("redis user {user}")));
    }
    let rows = cx.host.query(
        "SELECT rolname::text, shobj_description(oid, 'pg_authid') FROM pg_roles \
         WHERE shobj_description(oid, 'pg_authid') LIKE 'hostkit project %'",
        &[],
    );
    for row in rows.unwrap_or_default() {
        let (role, comment): (String, String) = (row.get(0), row.get(1));
        if !known(owner_of(&comment)) {
            strays.push(format!("role {role}"));
        }
    }
    Ok(if strays.is_empty() {
        vec![Check::fine("nothing without a project", "no file, user or role is left over")]
    } else {
        vec![Check::wrong("nothing without a project", strays.join(", "))
            .fix("`hostkit recover`; if the registry lost a project, `hostkit recover --from-host` finds it")]
    })
}
