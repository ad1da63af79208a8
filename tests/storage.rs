//! Object storage: a bucket and a key for each project, on a real Garage, and on a service
//! elsewhere, with an independent client.
//!
//! Garage is at `HOSTKIT_GARAGE`, or in `hostkit-garage/bin` beside the target directory. Where it
//! is neither, the tests that need it say so and end, and the service elsewhere is moto's.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::{Value, json};

use crate::vps::{Load, MANIFEST, Ran, Snapshot, Vps, app, listened};

/// The client, and s3cmd as another one.
const CLIENT: &str = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends python3-boto3 s3cmd curl";

const PROGRAM: &str = "/root/garage";

/// The program of Garage, if there is one on this machine.
fn garage() -> Option<PathBuf> {
    let beside = || {
        Some(
            Path::new(env!("CARGO_BIN_EXE_hostkit"))
                .ancestors()
                .nth(3)?
                .join("hostkit-garage/bin/garage"),
        )
    };
    let path = std::env::var_os("HOSTKIT_GARAGE").map_or_else(beside, |path| Some(path.into()));
    let found = path.filter(|path| path.is_file());
    if found.is_none() {
        println!(
            "no Garage is cached: not tested on it (cargo install garage --locked, see HOSTKIT_GARAGE)"
        );
    }
    found
}

/// A server that runs a Garage, with clients.
pub fn server() -> Option<Server> {
    let program = garage()?;
    let vps = Vps::with("storage", |vps| {
        vps.sh(CLIENT).succeeds();
        vps.push(&program, PROGRAM);
        vps.write("/root/client.py", include_str!("storage.py"));
        vps.hostkit(&format!("storage setup --garage {PROGRAM}")).succeeds();
    });
    let server = Server { vps };
    server.wait();
    Some(server)
}

pub struct Server {
    pub vps: Vps,
}

impl Server {
    pub fn wait(&self) {
        self.vps.wait_until("the storage", |vps| {
            vps.hostkit("storage status --json").data()["answers"] == true
        });
    }

    pub fn client(&self, line: &str) -> Ran {
        self.vps.sh(&format!("python3 /root/client.py {line}"))
    }

    /// Garage's own word for what it holds.
    fn admin(&self, call: &str) -> Value {
        let text = self.vps.sh(&format!(
            "curl -sf -H \"Authorization: Bearer $(cat /etc/hostkit/garage.token)\" http://127.0.0.1:3903/v2/{call}"
        ));
        serde_json::from_str(&text.succeeds()).unwrap()
    }

    fn change(&self, call: &str, body: &Value) {
        self.vps.write("/root/body.json", &body.to_string());
        self.vps
            .sh(&format!(
                "curl -sSf -X POST -H \"Authorization: Bearer $(cat /etc/hostkit/garage.token)\" \
                 -H 'Content-Type: application/json' -d @/root/body.json 'http://127.0.0.1:3903/v2/{call}'"
            ))
            .succeeds();
    }

    fn bucket(&self, project: &str) -> Value {
        self.admin(&format!("GetBucketInfo?globalAlias=hostkit-{project}"))
    }

    /// All buckets and all keys, by name.
    fn held(&self) -> Vec<String> {
        let (buckets, keys) = (self.admin("ListBuckets"), self.admin("ListKeys"));
        let bucket = |b: &Value| b["globalAliases"][0].to_string();
        let mut all: Vec<String> = buckets.as_array().unwrap().iter().map(bucket).collect();
        all.extend(keys.as_array().unwrap().iter().map(|key| key["name"].to_string()));
        all.sort();
        all
    }

    pub fn variable(&self, project: &str, key: &str) -> String {
        let env = self.vps.read(&format!("/home/{project}/.env"));
        let line = env.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("{key}: {env}")).to_owned()
    }

    fn curl(&self, rest: &str) -> String {
        self.vps.sh(&format!("curl -s -m 10 --path-as-is {rest}")).stdout
    }
}

const BARE: &str = "--no-db --no-redis --quiet";

#[test]
fn each_project_has_a_bucket_that_no_other_opens() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    let start = Instant::now();
    let made = vps.hostkit("provision shop --json").data();
    println!("provision with a bucket: {:?}", start.elapsed());
    assert_eq!(made["bucket"], "hostkit-shop");
    vps.hostkit(&format!("project create wiki --with-storage {}", "--no-redis --quiet")).succeeds();
    vps.hostkit(&format!("provision plain --no-storage {BARE}")).succeeds();
    assert!(!vps.read("/home/plain/.env").contains("S3_"));
    assert_eq!(server.variable("shop", "S3_ENDPOINT"), "http://127.0.0.1:3900");
    assert_eq!(server.variable("shop", "S3_REGION"), "garage");

    assert_eq!(
        server.client("use shop").succeeds(),
        "get hello shop\nlist ['a b/ü?#%2e.txt', 'hello.txt']\nlink 200 b'hello shop'\n\
         bent link 403\nparts 10485760\nleft ['big', 'hello.txt']\n"
    );
    server.client("use wiki").succeeds();
    let refused: String = [
        "list",
        "head",
        "get",
        "put",
        "copy out",
        "delete",
        "upload",
        "delete bucket",
        "delete own bucket",
        "make bucket",
        "website",
    ]
    .map(|what| format!("{what} {}\n", if what == "head" { "403" } else { "AccessDenied" }))
    .concat();
    assert_eq!(
        server.client("trespass shop wiki").succeeds(),
        format!("{refused}buckets ['hostkit-shop']\ntheirs ['big', 'hello.txt']\n")
    );
    let other = vps.sh(
        "set -a; . /home/wiki/.env; printf 'host_base=127.0.0.1:3900\\nhost_bucket=127.0.0.1:3900\\nuse_https=False\\n\
         bucket_location=garage\\naccess_key=%s\\nsecret_key=%s\\n' $S3_ACCESS_KEY $S3_SECRET_KEY > /root/wiki.cfg; \
         s3cmd -c /root/wiki.cfg get --force s3://hostkit-wiki/hello.txt /root/got && cat /root/got; \
         s3cmd -c /root/wiki.cfg ls s3://hostkit-shop",
    );
    assert!(other.stdout.contains("hello wiki") && other.code != 0, "{other}");

    let usage = vps.hostkit("storage usage shop --json").data();
    // With the object that was called like a way out.
    assert_eq!((&usage[0]["objects"], &usage[0]["bytes"]), (&json!(3), &json!(10_485_771)));
    assert!(vps.hostkit("storage usage shop").succeeds().starts_with("3 objects, 10M"));
    for command in ["drift shop", "drift wiki", "doctor", "storage status"] {
        vps.hostkit(command).succeeds();
    }
    nobody_else_gets_to_garage(&server);
    no_secret_is_anywhere_else(&server);
    // After the plug was pulled it is there again, and so is what was in it.
    vps.crash();
    vps.boot();
    server.wait();
    assert_eq!(server.client("keys wiki").succeeds(), "['big', 'hello.txt']\n");
    vps.hostkit("drift shop").succeeds();
}

