//! Users and groups: read by the system's own lookups, changed by its own tools.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::{Cmd, Host, Owner};
use crate::error::{Error, Result};

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct User {
    pub name: String,
    pub owner: Owner,
    pub home: String,
    pub shell: String,
    pub comment: String,
}

/// The user of that name, if there is one.
pub fn find(name: &str) -> Result<Option<User>> {
    let found = nix::unistd::User::from_name(name).map_err(|e| {
        Error::failed(format!("could not look up the user `{name}`")).caused_by(e.desc())
    })?;
    Ok(found.map(read))
}

pub fn find_uid(uid: u32) -> Result<Option<User>> {
    let found = nix::unistd::User::from_uid(uid.into()).map_err(|e| {
        Error::failed(format!("could not look up the user {uid}")).caused_by(e.desc())
    })?;
    Ok(found.map(read))
}

/// The group's number and members, if there is such a group.
pub fn find_group(name: &str) -> Result<Option<(u32, Vec<String>)>> {
    let found = nix::unistd::Group::from_name(name).map_err(|e| {
        Error::failed(format!("could not look up the group `{name}`")).caused_by(e.desc())
    })?;
    Ok(found.map(|group| (group.gid.as_raw(), group.mem)))
}

fn read(user: nix::unistd::User) -> User {
    User {
        owner: Owner::new(user.uid.as_raw(), user.gid.as_raw()),
        home: user.dir.to_string_lossy().into_owned(),
        shell: user.shell.to_string_lossy().into_owned(),
        comment: user.gecos.to_string_lossy().into_owned(),
        name: user.name,
    }
}

/// Makes a user and its own group, both of that number, without a password or a home.
pub fn create(host: &Host, user: &User) -> Result<()> {
    let number = user.owner.uid.to_string();
    let cmd = Cmd::new("/usr/sbin/useradd")
        .args(["--no-create-home", "--no-log-init", "--user-group", "--password", "*"])
        .args(["--uid", &number])
        // The group takes the user's number only if its range holds it; no sub-ids either.
        .args(["-K", &format!("UID_MIN={number}"), "-K", &format!("UID_MAX={number}")])
        .args(["-K", &format!("GID_MIN={number}"), "-K", &format!("GID_MAX={number}")])
        .args(["-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0"])
        .args(["--home-dir", &user.home, "--shell", &user.shell])
        .args(["--comment", &user.comment, "--", &user.name]);
    host.run(&cmd, &format!("make the user `{}`", user.name))?.success()?;
    match find(&user.name)? {
        Some(made) if made.owner == user.owner => Ok(()),
        _ => Err(Error::failed(format!("the user `{}` was made with other numbers", user.name))
            .caused_by(format!("the group {number} may belong to something else"))),
    }
}

/// Gives an existing user the home, shell and comment that it should have.
pub fn modify(host: &Host, user: &User) -> Result<()> {
    let cmd = Cmd::new("/usr/sbin/usermod")
        .args(["--home", &user.home, "--shell", &user.shell, "--comment", &user.comment])
        .args(["--expiredate", "", "--", &user.name]);
    host.run(&cmd, &format!("change the user `{}`", user.name))?.success().map(|_| ())
}

/// Takes a user and its group away; fine if they are gone.
pub fn remove(host: &Host, name: &str) -> Result<()> {
    if find(name)?.is_some() {
        let cmd = Cmd::new("/usr/sbin/userdel").args(["--", name]);
        host.run(&cmd, &format!("remove the user `{name}`"))?.success()?;
    }
    // userdel leaves a group that has members, and a killed one may leave any.
    if find_group(name)?.is_some() {
        let cmd = Cmd::new("/usr/sbin/groupdel").args(["--", name]);
        host.run(&cmd, &format!("remove the group `{name}`"))?.success()?;
    }
    Ok(())
}

/// No new login: neither by key, nor by a shell, nor by a job that cron starts.
pub fn shut_out(host: &Host, name: &str) -> Result<()> {
    if find(name)?.is_none() {
        return Ok(());
    }
    let cmd = Cmd::new("/usr/sbin/usermod").args([
        "--expiredate",
        "1",
        "--shell",
        "/usr/sbin/nologin",
        "--",
        name,
    ]);
    host.run(&cmd, &format!("shut the user `{name}` out"))?.success().map(|_| ())
}

