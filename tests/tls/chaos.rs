//! Failed or killed at every change on the way to a certificate and back.

use super::{BARE, MAKE, lead_here, plain, server, status, visit};
use crate::vps::{Snapshot, Vps};

const IMPORT: &str = "ssl import shop --cert /root/shop.pem --key /root/shop.key --quiet";
const DISABLE: &str = "ssl disable shop --quiet";

/// What visitors left behind is not what counts.
fn look(vps: &Vps) -> Snapshot {
    vps.snapshot().without("file /var/log/nginx/")
}

/// Nothing half-way: nginx takes its configuration, and the site answers in one way or the other.
fn check(vps: &Vps, (http, https): (&Snapshot, &Snapshot), when: &str) -> bool {
    vps.hostkit("recover --quiet").succeeds();
    vps.sh("nginx -t -q").succeeds();
    let is_secure = vps.hostkit("ssl status shop").code == 0;
    if is_secure {
        assert_eq!(visit(vps, "shop.apps.test", "-k"), "hello\n", "{when}");
        https.assert_same(&look(vps), when);
    } else {
        assert_eq!(plain(vps, "shop.apps.test", "/").0, 200, "{when}");
        http.assert_same(&look(vps), when);
    }
    is_secure
}

#[test]
fn a_certificate_comes_and_goes_whole_or_not_at_all() {
    let vps = server();
    vps.sh(MAKE).succeeds();
    vps.hostkit(&format!("provision shop {BARE}")).succeeds();
    let http = look(&vps);
    let comes = vps.changes(IMPORT);
    let https = look(&vps);
    let goes = vps.changes(DISABLE);
    http.assert_same(&look(&vps), "came and went");
    let mut points = 0;
    for mode in ["fail-after", "kill"] {
        for (line, total, back) in [(IMPORT, comes, DISABLE), (DISABLE, goes, IMPORT)] {
            for n in 0..total {
                let when = format!("{line}: {mode}@{n}");
                let ran = vps.hostkit_fault(&format!("{mode}@{n}"), line);
                points += 1;
                assert!(matches!(ran.code, 0 | 1 | 137), "{when}: {ran}");
                let is_done = check(&vps, (&http, &https), &when) == (line == IMPORT);
                assert!(is_done || ran.code != 0, "{when}: {ran}");
                if is_done {
                    vps.hostkit(back).succeeds();
                }
            }
            vps.hostkit(line).succeeds();
        }
    }
    println!("failure points walked: {points} (certificates)");
}

#[test]
fn an_order_that_is_killed_anywhere_is_completed_by_the_next() {
    let vps = server();
    lead_here(&vps, "shop.apps.test");
    vps.hostkit(&format!("provision shop {BARE}")).succeeds();
    let line = "ssl enable shop --agree-tos --quiet";
    let mut points = 0;
    for n in (0..).step_by(3) {
        assert!(matches!(vps.hostkit("ssl disable shop --quiet").code, 0 | 3));
        let ran = vps.hostkit_fault(&format!("kill@{n}"), line);
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 137, "{ran}");
        points += 1;
        vps.sh("nginx -t -q").succeeds();
        vps.hostkit(line).succeeds();
        assert_eq!(status(&vps, "shop")["state"], "issued", "kill@{n}");
        assert_eq!(visit(&vps, "shop.apps.test", ""), "hello\n", "kill@{n}");
        vps.hostkit("drift shop").succeeds();
    }
    assert!(points >= 5, "hardly anything was walked: {points}");
    println!("failure points walked: {points} (an order)");
}
