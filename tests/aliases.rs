//! Other names of units: they come and go with a release, and are nobody else's.

use crate::vps::{BASE_DOMAIN, Vps};

const SERVER: &str = "import http.server, os\n\
    class Page(http.server.BaseHTTPRequestHandler):\n\
    \x20   def do_GET(self):\n\
    \x20       self.send_response(200); self.end_headers(); self.wfile.write(b'up')\n\
    http.server.HTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Page).serve_forever()\n";

const QUEUE: &str = "[process.queue]\ncommand = \"/bin/sleep infinity\"\n";

fn tree(vps: &Vps, name: &str, web: &str, more: &str) {
    vps.write(&format!("/root/{name}/server.py"), SERVER);
    let manifest = format!(
        "[project]\nruntime = \"custom\"\n[process.web]\ncommand = \"/usr/bin/python3 server.py\"\n{web}{more}"
    );
    vps.write(&format!("/root/{name}/hostkit.toml"), &manifest);
}

fn deploy(vps: &Vps, name: &str) -> crate::vps::Ran {
    vps.hostkit(&format!("deploy shop --source /root/{name} --no-watch"))
}

/// The unit that a name leads to, if it leads to any.
fn unit_of(vps: &Vps, name: &str) -> String {
    vps.sh(&format!("systemctl show -p Id --value {name}.service")).stdout.trim().to_owned()
}

fn links(vps: &Vps) -> String {
    let all =
        "find /etc/systemd/system -maxdepth 1 -type l -lname '*hostkit-shop*' -printf '%f\\n'";
    vps.sh(&format!("{all} | sort")).succeeds()
}

#[test]
fn names_come_and_go_with_the_release() {
    let vps = Vps::ready();
    let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    let host = format!("shop.{BASE_DOMAIN}");
    tree(&vps, "one", "aliases = [\"shop-api\"]\n", &format!("{QUEUE}aliases = [\"shop-jobs\"]\n"));
    tree(&vps, "two", "aliases = [\"shop-web\"]\n", QUEUE);
    let told = vps.hostkit("deploy shop --source /root/one --dry-run").succeeds();
    assert!(told.contains("web starts (web, called shop-api)"), "{told}");
    assert_eq!(links(&vps), "");
    deploy(&vps, "one").succeeds();
    assert_eq!(unit_of(&vps, "shop-api"), "hostkit-shop.service");
    assert_eq!(unit_of(&vps, "shop-jobs"), "hostkit-shop-queue.service");
    let told = vps.sh("systemctl status shop-api").succeeds();
    assert!(told.contains("hostkit-shop.service") && told.contains("active (running)"), "{told}");
    vps.sh("systemctl restart shop-api && systemctl is-active shop-jobs").succeeds();
    vps.wait_until("it answers", |vps| vps.get(&host, "/").is_some_and(|page| page.status == 200));
    // What starts it at boot lists the name as its own, too.
    let told = vps.sh("systemctl show -p Names --value hostkit-shop").succeeds();
    assert!(told.contains("shop-api.service"), "{told}");
    vps.hostkit("drift shop").succeeds();
    // The journal knows no other names; whoever asks it is sent on.
    let told = vps.sh("journalctl --no-pager -o cat -u shop-api").succeeds();
    assert!(told.contains("`journalctl -u hostkit-shop.service`"), "{told}");

    // The next release has another name; the old one leads nowhere, and back again.
    deploy(&vps, "two").succeeds();
    assert_eq!(links(&vps), "shop-web.service\n");
    assert_eq!(unit_of(&vps, "shop-web"), "hostkit-shop.service");
    assert_eq!(vps.sh("systemctl status shop-api").code, 4);
    vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(links(&vps), "shop-api.service\nshop-jobs.service\n");
    assert_eq!(vps.sh("systemctl status shop-web").code, 4);
    // A release that does not come up takes its names along.
    tree(
        &vps,
        "bad",
        "aliases = [\"shop-bad\"]\nhealth = { path = \"/\", status = 201, timeout = 2 }\n",
        "",
    );
    deploy(&vps, "bad").fails_with(6);
    assert_eq!(links(&vps), "shop-api.service\nshop-jobs.service\n");

    // Gone by hand it is drift, and made again.
    vps.sh("rm /etc/systemd/system/shop-api.service").succeeds();
    let told = vps.hostkit("drift shop");
    assert!(told.stdout.contains("name shop-api of hostkit-shop.service"), "{told}");
    told.fails_with(1);
    vps.hostkit("repair shop --quiet").succeeds();
    assert_eq!(unit_of(&vps, "shop-api"), "hostkit-shop.service");
    // A package that comes later has its name.
    vps.write("/usr/lib/systemd/system/shop-api.service", "[Service]\nExecStart=/bin/true\n");
    let told = vps.hostkit("drift shop");
    assert!(told.stdout.contains("so it goes"), "{told}");
    vps.hostkit("repair shop --quiet").succeeds();
    vps.sh("systemctl daemon-reload").succeeds();
    assert_eq!(unit_of(&vps, "shop-api"), "shop-api.service");
    assert_eq!(links(&vps), "shop-jobs.service\n");
    vps.hostkit("drift shop").succeeds();
    vps.sh("rm /usr/lib/systemd/system/shop-api.service; systemctl daemon-reload").succeeds();
    vps.hostkit("repair shop --quiet").succeeds();

    // A deletion leaves nothing.
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert_eq!(vps.sh("ls /etc/systemd/system | grep -c shop").stdout, "0\n");
    assert_eq!(vps.sh("systemctl status shop-api").code, 4);
}

