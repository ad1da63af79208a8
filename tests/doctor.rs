//! `hostkit doctor`: every invariant has a check, every check says what mends it.

use crate::vps::{Vps, listened};

#[test]
fn each_thing_that_is_wrong_is_named_and_mended_by_what_is_said() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    vps.hostkit("doctor").succeeds();
    let redis = "redis-cli -s /run/redis/hostkit.sock --user hostkit-admin --pass $(cat /etc/hostkit/redis.secret) --no-auth-warning";
    let cases: Vec<(String, &str, &str, &str)> = vec![
        ("systemctl stop nginx".into(), "nginx", "it is inactive", "systemctl start nginx"),
        (
            "systemctl stop redis-server".into(),
            "redis",
            "does not answer",
            "systemctl start redis-server",
        ),
        (
            "systemctl stop postgresql@15-main postgresql".into(),
            "postgres",
            "does not answer",
            "systemctl start postgresql",
        ),
        (
            "nft delete table inet hostkit".into(),
            "wall",
            "the kernel does not have it",
            "systemctl restart hostkit-wall",
        ),
        (
            "chmod 644 /var/lib/hostkit/registry.db".into(),
            "registry",
            "others than root may read it",
            "chmod 600 /var/lib/hostkit/registry.db",
        ),
        (
            "chmod 777 /usr/bin/hostkit".into(),
            "hostkit itself",
            "somebody else than root",
            "chmod 755 /usr/bin/hostkit",
        ),
        (
            format!("{redis} set stray 1"),
            "redis database 0",
            "1 keys, where every project can reach them",
            "find who writes there",
        ),
        (
            format!("{redis} acl setuser default on nopass +@all"),
            "redis without password",
            "anybody on this server",
            "switch the default user off",
        ),
        (
            "echo '# more' >> /etc/hostkit/wall.nft".into(),
            "what init made",
            "file /etc/hostkit/wall.nft: contents",
            "hostkit init",
        ),
        (
            "runuser -u postgres -- psql -qc 'grant connect on database postgres to public'".into(),
            "what init made",
            "database postgres closed to everybody",
            "hostkit init",
        ),
        (
            "sed -i '/hostkit: begin/,/hostkit: end/d' /etc/postgresql/15/main/pg_hba.conf".into(),
            "what init made",
            "lines in /etc/postgresql/15/main/pg_hba.conf",
            "hostkit init",
        ),
        (
            "rm /home/shop/.env".into(),
            "shop: user and home",
            "file /home/shop/.env: missing",
            "hostkit repair shop",
        ),
        (
            "echo 'shop ALL=(ALL) ALL' > /etc/sudoers.d/hostkit-shop".into(),
            "shop: access",
            "file /etc/sudoers.d/hostkit-shop: contents",
            "hostkit repair shop",
        ),
        (
            format!("{redis} acl setuser shop +config"),
            "shop: redis",
            "may run config",
            "hostkit repair shop",
        ),
        (
            "runuser -u postgres -- psql -qc 'alter role shop_user superuser'".into(),
            "shop: postgres",
            "superuser (should not be)",
            "hostkit repair shop",
        ),
        (
            "systemctl disable hostkit-shop 2> /dev/null".into(),
            "shop: unit",
            "missing",
            "hostkit repair shop",
        ),
        (
            "rm /etc/nginx/sites-enabled/hostkit-shop; systemctl restart nginx".into(),
            "shop: site answers",
            "answer",
            "hostkit repair shop",
        ),
        (
            "sed -i '/# shop$/d' /etc/nginx/conf.d/hostkit-map.conf".into(),
            "shop: site",
            "entry in /etc/nginx/conf.d/hostkit-map.conf",
            "hostkit repair shop",
        ),
    ];
    for (sabotage, name, finding, fix) in cases {
        vps.sh(&sabotage).succeeds();
        let ran = vps.hostkit("doctor --json");
        assert_eq!(ran.code, 1, "{sabotage}: {ran}");
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(document["data"]["ok"], false);
        let checks = document["data"]["checks"].as_array().unwrap();
        let check = checks.iter().find(|c| c["name"] == name && c["ok"] == false);
        let check = check.unwrap_or_else(|| panic!("{sabotage}: no failed check `{name}`: {ran}"));
        assert!(check["finding"].as_str().unwrap().contains(finding), "{sabotage}: {check}");
        assert!(check["fix"].as_str().unwrap().contains(fix), "{sabotage}: {check}");
        // What only a person may decide is not mended by itself.
        let by_hand = match name {
            "registry" => "chmod 600 /var/lib/hostkit/registry.db".to_owned(),
            "hostkit itself" => "chmod 755 /usr/bin/hostkit".to_owned(),
            "redis database 0" => format!("{redis} del stray"),
            "redis without password" => {
                format!("{redis} acl setuser default off resetpass -@all; {redis} acl save")
            }
            _ => String::new(),
        };
        vps.sh(&by_hand).succeeds();
        let fixed = vps.hostkit("doctor --fix");
        assert_eq!(fixed.code, 0, "{sabotage}: {fixed}");
    }
}

#[test]
fn somebody_on_a_projects_port_is_found() {
    let vps = Vps::ready();
    vps.hostkit("provision shop").succeeds();
    let squat =
        "useradd -m squatter; runuser -u squatter -- python3 -m http.server --bind 127.0.0.1 14001";
    vps.sh(&format!("({squat}) > /dev/null 2>&1 & {}", listened(14001))).succeeds();
    let doctor = vps.hostkit("doctor");
    assert!(doctor.stdout.contains("listens on port 14001"), "{doctor}");
    assert_eq!(doctor.code, 1);
    vps.sh("pkill -KILL -u squatter").succeeds();
    vps.hostkit("doctor").succeeds();
}

#[test]
fn what_was_interrupted_is_found_and_finished() {
    let vps = Vps::ready();
    vps.hostkit_fault("kill@20", "provision shop").fails_with(137);
    let doctor = vps.hostkit("doctor");
    assert!(doctor.stdout.contains("1 operation interrupted"), "{doctor}");
    assert!(vps.hostkit("status").succeeds().contains("no projects yet"));
    let shown = vps.hostkit("recover --dry-run").succeeds();
    assert!(shown.contains("`provision` of shop: interrupted"), "{shown}");
    vps.hostkit("doctor --fix").succeeds();
    vps.hostkit("provision shop").succeeds();
}

#[test]
fn a_server_that_is_not_prepared_is_told_to_be() {
    let vps = Vps::bare();
    let doctor = vps.hostkit("doctor");
    assert!(doctor.stdout.contains("hostkit init"), "{doctor}");
    assert_eq!(doctor.code, 1);
    for line in ["project list", "status", "provision shop"] {
        let error = vps.hostkit(line).fails_with(8);
        assert!(error.contains("hostkit init"), "{line}: {error}");
    }
}