/// Its administration is root's, its pages the web server's, and nobody can stand in for it.
fn nobody_else_gets_to_garage(server: &Server) {
    let vps = &server.vps;
    let get = |user: &str, port: u16| {
        vps.sh(&format!(
            "runuser -u {user} -- curl -s -m 3 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:{port}/health"
        ))
        .stdout
    };
    for (user, port, code) in [
        ("shop", 3900, "403"),
        ("shop", 3901, "000"),
        ("shop", 3902, "000"),
        ("shop", 3903, "000"),
        ("www-data", 3902, "404"),
        ("www-data", 3903, "000"),
        ("root", 3903, "200"),
    ] {
        assert_eq!(get(user, port), code, "{user} {port}");
    }
    let outside = format!("curl -s -m 3 http://{}:3900/", vps.address());
    assert_ne!(vps.sh(&outside).code, 0, "it listens on loopback alone");
    vps.sh("systemctl stop hostkit.garage").succeeds();
    let squat = format!(
        "runuser -u shop -- timeout 6 python3 -m http.server 3900 --bind 127.0.0.1 >/dev/null 2>&1 & {}; \
         runuser -u wiki -- curl -s -m 2 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:3900/; wait",
        listened(3900)
    );
    assert_eq!(vps.sh(&squat).stdout, "000", "another user answers in its place");
    vps.sh("systemctl start hostkit.garage").succeeds();
    server.wait();
}

fn no_secret_is_anywhere_else(server: &Server) {
    let vps = &server.vps;
    let modes = "stat -c '%n %a %U' /etc/hostkit/garage.* /var/lib/hostkit-garage";
    assert_eq!(
        vps.sh(modes).succeeds(),
        "/etc/hostkit/garage.rpc 600 root\n/etc/hostkit/garage.token 600 root\n\
         /etc/hostkit/garage.toml 644 root\n/var/lib/hostkit-garage 700 hostkit-garage\n"
    );
    let key = server.variable("shop", "S3_SECRET_KEY");
    let token = vps.read("/etc/hostkit/garage.token").trim().to_owned();
    for secret in [&key, &token] {
        let found = vps.sh(&format!(
            "grep -rlsF {secret} /etc /var/lib/hostkit /var/log /home /srv /run/hostkit | sort; \
             journalctl -o cat | grep -cF {secret}; \
             cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -v grep | grep -cF {secret}"
        ));
        let lines: Vec<&str> = found.stdout.lines().filter(|line| *line != "0").collect();
        let known = if *secret == key { "/home/shop/.env" } else { "/etc/hostkit/garage.token" };
        assert_eq!(lines, [known]);
    }
    let shown = vps.hostkit("storage credentials shop").succeeds();
    assert!(shown.contains("S3_SECRET_KEY=***") && !shown.contains(&key), "{shown}");
    assert!(vps.hostkit("storage credentials shop --show-secrets").succeeds().contains(&key));
    assert!(vps.sh("hostkit env get shop S3_SECRET_KEY").succeeds().contains(&key));
    let refused = vps.hostkit("env set shop S3_BUCKET=hostkit-wiki").fails_with(2);
    assert!(refused.contains("hostkit's own to set"), "{refused}");
    // The project's own user sees its own, and nobody else's.
    assert!(
        vps.sh_as(
            "shop",
            "hostkit storage status; hostkit storage usage; hostkit storage credentials"
        )
        .code
            == 0
    );
    for line in [
        "storage status wiki",
        "storage credentials wiki --show-secrets",
        "storage policy shop public-read",
        "storage disable shop --yes",
        "storage setup",
    ] {
        let ran = vps.sh_as("shop", &format!("hostkit {line}"));
        assert_eq!(ran.code, 5, "{ran}");
    }
}

