//! `hostkit door`: moves a pool's socket to where only root and the web server reach it, and takes
//! it away. Run by systemd as root, in the unit of the pool.
//!
//! That unit's environment is the project's. Nothing here reads it, and no other program is run,
//! which might: paths are literal, messages are our own, and the group is read from its file.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, ErrorKind, Write},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, fchown},
    },
    path::Path,
    process::ExitCode,
};

use rustix::{
    fs::{Mode, OFlags},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    error::{Context, Error, Result},
    names::ProjectName,
};

const RUN: &str = "/run";
const SOCKETS: &str = "/run/hostkit.sockets";
const WEB_SERVER: &str = "www-data";

/// Opens or closes the door of a pool; on failure says why where the unit logs.
pub fn run(words: &[OsString]) -> ExitCode {
    match carry_out(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.cause.unwrap_or_default();
            let _ = writeln!(io::stderr(), "hostkit: {}: {cause}", error.message);
            ExitCode::FAILURE
        }
    }
}

fn carry_out(words: &[OsString]) -> Result<()> {
    let words: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
    let usage = || Error::usage("usage", "bad usage").caused_by("this is run by systemd");
    let [verb @ ("open" | "close"), pool] = words[..] else { return Err(usage()) };
    pool.strip_suffix("-next").unwrap_or(pool).parse::<ProjectName>()?;
    into_the_hosts_view()?;
    if verb == "close" {
        return close(Path::new(SOCKETS), pool);
    }
    make_sockets(Path::new(SOCKETS), web_server()?)?;
    let own = Path::new(RUN).join(format!("hostkit-{pool}"));
    open(&own, Path::new(SOCKETS), pool)
}

/// In the unit's own view of the disk both directories are file systems of their own, and nothing
/// moves between those.
fn into_the_hosts_view() -> Result<()> {
    let failed = || "could not see the disk as the host does".into();
    let view = File::open("/proc/1/ns/mnt").context(failed)?;
    move_into_link_name_space(view.as_fd(), Some(LinkNameSpaceType::Mount)).context(failed)
}

/// Not by the system's lookups, which load libraries.
fn web_server() -> Result<u32> {
    let groups =
        fs::read_to_string("/etc/group").context(|| "could not read `/etc/group`".into())?;
    group_in(&groups, WEB_SERVER)
        .ok_or_else(|| Error::missing("no_group", format!("there is no group `{WEB_SERVER}`")))
}

fn group_in(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

fn make_sockets(sockets: &Path, group: u32) -> Result<()> {
    let failed = || format!("could not make `{}`", sockets.display());
    match fs::DirBuilder::new().mode(0o700).create(sockets) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e).context(failed),
        _ => {}
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::open(sockets, flags, Mode::empty()).context(failed)?;
    let dir = File::from(dir);
    fchown(&dir, Some(0), Some(group)).context(failed)?;
    dir.set_permissions(fs::Permissions::from_mode(0o750)).context(failed)
}

/// Moved first and looked at after: here the project can't put anything else in its place.
fn open(own: &Path, sockets: &Path, pool: &str) -> Result<()> {
    let failed = || format!("could not open the door of `{pool}`");
    let (waiting, open) = (sockets.join(format!(".{pool}")), sockets.join(format!("{pool}.sock")));
    remove(&waiting).context(failed)?;
    fs::rename(own.join("php.sock"), &waiting).context(failed)?;
    if !fs::symlink_metadata(&waiting).context(failed)?.file_type().is_socket() {
        remove(&waiting).context(failed)?;
        return Err(Error::failed(failed()).caused_by("`php.sock` is no socket"));
    }
    fs::rename(&waiting, &open).context(failed)
}

fn close(sockets: &Path, pool: &str) -> Result<()> {
    for name in [format!("{pool}.sock"), format!("{pool}.drained"), format!(".{pool}")] {
        remove(&sockets.join(name)).context(|| format!("could not close the door of `{pool}`"))?;
    }
    Ok(())
}

/// Takes away whatever is there, a directory of the project's too, and follows no link.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn a_socket_passes_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let (own, sockets) = (dir.path().join("own"), dir.path().join("sockets"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&sockets).unwrap();
        let inside = own.join("php.sock");
        let there = || fs::read_dir(&sockets).unwrap().count();

        assert!(open(&own, &sockets, "shop").is_err());
        let other = dir.path().join("other.sock");
        let _other = UnixListener::bind(&other).unwrap();
        symlink(&other, &inside).unwrap();
        assert!(open(&own, &sockets, "shop").is_err());
        fs::create_dir_all(inside.join("deep")).unwrap();
        assert!(open(&own, &sockets, "shop").is_err());
        fs::File::create(&inside).unwrap();
        assert!(open(&own, &sockets, "shop").is_err());
        assert!(there() == 0 && other.exists());

        let _socket = UnixListener::bind(&inside).unwrap();
        open(&own, &sockets, "shop").unwrap();
        assert!(sockets.join("shop.sock").exists() && !inside.exists());
        close(&sockets, "shop").unwrap();
        close(&sockets, "shop").unwrap();
        assert_eq!(there(), 0);
    }

    #[test]
    fn only_pools_have_a_door() {
        for words in [&["open"][..], &["open", "../etc"], &["open", "no/pool"], &["shut", "shop"]] {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert!(carry_out(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nwww-data-2:x:7:\nwww-data:x:33:a,b\n";
        assert_eq!(group_in(groups, "www-data"), Some(33));
        assert_eq!(group_in(groups, "www"), None);
    }
}
