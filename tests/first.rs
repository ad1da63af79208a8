//! `provision` with a source: a project and its first release by one command.

use crate::vps::{BASE_DOMAIN, Vps};

#[test]
fn a_source_is_deployed_at_once() {
    let vps = Vps::ready();
    vps.write("/root/site/index.html", "hello from the site");
    for refused in [
        "--source /root/nothing",
        "--archive /root/site",
        "--git file:///root/site",
        "--branch main",
    ] {
        let error = vps.hostkit(&format!("provision shop --no-db {refused}")).fails_with(2);
        assert!(error.contains("error: "), "{refused}: {error}");
        vps.hostkit("project info shop").fails_with(3);
    }
    let dry = vps.hostkit("provision shop --no-db --source /root/site --dry-run");
    assert!(format!("{dry}").contains("hostkit deploy shop --source /root/site"), "{dry}");
    vps.hostkit("project info shop").fails_with(3);

    let line = "provision shop --no-db --no-redis --source /root/site --domain shop.test --json";
    let deployed = vps.hostkit(line).data();
    assert_eq!(deployed["url"], format!("http://shop.{BASE_DOMAIN}"), "{deployed}");
    for domain in [format!("shop.{BASE_DOMAIN}"), "shop.test".into()] {
        assert_eq!(vps.get(&domain, "/").unwrap().body, "hello from the site");
    }
    vps.hostkit(line).fails_with(4);

    // What can't be deployed leaves a whole project, and says how to go on.
    vps.write("/root/odd/hostkit.toml", "[project]\nruntime = \"custom\"\n");
    let error = vps.hostkit("provision wiki --no-db --no-redis --source /root/odd").fails_with(2);
    assert!(error.contains("then: `hostkit deploy wiki --source /root/odd`"), "{error}");
    vps.hostkit("drift wiki").succeeds();
    vps.hostkit("deploy wiki --source /root/site --no-watch").succeeds();
}