#[test]
fn what_was_changed_by_others_is_seen_and_put_right() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    for name in ["shop", "wiki"] {
        vps.hostkit(&format!("provision {name} {BARE}")).succeeds();
    }
    let id = |project: &str| server.bucket(project)["id"].as_str().unwrap().to_owned();
    let all = json!({ "read": true, "write": true, "owner": true });
    let wiki = server.variable("wiki", "S3_ACCESS_KEY");
    let shop = server.variable("shop", "S3_ACCESS_KEY");
    let cases = [
        (
            "AllowBucketKey",
            json!({ "bucketId": id("shop"), "accessKeyId": wiki, "permissions": all }),
            "may use it (should not)",
        ),
        (
            "DenyBucketKey",
            json!({ "bucketId": id("shop"), "accessKeyId": shop, "permissions": { "write": true } }),
            "other rights to hostkit-shop",
        ),
    ];
    for (call, body, told) in cases {
        server.change(call, &body);
        let drift = vps.hostkit("drift shop");
        assert!(drift.code == 1 && drift.stdout.contains(told), "{drift}");
        vps.hostkit("repair shop").succeeds();
        vps.hostkit("drift shop").succeeds();
        vps.hostkit("drift wiki").succeeds();
    }
    let website = json!({ "websiteAccess": { "enabled": true, "indexDocument": "index.html" } });
    server.change(&format!("UpdateBucket?id={}", id("shop")), &website);
    let drift = vps.hostkit("drift shop");
    assert!(drift.stdout.contains("is public (should not)"), "{drift}");
    server.change(&format!("UpdateKey?id={shop}"), &json!({ "allow": { "createBucket": true } }));
    assert!(vps.hostkit("drift shop").stdout.contains("may make buckets"), "drift");
    // The key is gone: a new one, since Garage takes none a second time.
    server.change(&format!("DeleteKey?id={shop}"), &json!({}));
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("drift shop").succeeds();
    assert_ne!(server.variable("shop", "S3_ACCESS_KEY"), shop);
    assert!(server.client("use shop").succeeds().contains("get hello shop"));
    assert_eq!(server.held().len(), 4, "{:?}", server.held());

    // The registry is lost: what a unit tells brings the bucket back into it.
    vps.hostkit("storage policy shop public-read").succeeds();
    vps.hostkit("storage proxy shop --path /media/").succeeds();
    vps.sh("rm /var/lib/hostkit/registry.db*").succeeds();
    vps.hostkit("recover --from-host").succeeds();
    let status = vps.hostkit("storage status shop --json").data();
    assert_eq!(status["buckets"][0]["path"], "/media/");
    assert_eq!(status["buckets"][0]["state"], "fine");
    vps.hostkit("drift shop").succeeds();
}

/// Answers with what its bucket holds.
const READS: (&str, &str) = (
    "import boto3\ns3 = boto3.client('s3', endpoint_url=os.environ['S3_ENDPOINT'], region_name=os.environ['S3_REGION'], \
     aws_access_key_id=os.environ['S3_ACCESS_KEY'], aws_secret_access_key=os.environ['S3_SECRET_KEY'])",
    "body = s3.get_object(Bucket=os.environ['S3_BUCKET'], Key='hello.txt')['Body'].read().decode()",
);

