//! Another name of a unit: a link among systemd's own files, where nothing else has that name.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Before, Check, Step};
use crate::{
    error::{Error, Result},
    sys::{FileKind, Host, journald},
};

/// Where units come from, besides the directory that the link is in.
const PLACES: [&str; 13] = [
    "/etc/systemd/system.attached",
    "/etc/systemd/system.control",
    "/lib/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.early",
    "/run/systemd/generator.late",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/usr/lib/systemd/system",
    "/usr/local/lib/systemd/system",
    OWN,
];

const OWN: &str = "/etc/systemd/system";

/// Units that would start one of that name, or that a package brings beside it.
const KINDS: [&str; 10] = [
    "automount",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "socket",
    "target",
    "timer",
];

/// A unit of hostkit's that has another name.
#[derive(Debug, Deserialize, Serialize)]
pub struct Alias {
    /// Without its ending.
    pub alias: String,
    /// The unit, with its ending.
    pub of: String,
}

/// The same, where it has that name no more.
#[derive(Debug, Deserialize, Serialize)]
pub struct NoAlias {
    pub alias: String,
    pub of: String,
}

fn link(alias: &str) -> PathBuf {
    format!("{OWN}/{alias}.service").into()
}

fn target(of: &str) -> PathBuf {
    format!("{OWN}/{of}").into()
}

/// Whether the link is ours: it leads to the unit.
fn is_ours(host: &Host, alias: &str, of: &str) -> Result<bool> {
    let at = link(alias);
    let is_link = host.meta(&at)?.is_some_and(|meta| meta.kind == FileKind::Link);
    Ok(is_link && host.read_link(&at)? == Some(target(of)))
}

/// What of the server has that name, or settings for it, besides our link.
fn who_is_called(host: &Host, alias: &str) -> Result<Option<PathBuf>> {
    // `a-.service.d` holds settings of each unit whose name begins so.
    let starts = alias.match_indices('-').map(|(at, _)| &alias[..=at]);
    let mut files: Vec<String> = KINDS.iter().map(|kind| format!("{alias}.{kind}")).collect();
    files.extend(starts.chain([alias]).map(|stem| format!("{stem}.service.d")));
    for place in PLACES {
        for file in &files {
            let path = Path::new(place).join(file);
            if path != link(alias) && host.meta(&path)?.is_some() {
                return Ok(Some(path));
            }
        }
    }
    let script = Path::new("/etc/init.d").join(alias);
    Ok(host.meta(&script)?.map(|_| script))
}

/// Fails where a unit can't have that name, since something else does.
pub fn check_free(host: &Host, alias: &str, of: &str) -> Result<()> {
    let at = link(alias);
    let there = match who_is_called(host, alias)? {
        None if host.meta(&at)?.is_some() && !is_ours(host, alias, of)? => Some(at),
        other => other,
    };
    there.map_or(Ok(()), |path| Err(taken(alias, &path)))
}

fn taken(alias: &str, by: &Path) -> Error {
    Error::conflict("alias_taken", format!("`{alias}` can't be another name of a unit"))
        .caused_by(format!("`{}` has it, and hostkit did not make that", by.display()))
        .hint("take it away if it is of no use any more, or choose another name: `aliases`")
}

impl Alias {
    /// `journalctl -u` follows no other name: who asks it for this one finds a word of where to look.
    fn point_the_way(&self) {
        let Self { alias, of } = self;
        let unit = format!("{alias}.service");
        let told = format!(
            "{unit} is another name of {of}: `journalctl -u {of}`, and what it says itself by `hostkit log`"
        );
        journald::send(&told, false, &[("OBJECT_SYSTEMD_UNIT", &unit)]);
    }
}

impl Step for Alias {
    fn title(&self) -> String {
        format!("name {} of {}", self.alias, self.of)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        let is_ours = is_ours(host, &self.alias, &self.of)?;
        match who_is_called(host, &self.alias)? {
            // A package came later: what it brings has the name, and ours must not hide it.
            Some(path) if is_ours => Ok(Check::Missing {
                before: Before::Link(target(&self.of)),
                differs: format!("hides {}, so it goes", path.display()),
            }),
            None if host.meta(&link(&self.alias))?.is_none() => Ok(Check::absent()),
            // Whoever has the name keeps it: that is no reason to stop what else is to be done.
            _ => Ok(Check::InPlace),
        }
    }

    fn apply(&self, host: &Host) -> Result<()> {
        if who_is_called(host, &self.alias)?.is_some() {
            return self.remove(host);
        }
        if host.meta(&link(&self.alias))?.is_some() {
            return Ok(());
        }
        host.replace_link(&link(&self.alias), &target(&self.of))?;
        self.point_the_way();
        Ok(())
    }

