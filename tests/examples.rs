//! The examples, as a newcomer deploys them: real trees, with packages from the registries.

use std::path::Path;

use crate::vps::{BASE_DOMAIN, Load, Vps};

fn deployed(name: &str, provision: &str) -> Vps {
    deployed_on(Vps::ready(), name, provision)
}

fn deployed_on(vps: Vps, name: &str, provision: &str) -> Vps {
    let example = format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    vps.push(Path::new(&example), &format!("/root/{name}"));
    vps.hostkit(&format!("provision {name} {provision} --quiet")).succeeds();
    deploy(&vps, name);
    vps
}

fn deploy(vps: &Vps, name: &str) {
    let told = vps.hostkit(&format!("deploy {name} --source /root/{name} --watch 2s"));
    println!("{told}");
    told.succeeds();
    vps.hostkit(&format!("drift {name}")).succeeds();
}

fn page(vps: &Vps, name: &str, path: &str) -> String {
    let answer = vps.get(&format!("{name}.{BASE_DOMAIN}"), path).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

#[test]
fn fastapi_with_its_database_and_migrations() {
    let vps = deployed("fastapi", "");
    assert!(page(&vps, "fastapi", "/health").contains("ok"));
    let post = "curl -sS -H 'Host: fastapi.apps.test' -H 'Content-Type: application/json' -d '{\"text\":\"remember\"}' http://127.0.0.1/notes";
    vps.sh(post).succeeds();
    assert!(page(&vps, "fastapi", "/notes").contains("remember"));
    // Once more, with what the first deploy left in the caches; the notes stay.
    deploy(&vps, "fastapi");
    assert!(page(&vps, "fastapi", "/notes").contains("remember"));
    vps.hostkit("rollback fastapi").succeeds();
    assert!(page(&vps, "fastapi", "/notes").contains("remember"));
    // A pool of connections goes over to another password with nobody noticing.
    let load = Load::looking(&vps, &format!("fastapi.{BASE_DOMAIN}"), 4, &["/notes"]);
    for _ in 0..2 {
        vps.hostkit("db rotate fastapi --quiet").succeeds();
    }
    load.end().assert_none_failed(20);
    vps.hostkit("drift fastapi").succeeds();
}

#[test]
fn express_on_node() {
    let vps = deployed("express", "--no-db");
    assert!(page(&vps, "express", "/").contains("express"));
    deploy(&vps, "express");
    assert!(page(&vps, "express", "/health").contains("ok"));
}

#[test]
fn vite_built_into_a_static_site() {
    let vps = deployed("vite", "--no-db --no-redis");
    let index = page(&vps, "vite", "/");
    let asset = index.split('"').find(|part| part.starts_with("/assets/")).unwrap();
    assert!(page(&vps, "vite", asset).len() > 1000);
    // A page of its own routes, and nothing that lies beside a site.
    assert_eq!(page(&vps, "vite", "/any/route"), index);
    for hidden in ["/.complete", "/.release", "/package.json"] {
        let answer = vps.get(&format!("vite.{BASE_DOMAIN}"), hidden).unwrap();
        assert!(
            !answer.body.contains("HOSTKIT") && !answer.body.contains("devDependencies"),
            "{hidden}"
        );
    }
    deploy(&vps, "vite");
    vps.hostkit("rollback vite").succeeds();
    assert_eq!(page(&vps, "vite", "/"), index);
}

#[test]
fn nextjs_standalone() {
    let vps = deployed("nextjs", "--no-db --no-redis");
    assert!(page(&vps, "nextjs", "/").contains("<html"));
    page(&vps, "nextjs", "/api/health");
    let listening = vps.sh("ss -Hltn | awk '{print $4}' | grep ':8001$'").succeeds();
    assert_eq!(listening.trim(), "127.0.0.1:8001", "it listens on loopback alone");
}

#[test]
fn several_processes_of_one_release() {
    let vps = deployed("worker", "--no-db --no-redis");
    page(&vps, "worker", "/");
    for unit in ["hostkit-worker", "hostkit-worker-worker", "hostkit-worker-cleanup.timer"] {
        assert_eq!(vps.sh(&format!("systemctl is-active {unit}")).stdout, "active\n", "{unit}");
    }
}

#[test]
fn php_with_composer() {
    let vps = Vps::ready();
    vps.sh(crate::php::INSTALL).succeeds();
    // Its name is that of nothing of ours: neither a directory of sockets nor one of settings.
    let vps = deployed_on(vps, "php", "--no-db --no-redis");
    assert!(page(&vps, "php", "/health").contains("ok"));
    page(&vps, "php", "/style.css");
    let sign = "curl -sS -o /dev/null -w '%{http_code}' -H 'Host: php.apps.test' -d 'name=Ada <3' http://127.0.0.1/";
    assert_eq!(vps.sh(sign).succeeds(), "303");
    // Once more; what guests wrote stays, and composer takes what is in its cache.
    deploy(&vps, "php");
    assert!(page(&vps, "php", "/").contains("<li>Ada &lt;3</li>"));
    for hidden in ["/vendor/autoload.php", "/../composer.lock", "/var/guests.txt", "/composer.json"]
    {
        let answer = vps.get(&format!("php.{BASE_DOMAIN}"), hidden).unwrap();
        assert!(answer.status >= 400 && !answer.body.contains("Ada"), "{hidden}: {}", answer.body);
    }
    vps.hostkit("rollback php").succeeds();
    assert!(page(&vps, "php", "/").contains("Ada"));
}