#[test]
fn a_key_is_rotated_while_the_project_reads_by_it() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    vps.sh("sed -i 's/^#per_hour.*/per_hour = 0/' /etc/hostkit/hostkit.toml").succeeds();
    vps.hostkit(&format!("provision shop {BARE}")).succeeds();
    server.client("use shop").succeeds();
    vps.write("/root/one/server.py", &app("one", READS.0, READS.1));
    let manifest = format!("{MANIFEST}[services]\nstorage = true\n");
    vps.write("/root/one/hostkit.toml", &manifest);
    vps.hostkit("deploy shop --source /root/one --no-watch --quiet").succeeds();
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().body, "hello shop");

    // A project that has no bucket does not get the same release.
    vps.hostkit(&format!("provision plain --no-storage {BARE}")).succeeds();
    let refused = vps.hostkit("deploy plain --source /root/one --no-watch").fails_with(4);
    assert!(refused.contains("hostkit storage enable plain"), "{refused}");

    vps.sh("cp /home/shop/.env /root/old.env").succeeds();
    let load = Load::looking(vps, "shop.apps.test", 4, &["/"]);
    let rotated = vps.hostkit("storage credentials shop --rotate --json").data();
    let report = load.end();
    println!("rotation under load: {} requests, {} failed", report.requests, report.failed.len());
    report.assert_none_failed(50);
    assert_eq!(rotated["rotated"]["restarted"], true);
    assert_eq!(server.client("opens /root/old.env").succeeds(), "AccessDenied\n");
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().body, "hello shop");
    vps.hostkit("drift shop").succeeds();
    // An older environment comes back with today's key.
    let id = vps.hostkit("checkpoint create shop --json").data()["id"].as_str().unwrap().to_owned();
    let now = server.variable("shop", "S3_ACCESS_KEY");
    vps.hostkit("storage credentials shop --rotate --quiet").succeeds();
    vps.hostkit(&format!("env restore shop {id}")).succeeds();
    assert_ne!(server.variable("shop", "S3_ACCESS_KEY"), now);
    vps.hostkit("drift shop").succeeds();

    // What does not come up with the new key goes on with the old one, and the new one is gone.
    let (env, keys) = (vps.read("/home/shop/.env"), server.held());
    let start = format!(
        "{}\nif os.environ['S3_ACCESS_KEY'] != '{}': sys.exit(3)",
        READS.0,
        server.variable("shop", "S3_ACCESS_KEY")
    );
    vps.write("/root/two/server.py", &app("two", &start, READS.1));
    vps.write("/root/two/hostkit.toml", &manifest);
    vps.hostkit("deploy shop --source /root/two --no-watch --quiet").succeeds();
    let refused = vps.hostkit("storage credentials shop --rotate").fails_with(6);
    assert!(refused.contains("still runs with the key that it had"), "{refused}");
    assert_eq!((vps.read("/home/shop/.env"), server.held()), (env, keys));
    assert_eq!(vps.get("shop.apps.test", "/").unwrap().body, "hello shop");
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn a_site_shows_what_is_public_and_takes_nothing() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    for name in ["shop", "wiki"] {
        vps.hostkit(&format!("provision {name} {BARE}")).succeeds();
        server.client(&format!("use {name}")).succeeds();
    }
    let refused = vps.hostkit("storage proxy shop").fails_with(4);
    assert!(refused.contains("storage policy shop public-read"), "{refused}");
    for path in ["/", "files", "/../", "/a b/", "/$x/", "/.well-known/", "/a//b/", "/x;y/"] {
        let ran = vps.hostkit_args(&["storage", "proxy", "shop", "--path", path]);
        assert_eq!(ran.code, 2, "{ran}");
    }
    vps.hostkit("storage policy shop public-read").succeeds();
    vps.hostkit("storage policy shop no-such").fails_with(2);
    vps.hostkit("storage proxy shop --path /files/").succeeds();
    vps.hostkit("drift shop").succeeds();
    assert_eq!(server.variable("shop", "S3_PUBLIC_URL"), "http://shop.apps.test/files");

    let at = "-H 'Host: shop.apps.test' http://127.0.0.1";
    let status = |rest: &str| server.curl(&format!("-o /dev/null -w '%{{http_code}}' {rest}"));
    let whole = server.curl(&format!("-i -H 'Authorization: AWS4-HMAC-SHA256 x' -H 'x-amz-date: 1' -H 'Cookie: a=b' {at}/files/hello.txt"));
    assert!(whole.starts_with("HTTP/1.1 200") && whole.ends_with("hello shop"), "{whole}");
    assert!(whole.contains("Content-Security-Policy: default-src 'none'"), "{whole}");
    assert_eq!(server.curl(&format!("-r 0-4 {at}/files/hello.txt")), "hello");
    assert_eq!(status(&format!("-I {at}/files/hello.txt")), "200");
    for method in ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let code = status(&format!("-X {method} -d x {at}/files/hello.txt"));
        assert!(["403", "405"].contains(&code.as_str()), "{method} {code}");
    }
    // Nothing but the bucket's own objects, whatever the path and the headers say.
    for path in [
        "/files/",
        "/files/?list-type=2",
        "/files/nothing",
        "/files/..%2fhostkit-wiki%2fhello.txt",
        "/files/%2e%2e/hostkit-wiki/hello.txt",
        "/files/../hostkit-wiki/hello.txt",
        "/files/hostkit-wiki/hello.txt",
        "//files/hello.txt/../../hostkit-wiki/hello.txt",
    ] {
        let told = server.curl(&format!("{at}{path}"));
        assert!(!told.contains("hello") && !told.contains("<Key>"), "{path}: {told}");
    }
    for header in [
        "Host: hostkit-wiki",
        "X-Forwarded-Host: hostkit-wiki",
        "X-Original-URL: /hostkit-wiki/hello.txt",
    ] {
        let told = server.curl(&format!(
            "-H 'Host: shop.apps.test' -H '{header}' http://127.0.0.1/files/hello.txt"
        ));
        assert!(!told.contains("wiki"), "{header}: {told}");
    }
    let smuggled = "printf 'GET http://hostkit-wiki/files/hello.txt HTTP/1.1\\r\\nHost: shop.apps.test\\r\\nContent-Length: 4\\r\\n\
         Transfer-Encoding: chunked\\r\\nConnection: close\\r\\n\\r\\n0\\r\\n\\r\\nGET /hello.txt HTTP/1.1\\r\\nHost: hostkit-wiki\\r\\n\\r\\n' \
         | timeout 5 nc -q 2 127.0.0.1 80 || true";
    assert!(!vps.sh(smuggled).stdout.contains("hello wiki"));

    // It outlives a deploy, and a route of the project's own is not hidden.
    vps.write("/root/one/server.py", &app("one", "", "pass"));
    vps.write("/root/one/hostkit.toml", MANIFEST);
    vps.hostkit("deploy shop --source /root/one --no-watch --quiet").succeeds();
    assert_eq!(server.curl(&format!("{at}/files/hello.txt")), "hello shop");
    assert_eq!(server.curl(&format!("{at}/")), "one");
    vps.hostkit("storage policy shop private").succeeds();
    assert_eq!(server.curl(&format!("{at}/files/hello.txt")), "one");
    vps.hostkit("storage policy shop public-read").succeeds();
    assert_eq!(server.curl(&format!("{at}/files/hello.txt")), "hello shop");
    vps.hostkit("storage proxy shop --off").succeeds();
    assert_eq!(server.curl(&format!("{at}/files/hello.txt")), "one");
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn a_bucket_goes_with_a_copy_and_only_when_it_may() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    let empty = server.held();
    vps.hostkit(&format!("provision shop --no-storage {BARE}")).succeeds();
    vps.hostkit("env set shop S3_BUCKET=mine-elsewhere S3_REGION=moon").succeeds();
    let refused = vps.hostkit("storage enable shop").fails_with(4);
    assert!(refused.contains("sets S3_REGION, S3_BUCKET itself"), "{refused}");
    vps.hostkit("repair shop").succeeds();
    assert_eq!(server.variable("shop", "S3_REGION"), "moon", "what is the owner's stays");
    vps.hostkit("storage enable shop --take-over").succeeds();
    vps.hostkit("storage enable shop").fails_with(4);
    server.client("use shop").succeeds();
    server.client("put shop 1100 10").succeeds();

    let refused = vps.hostkit("storage disable shop").fails_with(4);
    assert!(refused.contains("not empty"), "{refused}");
    vps.hostkit("storage disable shop --confirm wiki").fails_with(4);
    let kept = vps.hostkit("storage disable shop --keep --json").data();
    assert_eq!(kept["kept"], true);
    assert!(!vps.read("/home/shop/.env").contains("S3_"));
    vps.hostkit("drift shop").succeeds();
    assert_eq!(server.bucket("shop")["keys"], json!([]));
    assert!(vps.hostkit("storage status").succeeds().contains("hostkit-shop: no project has it"));
    let refused = vps.hostkit("storage enable shop").fails_with(4);
    assert!(refused.contains("--take-over"), "{refused}");
    vps.hostkit("project create other --with-storage --quiet").succeeds();
    vps.hostkit("storage enable shop --take-over").succeeds();
    assert_eq!(vps.hostkit("storage usage shop --json").data()[0]["objects"], 1102);

    let gone = vps.hostkit("storage disable shop --yes --json").data();
    let copy = format!("{}/bucket.tar", gone["backup"].as_str().unwrap());
    let read = format!(
        "tar tf {copy} | wc -l; tar xOf {copy} objects/hello.txt; tar xOf {copy} objects/big | wc -c; stat -c '%a %U' {copy}"
    );
    assert_eq!(vps.sh(&read).succeeds(), "1102\nhello shop10485760\n600 root\n");
    vps.hostkit("storage disable shop").fails_with(3);

    // What a bucket may hold is held.
    vps.hostkit("storage setup --quota 1M --quiet").succeeds();
    assert!(vps.hostkit("drift other").stdout.contains("quota 0 (should be 1048576)"));
    vps.hostkit("repair other").succeeds();
    assert_ne!(server.client("put other 1 2000000").code, 0, "over the quota");
    server.client("put other 1 2000").succeeds();
    vps.hostkit("storage setup --quota 0 --quiet").succeeds();
    vps.hostkit("repair other").succeeds();

    // With the project, after its last backup.
    server.client("use other").succeeds();
    let deleted = vps.hostkit("project delete other --yes --json").data();
    assert_eq!(deleted["bucket_deleted"], true);
    let copy = format!("{}/bucket.tar", deleted["backup"].as_str().unwrap());
    assert_eq!(vps.sh(&format!("tar xOf {copy} objects/hello.txt")).succeeds(), "hello other");
    vps.hostkit("project delete shop --yes --quiet").succeeds();
    assert_eq!(server.held(), empty, "nothing is left of any");
    vps.hostkit("doctor").succeeds();
}

