//! The package: what it brings, and that taking it away takes nothing else.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use hostkit::sys::system::PROGRAMS;
use tempfile::TempDir;

use crate::vps::Vps;

const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

/// The program under test as a package, in a directory that goes with the test.
struct Package {
    dir: TempDir,
}

impl Package {
    fn build() -> Self {
        let dir = TempDir::new().unwrap();
        let out = Command::new(format!("{CHECKOUT}/packaging/deb"))
            .args(["--binary", env!("CARGO_BIN_EXE_hostkit"), "--into"])
            .arg(dir.path())
            .env("SOURCE_DATE_EPOCH", "1700000000")
            .output()
            .unwrap();
        let stdout = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{stdout}{}", String::from_utf8_lossy(&out.stderr));
        let package = Self { dir };
        assert_eq!(Path::new(stdout.lines().last().unwrap()), package.path());
        package
    }

    fn path(&self) -> PathBuf {
        let mut files = self.dir.path().read_dir().unwrap();
        files.next().unwrap().unwrap().path()
    }

    fn field(&self, name: &str) -> String {
        let out = Command::new("dpkg-deb").arg("-f").args([&self.path()]).arg(name).output();
        String::from_utf8(out.unwrap().stdout).unwrap().trim().to_owned()
    }

    /// As a script would, where nobody is there to answer.
    fn install(&self, vps: &Vps) {
        vps.push(&self.path(), "/root/hostkit.deb");
        let said = vps.sh("dpkg --install /root/hostkit.deb < /dev/null").succeeds();
        assert!(!said.contains("onfiguration file"), "{said}");
    }
}

/// A server that has never seen hostkit.
fn untouched() -> Vps {
    let vps = Vps::bare();
    vps.sh("rm /usr/bin/hostkit").succeeds();
    vps
}

#[test]
fn it_depends_on_every_program_that_hostkit_drives() {
    let depends = Package::build().field("Depends");
    let names: Vec<&str> =
        depends.split(", ").map(|one| one.split(' ').next().unwrap_or(one)).collect();
    for (program, package) in PROGRAMS {
        assert!(names.contains(package), "{program} is in {package}: {depends}");
    }
    assert!(names.contains(&"libc6"), "{depends}");
}

#[test]
fn the_same_program_makes_the_same_package() {
    let read = |package: Package| std::fs::read(package.path()).unwrap();
    assert!(read(Package::build()) == read(Package::build()));
}

#[test]
fn it_brings_the_program_its_pages_completions_and_configuration() {
    let vps = untouched();
    Package::build().install(&vps);
    assert_eq!(vps.sh("dpkg --verify hostkit; dpkg --audit").succeeds(), "");
    assert_eq!(vps.sh("stat -c '%a %U:%G' /usr/bin/hostkit").succeeds(), "755 root:root\n");

    let pages = vps.sh("umask 022; mkdir /tmp/pages; hostkit man --into /tmp/pages; ls /tmp/pages");
    for page in pages.succeeds().lines() {
        let compare = format!("zcat /usr/share/man/man1/{page}.gz | cmp - /tmp/pages/{page}");
        vps.sh(&compare).succeeds();
    }
    let page = vps.sh("zcat /usr/share/man/man1/hostkit-provision.1.gz").succeeds();
    assert!(page.contains(".SH SYNOPSIS\n\\fBhostkit provision\\fR"), "{page}");
    let closed = vps.sh("find $(dpkg -L hostkit) -maxdepth 0 -type f ! -perm -444").succeeds();
    assert_eq!(closed, "", "everybody may read what a package brings");

    let complete = "source /usr/share/bash-completion/completions/hostkit; complete -p hostkit;
        COMP_WORDS=(hostkit prov) COMP_CWORD=1; _hostkit hostkit prov hostkit; echo ${COMPREPLY[@]}";
    let completed = vps.sh(complete).succeeds();
    assert_eq!(completed.lines().last(), Some("provision"), "{completed}");
    assert!(vps.read("/usr/share/zsh/vendor-completions/_hostkit").starts_with("#compdef hostkit"));
    let fish = vps.read("/usr/share/fish/vendor_completions.d/hostkit.fish");
    assert!(fish.contains("complete -c hostkit"), "{fish}");

    let schema = "hostkit manifest --schema | cmp - /usr/share/hostkit/hostkit.schema.json";
    vps.sh(schema).succeeds();

    let conffiles = vps.sh("dpkg-query -W -f '${Conffiles}' hostkit").succeeds();
    assert!(conffiles.contains("/etc/hostkit/hostkit.toml"), "{conffiles}");
    let shipped = std::fs::read_to_string(format!("{CHECKOUT}/templates/hostkit.toml")).unwrap();
    assert_eq!(vps.read("/etc/hostkit/hostkit.toml"), shipped);
}