    fn undo(&self, host: &Host, before: &Before) -> Result<()> {
        match before {
            Before::Absent => self.remove(host),
            Before::Link(_) => put_back(host, &self.alias, &self.of),
            other => Err(other.foreign()),
        }
    }

    fn remove(&self, host: &Host) -> Result<()> {
        take_away(host, &self.alias, &self.of)
    }
}

impl Step for NoAlias {
    fn title(&self) -> String {
        format!("no name {} of {}", self.alias, self.of)
    }

    fn check(&self, host: &Host) -> Result<Check> {
        if !is_ours(host, &self.alias, &self.of)? {
            return Ok(Check::InPlace);
        }
        Ok(Check::Missing {
            before: Before::Link(target(&self.of)),
            differs: "named no more".into(),
        })
    }

    fn apply(&self, host: &Host) -> Result<()> {
        take_away(host, &self.alias, &self.of)
    }

    fn undo(&self, host: &Host, _before: &Before) -> Result<()> {
        put_back(host, &self.alias, &self.of)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        take_away(host, &self.alias, &self.of)
    }
}

fn take_away(host: &Host, alias: &str, of: &str) -> Result<()> {
    if is_ours(host, alias, of)? { host.remove_file(&link(alias)) } else { Ok(()) }
}

/// What somebody else has put there since is newer than ours.
fn put_back(host: &Host, alias: &str, of: &str) -> Result<()> {
    if host.meta(&link(alias))?.is_some() {
        return Ok(());
    }
    host.replace_link(&link(alias), &target(of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Faults, Owner};

    fn alias() -> Alias {
        Alias { alias: "shop-api".into(), of: "hostkit-shop.service".into() }
    }

    fn put(host: &Host, path: &str) {
        let me = Owner::new(rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let path = Path::new(path);
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        for dir in above.into_iter().skip(1) {
            host.make_dir(dir, me, 0o755).unwrap();
        }
        host.write(path, b"[Unit]\n", me, 0o644).unwrap();
    }

    fn rehearsal() -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let host = Host::rehearsal(root.path(), Faults::none()).unwrap();
        put(&host, "/etc/systemd/system/hostkit-shop.service");
        (root, host)
    }

    #[test]
    fn a_name_comes_and_goes() {
        let (_root, host) = rehearsal();
        let step = alias();
        let Check::Missing { before, .. } = step.check(&host).unwrap() else { panic!() };
        step.apply(&host).unwrap();
        assert!(matches!(step.check(&host).unwrap(), Check::InPlace));
        step.undo(&host, &before).unwrap();
        assert!(host.meta(&link("shop-api")).unwrap().is_none());
        step.apply(&host).unwrap();
        let gone = NoAlias { alias: "shop-api".into(), of: step.of.clone() };
        let Check::Missing { before, .. } = gone.check(&host).unwrap() else { panic!() };
        gone.apply(&host).unwrap();
        assert!(matches!(gone.check(&host).unwrap(), Check::InPlace));
        gone.undo(&host, &before).unwrap();
        assert!(matches!(step.check(&host).unwrap(), Check::InPlace));
    }

    #[test]
    fn what_is_called_so_is_left_alone() {
        for there in [
            "/lib/systemd/system/shop-api.service",
            "/usr/lib/systemd/system/shop-api.socket",
            "/etc/systemd/system/shop-api.timer",
            "/run/systemd/transient/shop-api.service",
            "/etc/systemd/system/shop-api.service.d/override.conf",
            "/etc/systemd/system/shop-.service.d/override.conf",
            "/etc/init.d/shop-api",
            "/etc/systemd/system/shop-api.service",
        ] {
            let (_root, host) = rehearsal();
            put(&host, there);
            let step = alias();
            let error = check_free(&host, &step.alias, &step.of).unwrap_err();
            assert_eq!(error.code, "alias_taken", "{there}");
            assert!(matches!(step.check(&host).unwrap(), Check::InPlace), "{there}");
            step.apply(&host).unwrap();
            step.remove(&host).unwrap();
            assert!(host.meta(Path::new(there)).unwrap().is_some(), "{there}");
            assert!(!is_ours(&host, &step.alias, &step.of).unwrap(), "{there}");
        }
    }

    #[test]
    fn a_package_that_comes_later_has_its_name() {
        let (_root, host) = rehearsal();
        let step = alias();
        step.apply(&host).unwrap();
        put(&host, "/lib/systemd/system/shop-api.service");
        let Check::Missing { differs, .. } = step.check(&host).unwrap() else { panic!() };
        assert!(differs.contains("hides /lib/systemd/system/shop-api.service"), "{differs}");
        step.apply(&host).unwrap();
        assert!(host.meta(&link("shop-api")).unwrap().is_none());
        assert!(matches!(step.check(&host).unwrap(), Check::InPlace));
    }
}