/// All that a command about buckets may change, but for what Garage keeps on its own disk.
fn state(server: &Server) -> (Snapshot, Vec<String>) {
    let all = server.vps.snapshot().without("file /var/lib/hostkit-garage").without("file /srv");
    (all.without("port"), server.held())
}

fn assert_same(server: &Server, before: &(Snapshot, Vec<String>), when: &str) {
    let now = state(server);
    before.0.assert_same(&now.0, when);
    assert_eq!(before.1, now.1, "{when}");
}

/// As [`state`], of the project alone, and sooner.
fn sketch(server: &Server) -> (String, Vec<String>) {
    let files = "sha256sum /home/shop/.env /etc/systemd/system/hostkit-shop.service \
                 /etc/nginx/sites-available/hostkit-shop; hostkit storage status shop 2>&1";
    (server.vps.sh(files).stdout, server.held())
}

#[test]
fn whatever_fails_or_dies_half_way_is_undone_or_goes_on() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    vps.hostkit(&format!("provision shop --no-storage {BARE}")).succeeds();
    let (before, whole) = (sketch(&server), state(&server));
    let enable = "storage enable shop --quiet";
    let disable = "storage disable shop --yes --no-backup --quiet";
    let (total, removing) = (vps.changes(enable), vps.changes(disable));
    assert_same(&server, &whole, "enable and disable");
    let every = std::env::var_os("HOSTKIT_CHAOS").is_some();
    let points = |of: usize, from: usize, step: usize| {
        if every { (0..of).step_by(1) } else { (from..of).step_by(step) }
    };
    let mut walked = 0;
    for (mode, from, step) in
        [("fail", 2, 5), ("fail-after", 1, 3), ("kill", 0, 3), ("kill-after", 2, 3)]
    {
        for n in points(total, from, step) {
            let when = format!("enable {mode}@{n}");
            let ran = vps.hostkit_fault(&format!("{mode}@{n}"), enable);
            walked += 1;
            vps.hostkit("recover --quiet").succeeds();
            if vps.hostkit("storage status shop").code == 0 {
                assert!(n + 3 >= total, "{when}: {ran}");
                vps.hostkit("drift shop").succeeds();
                vps.hostkit(disable).succeeds();
            }
            assert_eq!(sketch(&server), before, "{when}: {ran}");
        }
    }
    for (mode, from, step) in [("fail", 4, 6), ("kill", 1, 3), ("kill-after", 0, 6)] {
        for n in points(removing, from, step) {
            let when = format!("disable {mode}@{n}");
            vps.hostkit(enable).succeeds();
            server.client("put shop 2 10").succeeds();
            let ran = vps.hostkit_fault(&format!("{mode}@{n}"), disable);
            walked += 1;
            // Either it never was, or the same command goes on; half of it is no end.
            vps.hostkit("recover --quiet").succeeds();
            let again = vps.hostkit(disable);
            assert!(matches!(again.code, 0 | 3), "{when}: {ran} {again}");
            assert_eq!(sketch(&server), before, "{when}");
        }
    }
    assert_same(&server, &whole, "all of that");
    println!("failure points walked: {walked} (storage, of {total} and {removing} changes)");
}