#[test]
fn where_nothing_was_set_up_a_purge_leaves_nothing() {
    let vps = untouched();
    let before = vps.snapshot();
    let package = Package::build();
    package.install(&vps);
    vps.sh("dpkg --purge hostkit").succeeds();
    vps.sh("rm /root/hostkit.deb").succeeds();
    before.assert_same(&vps.snapshot(), "installed and purged");

    package.install(&vps);
    vps.hostkit("init").succeeds();
    vps.hostkit("init --undo").succeeds();
    vps.sh("dpkg --purge hostkit").succeeds();
    vps.sh("rm /root/hostkit.deb").succeeds();
    before.assert_same(&vps.snapshot(), "set up, undone and purged");
}

#[test]
fn a_configuration_that_was_there_first_stays_and_nobody_is_asked() {
    let vps = untouched();
    let text = "base_domain = \"mine.test\"\n";
    vps.write("/etc/hostkit/hostkit.toml", text);
    let package = Package::build();
    package.install(&vps);
    assert_eq!(vps.read("/etc/hostkit/hostkit.toml"), text);
    package.install(&vps);
    vps.sh("dpkg --remove hostkit").succeeds();
    package.install(&vps);
    assert_eq!(vps.read("/etc/hostkit/hostkit.toml"), text);
    assert!(!vps.exists("/etc/hostkit/hostkit.toml.save"));
}

#[test]
fn removing_and_purging_it_leave_every_project_running() {
    let vps = untouched();
    let package = Package::build();
    package.install(&vps);
    vps.hostkit("init --base-domain apps.test").succeeds();
    let start = "/usr/bin/python3 /home/shop/app";
    vps.hostkit_args(&["provision", "shop", "--runtime", "custom", "--start-cmd", start])
        .succeeds();
    let app = std::fs::read_to_string(format!("{CHECKOUT}/examples/hello/__main__.py")).unwrap();
    vps.release("shop", &[("__main__.py", &app)]);
    vps.hostkit("project start shop").succeeds();
    answers(&vps);
    let process = main_process(&vps);
    let whole = vps.snapshot();

    for way in ["--remove", "--purge"] {
        vps.sh(&format!("dpkg {way} hostkit")).succeeds();
        assert!(!vps.exists("/usr/bin/hostkit"));
        let gone = whole.difference(&vps.snapshot());
        let own = [" /usr/bin/hostkit ", " /usr/share/hostkit", ".save "];
        let is_the_packages = |line: &str| own.iter().any(|own| line.contains(own));
        assert!(gone.lines().all(is_the_packages), "dpkg {way}:\n{gone}");
        assert_eq!(main_process(&vps), process, "dpkg {way}");
        for path in [
            "/var/lib/hostkit/registry.db",
            "/etc/hostkit/hostkit.toml",
            "/etc/systemd/system/hostkit-shop.service",
            "/etc/nginx/sites-enabled/hostkit-shop",
            "/etc/sudoers.d/hostkit-shop",
            "/home/shop/.env",
        ] {
            assert!(vps.exists(path), "dpkg {way}: {path}");
        }
        nothing_that_projects_need_goes(&vps);
    }
    package.install(&vps);
    whole.assert_same(&vps.snapshot(), "purged and installed again");
    vps.hostkit("doctor").succeeds();

    vps.sh("dpkg --purge hostkit").succeeds();
    vps.crash();
    vps.boot();
    answers(&vps);
    package.install(&vps);
    vps.hostkit("doctor").succeeds();
    let status = vps.hostkit("status shop --json").data();
    assert_eq!(status["projects"][0]["state"], "up", "{status}");
}

fn answers(vps: &Vps) {
    vps.wait_until("the project answers", |vps| {
        let answer = vps.get("shop.apps.test", "/");
        answer.is_some_and(|answer| answer.status == 200 && answer.body.contains("Hello from shop"))
    });
}

fn main_process(vps: &Vps) -> String {
    vps.sh("systemctl show -P MainPID hostkit-shop").succeeds()
}

/// Were they here for hostkit's sake only, apt would still not tidy them away.
fn nothing_that_projects_need_goes(vps: &Vps) {
    let packages = ["nginx", "postgresql", "redis-server", "acl", "nftables"];
    vps.sh(&format!("apt-mark auto {}", packages.join(" "))).succeeds();
    let with = vps.sh("apt-get --simulate autoremove").succeeds();
    let without = "cd /etc/apt/apt.conf.d; mv 20hostkit /root
        apt-get --simulate autoremove; mv /root/20hostkit .";
    let without = vps.sh(without).succeeds();
    for package in packages {
        let line = format!("Remv {package} ");
        assert!(!with.contains(&line), "{with}");
        assert!(without.contains(&line), "without the rule it would: {without}");
    }
}