#[test]
fn a_name_is_nobody_elses() {
    let vps = Vps::ready();
    let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
    for name in ["shop", "shop-stage"] {
        vps.hostkit(&format!("provision {name} --no-db --no-redis --quiet")).succeeds();
    }
    let before = vps.sh("find /etc/systemd/system | sort").succeeds();
    // No name of a unit at all, and the system's: the manifest itself can't be used.
    for alias in [
        "ssh",
        "nginx",
        "cron",
        "dbus-org.freedesktop.login1",
        "foo@",
        "shop-a.socket",
        "../shop-x",
        "shop-a/b",
        "shop-%i",
        "systemd-logind",
        "hostkit-shop-stage",
        "shop-x.service.d",
    ] {
        tree(&vps, "bad", &format!("aliases = [\"{alias}\"]\n"), "");
        let ran = vps.hostkit("deploy shop --source /root/bad --no-watch");
        assert_eq!(ran.code, 2, "{alias}: {ran}");
    }
    // Somebody's: a package's to come, another project's, what is there, what is left of it.
    vps.write("/usr/lib/systemd/system/shop-old.socket", "[Socket]\nListenStream=/run/x\n");
    vps.write("/etc/systemd/system/shop-kept.service.d/x.conf", "[Service]\nUser=root\n");
    vps.write("/etc/systemd/system/shop-own.service", "[Service]\nExecStart=/bin/true\n");
    vps.sh("ln -s /etc/passwd /etc/systemd/system/shop-link.service").succeeds();
    for (alias, code) in [
        ("grafana-server", "alias_not_granted"),
        ("shopping", "alias_not_granted"),
        ("shop", "alias_not_granted"),
        ("shop-stage", "alias_taken"),
        ("shop-stage-web", "alias_taken"),
        ("shop-old", "alias_taken"),
        ("shop-kept", "alias_taken"),
        ("shop-own", "alias_taken"),
        ("shop-link", "alias_taken"),
    ] {
        tree(
            &vps,
            "bad",
            &format!("aliases = [\"{alias}\"]\n"),
            "[build]\nsteps = [\"touch built\"]\n",
        );
        for how in ["--no-watch", "--dry-run"] {
            let ran = vps.hostkit(&format!("deploy shop --source /root/bad {how} --json"));
            assert_eq!(ran.code, 4, "{alias}: {ran}");
            assert!(ran.stdout.contains(code) || ran.stderr.contains(code), "{alias}: {ran}");
        }
    }
    // Nothing was built, and nothing of anybody's is touched.
    assert_eq!(vps.sh("find /home/shop -name built").stdout, "");
    assert_eq!(vps.sh("readlink /etc/systemd/system/shop-link.service").stdout, "/etc/passwd\n");
    vps.sh("rm -r /etc/systemd/system/shop-{kept.service.d,own.service,link.service} /usr/lib/systemd/system/shop-old.socket").succeeds();
    assert_eq!(vps.sh("find /etc/systemd/system | sort").succeeds(), before);

    // With an operator's grant, and for that project alone.
    vps.hostkit("config set units.aliases [\"shop/old-shop\"]").succeeds();
    tree(&vps, "good", "aliases = [\"old-shop\", \"shop-api\"]\n", "");
    let ran = vps.hostkit("deploy shop-stage --source /root/good --no-watch");
    assert!(ran.fails_with(4).contains("an operator granted that name to shop"));
    deploy(&vps, "good").succeeds();
    assert_eq!(unit_of(&vps, "old-shop"), "hostkit-shop.service");
    for granted in ["shop/ssh", "shop/a.socket", "old-shop"] {
        vps.hostkit(&format!("config set units.aliases {granted}")).fails_with(2);
    }
    // No project is made whose name one of them is.
    for name in ["shop-api", "old-shop"] {
        let said = vps.hostkit(&format!("provision {name} --no-db --no-redis")).fails_with(4);
        assert!(said.contains("another name of one of its units"), "{said}");
    }
    // Without the grant what is live goes on; a release that comes back comes without that name,
    // and comes, even though somebody's file has the other one's meanwhile.
    vps.hostkit("config set units.aliases []").succeeds();
    vps.hostkit("env set shop A=b --restart").succeeds();
    vps.hostkit("drift shop").succeeds();
    assert_eq!(unit_of(&vps, "old-shop"), "hostkit-shop.service");
    tree(&vps, "none", "", "");
    deploy(&vps, "none").succeeds();
    assert_eq!(links(&vps), "");
    vps.write("/etc/systemd/system/shop-api.service", "[Service]\nExecStart=/bin/true\n");
    let ran = vps.hostkit("rollback shop");
    assert!(ran.stderr.contains("`old-shop` can't be a name of a unit of shop"), "{ran}");
    ran.succeeds();
    assert_eq!(links(&vps), "");
    assert!(vps.read("/etc/systemd/system/shop-api.service").contains("/bin/true"));
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert!(vps.read("/etc/systemd/system/shop-api.service").contains("/bin/true"));
}