#[test]
fn a_storage_that_is_down_stops_what_needs_it_and_nothing_else() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    vps.hostkit(&format!("provision shop {BARE}")).succeeds();
    vps.sh("systemctl stop hostkit.garage").succeeds();
    let before = vps.snapshot();
    for line in [
        "provision wiki --quiet",
        "project create wiki --with-storage",
        "project delete shop --yes",
        "repair shop",
        "storage disable shop --yes",
        "storage credentials shop --rotate",
        "storage policy shop public-read",
        "storage usage",
    ] {
        let refused = vps.hostkit(line).fails_with(8);
        assert!(
            refused.contains("does not answer") && refused.contains("hint: "),
            "{line}: {refused}"
        );
    }
    before.assert_same(&vps.snapshot(), "refused");
    let status = vps.hostkit("storage status --json").data();
    assert_eq!(
        (&status["answers"], &status["buckets"][0]["state"]),
        (&json!(false), &json!("unknown"))
    );
    vps.hostkit("provision plain --no-storage --no-db --quiet").succeeds();
    vps.write("/root/one/server.py", &app("one", "", "pass"));
    vps.write("/root/one/hostkit.toml", MANIFEST);
    vps.hostkit("deploy shop --source /root/one --no-watch --quiet").succeeds();
    assert_ne!(vps.hostkit("doctor").code, 0, "a doctor sees it");

    // It dies in the middle of a provision, and comes back: all of that is undone.
    vps.sh("systemctl start hostkit.garage").succeeds();
    server.wait();
    let before = state(&server);
    let wait = "until curl -sf -H \"Authorization: Bearer $(cat /etc/hostkit/garage.token)\" \
                'http://127.0.0.1:3903/v2/GetBucketInfo?globalAlias=hostkit-wiki'; do :; done";
    let kill = "systemctl kill --signal=KILL hostkit.garage";
    vps.sh(&format!("({wait}; {kill}) > /dev/null 2>&1 & echo $! > /tmp/pid")).succeeds();
    let ran = vps.hostkit("provision wiki --quiet");
    println!("killed while it provisions: {}", ran.code);
    vps.sh("rm /tmp/pid").succeeds();
    server.wait();
    if ran.code != 0 {
        assert!(matches!(ran.code, 1 | 8), "{ran}");
        assert_same(&server, &before, "provision");
    }
    assert_eq!(vps.hostkit("doctor --fix").code, 0);
}

#[test]
fn setup_takes_only_a_garage_and_init_takes_it_back() {
    let Some(program) = garage() else { return };
    let vps = Vps::ready();
    vps.push(&program, PROGRAM);
    let before = vps.snapshot();
    vps.hostkit("storage status").fails_with(8);
    vps.hostkit("storage setup").fails_with(2);
    let refused = vps.hostkit("project create shop --with-storage").fails_with(8);
    assert!(refused.contains("no object storage yet"), "{refused}");
    for line in [
        "storage setup --garage /bin/true",
        "storage setup --garage /etc/passwd",
        "storage setup --garage https://127.0.0.1:1/garage",
        &format!("storage setup --garage {PROGRAM} --sha256 {}", "0".repeat(64)),
    ] {
        vps.hostkit(line).fails_with(2);
    }
    vps.hostkit("storage setup --garage /root/nothing").fails_with(1);
    vps.hostkit("storage setup --garage installed").fails_with(8);
    let taken = format!(
        "python3 -m http.server 3902 --bind 127.0.0.1 >/dev/null 2>&1 & {}; \
         hostkit storage setup --garage /root/garage; code=$?; kill %1; exit $code",
        listened(3902)
    );
    assert_eq!(vps.sh(&taken).code, 4);
    let preview = vps.hostkit(&format!("storage setup --garage {PROGRAM} --dry-run")).succeeds();
    assert!(
        preview.contains("user hostkit-garage") && preview.contains("garage.token"),
        "{preview}"
    );
    before.assert_same(&vps.snapshot(), "refused");

    let total = vps.changes(&format!("storage setup --garage {PROGRAM}"));
    vps.hostkit("init --undo").succeeds();
    vps.hostkit("init --base-domain apps.test --quiet").succeeds();
    vps.sh("rm -rf /var/lib/hostkit-garage").succeeds();
    for (mode, step) in [("fail", 6), ("kill", 7), ("kill-after", 11)] {
        for n in (0..total).step_by(step) {
            let when = format!("{mode}@{n}");
            let ran =
                vps.hostkit_fault(&when, &format!("storage setup --garage {PROGRAM} --quiet"));
            assert!(ran.code != 0 || n + 3 >= total, "{when}: {ran}");
            vps.hostkit("recover --quiet").succeeds();
            if ran.code != 0 && n + 3 < total {
                assert!(!vps.exists("/etc/systemd/system/hostkit.garage.service"), "{when}");
                assert_eq!(vps.sh("id hostkit-garage").code, 1, "{when}");
                vps.hostkit("doctor").succeeds();
            }
        }
    }
    vps.hostkit(&format!("storage setup --garage {PROGRAM} --quota 1M")).succeeds();
    let again = vps.hostkit(&format!("storage setup --garage {PROGRAM}")).succeeds();
    assert!(again.contains("nothing had to change"), "{again}");
    vps.hostkit("doctor").succeeds();
    vps.hostkit(&format!("provision shop {BARE}")).succeeds();
    vps.sh("systemctl stop hostkit.garage; rm /etc/hostkit/garage.toml").succeeds();
    vps.hostkit("doctor --fix").succeeds();
    vps.hostkit("project delete shop --yes --no-backup --quiet").succeeds();
    vps.hostkit("init --undo").succeeds();
    for path in
        ["/etc/hostkit", "/usr/local/lib/hostkit", "/etc/systemd/system/hostkit.garage.service"]
    {
        assert!(!vps.exists(path), "{path}");
    }
    assert_eq!(vps.sh("id hostkit-garage").code, 1);
}