/// Makes a user who logs in by key: with a home, and without a password.
pub fn create_login(host: &Host, name: &str, numbers: (u32, u32)) -> Result<()> {
    let (first, last) = numbers;
    let cmd = Cmd::new("/usr/sbin/useradd")
        .args(["-K", &format!("UID_MIN={first}"), "-K", &format!("UID_MAX={last}")])
        .args(["-K", &format!("GID_MIN={first}"), "-K", &format!("GID_MAX={last}")])
        .args(["--create-home", "--user-group", "--shell", "/bin/bash", "--password", "*"])
        .args(["--comment", "operator of hostkit", "--", name]);
    host.run(&cmd, &format!("make the user `{name}`"))?.success().map(|_| ())
}

/// Takes back what [`create_login`] made.
pub fn remove_login(host: &Host, name: &str) -> Result<()> {
    if find(name)?.is_none() {
        return Ok(());
    }
    let cmd = Cmd::new("/usr/sbin/userdel").args(["--remove", "--", name]);
    host.run(&cmd, &format!("remove the user `{name}`"))?.success().map(|_| ())
}

pub fn set_member(host: &Host, user: &str, group: &str, is_member: bool) -> Result<()> {
    let (option, word) = if is_member { ("--add", "into") } else { ("--delete", "out of") };
    let cmd = Cmd::new("/usr/bin/gpasswd").args([option, user, group]);
    host.run(&cmd, &format!("take `{user}` {word} the group `{group}`"))?.success().map(|_| ())
}

/// The names of all groups that a user is in.
pub fn groups(host: &Host, user: &str) -> Result<Vec<String>> {
    let out = host.ask(&Cmd::new("/usr/bin/id").args(["-Gn", "--", user]))?.success()?;
    Ok(out.stdout_text().split_ascii_whitespace().map(str::to_owned).collect())
}

pub fn create_group(host: &Host, name: &str) -> Result<()> {
    let cmd = Cmd::new("/usr/sbin/groupadd").args(["--system", "--", name]);
    host.run(&cmd, &format!("make the group `{name}`"))?.success().map(|_| ())
}

pub fn remove_group(host: &Host, name: &str) -> Result<()> {
    if find_group(name)?.is_none() {
        return Ok(());
    }
    let cmd = Cmd::new("/usr/sbin/groupdel").args(["--", name]);
    host.run(&cmd, &format!("remove the group `{name}`"))?.success().map(|_| ())
}

/// The processes that have that user as any of their user numbers.
pub fn processes(uid: u32) -> BTreeSet<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeSet::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            !status.contains("\nState:\tZ") && uids_of(&status).any(|u| u == uid)
        })
        .collect()
}

fn uids_of(status: &str) -> impl Iterator<Item = u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .into_iter()
        .flat_map(|rest| rest.split_ascii_whitespace().filter_map(|n| n.parse().ok()))
}

/// Ends every process of a user, however fast it makes new ones.
pub fn kill_all(host: &Host, uid: u32) -> Result<()> {
    let what = format!("end the processes of user {uid}");
    host.effect(&what, || {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let running = processes(uid);
            if running.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let pids: Vec<String> = running.iter().map(ToString::to_string).collect();
                return Err(Error::failed(format!("could not {what}"))
                    .caused_by(format!("still running: {}", pids.join(", "))));
            }
            strike(uid);
            for pid in running {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    })
}

/// One kill of everything at once, as that user: a process that forks can't outrun it.
fn strike(uid: u32) {
    let done = std::thread::spawn(move || {
        let user = rustix::process::Uid::from_raw(uid);
        if rustix::thread::set_thread_res_uid(user, user, user).is_ok() {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        }
    });
    let _ = done.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_user_numbers_count() {
        let status = "Name:\tx\nState:\tS\nUid:\t0\t20001\t0\t0\nGid:\t0\n";
        assert_eq!(uids_of(status).collect::<Vec<_>>(), [0, 20001, 0, 0]);
    }

    #[test]
    fn root_is_found() {
        assert_eq!(find("root").unwrap().unwrap().owner, Owner::ROOT);
        assert_eq!(find("no-such-user-here").unwrap(), None);
    }
}
