use std::os::unix::fs::{MetadataExt, symlink};

use super::*;
use crate::sys::Faults;

struct Root {
    dir: tempfile::TempDir,
    host: Host,
    me: Owner,
}

fn root() -> Root {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::rehearsal(dir.path(), Faults::none()).unwrap();
    let meta = dir.path().metadata().unwrap();
    Root { me: Owner::new(meta.uid(), meta.gid()), dir, host }
}

#[test]
fn a_file_has_its_mode_and_contents_at_once() {
    let Root { host, me, dir: _dir } = root();
    host.make_dir(Path::new("/etc"), me, 0o755).unwrap();
    host.write(Path::new("/etc/x"), b"one", me, 0o640).unwrap();
    host.write(Path::new("/etc/x"), b"two", me, 0o600).unwrap();
    assert_eq!(host.read(Path::new("/etc/x")).unwrap().unwrap(), b"two");
    assert_eq!(host.meta(Path::new("/etc/x")).unwrap().unwrap().mode, 0o600);
    assert_eq!(host.list(Path::new("/etc")).unwrap(), ["x"]);
}

#[test]
fn a_link_in_somebody_elses_directory_is_not_followed() {
    let Root { host, me, dir } = root();
    host.make_dir(Path::new("/shared"), me, 0o777).unwrap();
    host.make_dir(Path::new("/etc"), me, 0o755).unwrap();
    symlink(dir.path().join("etc"), dir.path().join("shared/evil")).unwrap();
    assert!(host.write(Path::new("/shared/evil/x"), b"", me, 0o600).is_err());
    symlink("/etc/shadow", dir.path().join("shared/file")).unwrap();
    assert!(host.read(Path::new("/shared/file")).is_err());
    host.write(Path::new("/shared/file"), b"mine", me, 0o600).unwrap();
    assert_eq!(host.read(Path::new("/shared/file")).unwrap().unwrap(), b"mine");
    assert!(host.write(Path::new("/shared/../../x"), b"", me, 0o600).is_err());
}

/// A build that a project ran may have left it, before the directory became root's.
#[test]
fn a_link_that_was_a_projects_leads_nowhere() {
    let Root { host, me, dir } = root();
    host.make_dir(Path::new("/releases"), me, 0o755).unwrap();
    host.make_dir(Path::new("/etc"), me, 0o755).unwrap();
    let link = dir.path().join("releases/venv");
    symlink("/etc", &link).unwrap();
    host.write(Path::new("/releases/venv/x"), b"", me, 0o600).unwrap();
    for (uid, gid) in [(0, 20_000), (20_000, 0)] {
        std::os::unix::fs::lchown(&link, Some(uid), Some(gid)).unwrap();
        assert!(host.write(Path::new("/releases/venv/y"), b"", me, 0o600).is_err());
        assert!(host.read(Path::new("/releases/venv/x")).is_err());
    }
}

#[test]
fn a_refused_file_leaves_the_old_one_and_no_trace() {
    let Root { host, me, dir: _dir } = root();
    host.write(Path::new("/x"), b"old", me, 0o600).unwrap();
    let refused =
        host.write_checked(Path::new("/x"), b"new", me, 0o600, |_| Err(Error::failed("no")));
    assert!(refused.is_err());
    assert_eq!(host.read(Path::new("/x")).unwrap().unwrap(), b"old");
    assert_eq!(host.list(Path::new("/")).unwrap(), ["x"]);
}

#[test]
fn links_are_replaced_and_never_missing() {
    let Root { host, dir: _dir, .. } = root();
    for to in ["releases/1", "releases/2"] {
        host.replace_link(Path::new("/app"), Path::new(to)).unwrap();
        assert_eq!(host.read_link(Path::new("/app")).unwrap().unwrap(), Path::new(to));
    }
    host.remove_file(Path::new("/app")).unwrap();
    assert_eq!(host.meta(Path::new("/app")).unwrap(), None);
}