/// A Garage that is nobody's of this server, and its administration.
const ELSEWHERE: &str = r#"
metadata_dir = "/srv/elsewhere/meta"
data_dir = "/srv/elsewhere/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:4901"
rpc_public_addr = "127.0.0.1:4901"
rpc_secret = "1799bccfd7411eddcf9ebd316bc1f5287ad12a68094e1c6ac6abde7e6feae1ec"
[s3_api]
api_bind_addr = "127.0.0.1:4900"
s3_region = "moon"
[admin]
api_bind_addr = "127.0.0.1:4903"
admin_token = "elsewhere"
"#;

impl Server {
    /// A key made over there, as its id and secret.
    fn key_elsewhere(&self, name: &str, makes_buckets: bool) -> (String, String) {
        let body = json!({ "name": name, "allow": { "createBucket": makes_buckets } });
        let key = self.elsewhere("CreateKey", &body);
        let text = |field: &str| key[field].as_str().unwrap().to_owned();
        (text("accessKeyId"), text("secretAccessKey"))
    }

    fn elsewhere(&self, call: &str, body: &Value) -> Value {
        self.vps.write("/root/body.json", &body.to_string());
        let method = if body.is_null() { "" } else { "-X POST -d @/root/body.json" };
        let text = self.vps.sh(&format!(
            "curl -sSf {method} -H 'Authorization: Bearer elsewhere' 'http://127.0.0.1:4903/v2/{call}'"
        ));
        serde_json::from_str(&text.succeeds()).unwrap()
    }

    fn open_elsewhere(&self, key: &str, project: &str, owns: bool) {
        let bucket =
            self.elsewhere(&format!("GetBucketInfo?globalAlias=hostkit-{project}"), &Value::Null);
        let permissions = json!({ "read": true, "write": true, "owner": owns });
        let body =
            json!({ "bucketId": bucket["id"], "accessKeyId": key, "permissions": permissions });
        self.elsewhere("AllowBucketKey", &body);
    }

    /// A command whose secret comes by standard input.
    fn with_secret(&self, line: &str, secret: &str) -> Ran {
        let words: Vec<&str> = std::iter::once("hostkit").chain(line.split(' ')).collect();
        self.vps.run(&words, format!("{secret}\n").as_bytes())
    }
}

#[test]
fn a_service_elsewhere_gives_each_project_the_key_that_it_was_given() {
    let Some(server) = server() else { return };
    let vps = &server.vps;
    vps.write("/root/elsewhere.toml", ELSEWHERE);
    vps.sh("mkdir -p /srv/elsewhere; systemd-run -q --unit=elsewhere /root/garage -c /root/elsewhere.toml server --single-node").succeeds();
    vps.wait_until("the other Garage", |vps| {
        vps.sh("curl -sf http://127.0.0.1:4903/health").code == 0
    });
    let (account, secret) = server.key_elsewhere("account", true);
    let setup = format!(
        "storage setup --endpoint http://127.0.0.1:4900 --region moon --access-key {account}"
    );
    server.with_secret(&setup, "").fails_with(2);
    let refused = server.with_secret(&setup, "wrong").fails_with(8);
    assert!(refused.contains("knows no such key"), "{refused}");
    vps.hostkit("storage status").succeeds();
    server.with_secret(&setup, &secret).succeeds();
    assert_eq!(vps.sh("stat -c '%a %U' /etc/hostkit/storage.keys").succeeds(), "600 root\n");
    assert!(!vps.exists("/etc/systemd/system/hostkit.garage.service"), "the one of before ended");
    assert!(vps.exists("/var/lib/hostkit-garage/meta"), "and what it stored stays");
    vps.hostkit("doctor").succeeds();

    // A project gets none by itself: nobody here could make it a key of its own.
    let told = vps.hostkit("provision shop --no-db --no-redis");
    assert!(told.stderr.contains("storage enable shop --access-key ID"), "{told}");
    vps.hostkit(&format!("provision wiki --no-storage {BARE}")).succeeds();
    vps.hostkit("project create other --with-storage").fails_with(2);
    vps.hostkit("storage enable shop").fails_with(2);
    let refused =
        server.with_secret(&format!("storage enable shop --access-key {account}"), &secret);
    assert!(
        refused.fails_with(4).contains("hostkit's account"),
        "the account's key is no project's"
    );
    // One that opens nothing is tried, and all is as before.
    let (shop, of_shop) = server.key_elsewhere("shop", false);
    let env = vps.read("/home/shop/.env");
    let enable = format!("storage enable shop --access-key {shop}");
    let refused = server.with_secret(&enable, &of_shop).fails_with(4);
    assert!(refused.contains("does not open hostkit-shop"), "{refused}");
    assert_eq!(vps.read("/home/shop/.env"), env);
    vps.hostkit("storage status shop").fails_with(3);
    // Whoever runs the service makes the bucket and lets the key in.
    for (key, project) in [(&shop, "shop"), (&account, "shop")] {
        if key == &shop {
            server
                .elsewhere("CreateBucket", &json!({ "globalAlias": format!("hostkit-{project}") }));
        }
        server.open_elsewhere(key, project, key == &account);
    }
    server.with_secret(&format!("{enable} --take-over"), &of_shop).succeeds();
    assert_eq!(server.variable("shop", "S3_ENDPOINT"), "http://127.0.0.1:4900");
    assert_eq!(server.variable("shop", "S3_REGION"), "moon");
    assert!(server.client("use shop").succeeds().contains("get hello shop"));
    // A key that opens another project's bucket as well is none that keeps them apart.
    let wide = server.with_secret(&format!("storage enable wiki --access-key {shop}"), &of_shop);
    assert!(wide.fails_with(4).contains("opens the bucket of shop too"));
    vps.hostkit("drift shop").succeeds();
    assert_eq!(vps.hostkit("storage usage shop --json").data()[0]["objects"], 2);
    assert!(
        vps.hostkit("storage credentials shop --rotate").fails_with(2).contains("--access-key ID")
    );
    vps.hostkit("storage proxy shop").fails_with(2);
    let refused = vps.hostkit("storage policy shop public-read").fails_with(1);
    assert!(refused.contains("knows no such setting"), "{refused}");
    assert_eq!(vps.hostkit("storage policy shop").succeeds(), "private\n");
    // Another key for the same bucket, and the one of before is whoever's it was.
    let (new, of_new) = server.key_elsewhere("shop again", false);
    server.open_elsewhere(&new, "shop", false);
    server.with_secret(&format!("storage enable shop --access-key {new}"), &of_new).succeeds();
    assert_eq!(server.variable("shop", "S3_ACCESS_KEY"), new);
    server.client("keys shop").succeeds();
    let copied = vps.hostkit("project delete shop --yes --json").data();
    let copy =
        format!("tar xOf {}/bucket.tar objects/hello.txt", copied["backup"].as_str().unwrap());
    assert_eq!(vps.sh(&copy).succeeds(), "hello shop");
    let found = vps.sh(&format!("grep -rlsF -e {secret} -e {of_shop} -e {of_new} /etc /var/lib/hostkit /var/log /home | sort"));
    assert_eq!(found.stdout, "/etc/hostkit/storage.keys\n");
}

#[test]
fn the_same_words_are_spoken_with_another_makers_service() {
    let vps = Vps::with("moto", |vps| {
        vps.sh(CLIENT).succeeds();
        vps.sh("apt-get install -y -qq --no-install-recommends python3-venv >/dev/null && python3 -m venv /root/moto \
                && /root/moto/bin/pip install -q 'moto[server]'").succeeds();
        vps.write("/root/client.py", include_str!("storage.py"));
    });
    if garage().is_none() {
        println!("object storage is tested on moto alone");
    }
    let server = Server { vps };
    let vps = &server.vps;
    vps.sh("systemd-run -q --unit=moto /root/moto/bin/moto_server -H 127.0.0.1 -p 5000").succeeds();
    vps.wait_until("moto", |vps| vps.sh("curl -sf http://127.0.0.1:5000/").code == 0);
    let setup =
        "storage setup --endpoint http://127.0.0.1:5000 --region us-east-1 --access-key ACCOUNT";
    server.with_secret(setup, "account-secret").succeeds();
    vps.hostkit(&format!("provision shop --no-storage {BARE}")).succeeds();
    vps.hostkit(&format!("provision wiki --no-storage {BARE}")).succeeds();
    server.with_secret("storage enable shop --access-key SHOPKEY", "shop-secret").succeeds();
    let used = server.client("use shop").succeeds();
    assert!(used.contains("get hello shop") && used.contains("parts 10485760"), "{used}");
    // It lets every key in everywhere, and is found out.
    let refused = server.with_secret("storage enable wiki --access-key WIKIKEY", "wiki-secret");
    assert!(refused.fails_with(4).contains("opens the bucket of shop too"));
    server.client("put shop 1100 10").succeeds();
    let usage = vps.hostkit("storage usage shop --json").data();
    assert_eq!((&usage[0]["objects"], &usage[0]["bytes"]), (&json!(1102), &json!(10_496_770)));

    let policy = "curl -s 'http://127.0.0.1:5000/hostkit-shop?policy'";
    vps.hostkit("storage policy shop public-read").succeeds();
    assert!(vps.sh(policy).stdout.contains("s3:GetObject"));
    vps.hostkit("drift shop").succeeds();
    vps.sh("curl -s -X DELETE 'http://127.0.0.1:5000/hostkit-shop?policy'").succeeds();
    assert!(vps.hostkit("drift shop").stdout.contains("is not public (should be)"));
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("storage policy shop private").succeeds();
    assert!(vps.sh(policy).stdout.contains("NoSuchBucketPolicy"));
    vps.hostkit("storage setup --endpoint http://127.0.0.1:5001 --access-key XYZ").fails_with(2);
    let moved = server
        .with_secret("storage setup --endpoint http://127.0.0.1:5001 --access-key XYZ", "abc");
    assert!(moved.fails_with(4).contains("projects have buckets elsewhere"));

    let gone = vps.hostkit("storage disable shop --yes --json").data();
    let copy = format!("tar tf {}/bucket.tar | wc -l", gone["backup"].as_str().unwrap());
    assert_eq!(vps.sh(&copy).succeeds(), "1102\n");
    assert_eq!(
        vps.sh("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:5000/hostkit-shop").stdout,
        "404"
    );
}
