//! Sites by HTTPS, with certificates of a real authority that refuses half of all good nonces, that
//! is down, or that says no.

mod chaos;

use std::time::Duration;

use serde_json::Value;

use crate::vps::Vps;

/// A server with an authority on it that believes in every name, and nobody has agreed to its terms.
pub fn server() -> Vps {
    let vps = Vps::with("tls", |vps| {
        vps.write("/root/ca.sh", include_str!("tls/ca.sh"));
        vps.sh("bash /root/ca.sh").succeeds();
    });
    vps.write("/root/site/index.html", "hello\n");
    start(&vps);
    vps
}

/// The authority forgets all whenever it starts, also who it is.
fn start(vps: &Vps) {
    vps.sh("systemctl start ca").succeeds();
    vps.wait_until("the authority", |vps| {
        let root = "curl -sf --cacert /root/ca/api-ca.pem https://localhost:15000/roots/0";
        vps.sh(&format!("{root} > /root/ca/root.pem")).code == 0
    });
}

/// Names that lead to this server, as its own resolver has it.
fn lead_here(vps: &Vps, names: &str) {
    let address = vps.address();
    vps.sh(&format!("echo '{address} {names}' >> /etc/hosts")).succeeds();
}

/// What a visitor of a site gets who trusts the authority and nobody else.
fn visit(vps: &Vps, domain: &str, more: &str) -> String {
    let ran = vps.sh(&format!(
        "curl -s -m 10 --cacert /root/ca/root.pem --resolve {domain}:443:127.0.0.1 {more} https://{domain}/"
    ));
    if ran.code == 0 { ran.stdout } else { format!("curl {}", ran.code) }
}

/// Which names the certificate has that is shown for a name.
fn shown(vps: &Vps, domain: &str) -> String {
    vps.sh(&format!(
        "openssl s_client -connect 127.0.0.1:443 -servername {domain} < /dev/null 2> /dev/null \
         | openssl x509 -noout -ext subjectAltName -fingerprint 2> /dev/null"
    ))
    .stdout
}

fn plain(vps: &Vps, domain: &str, path: &str) -> (u16, String) {
    let answer = vps.get(domain, path).unwrap();
    (answer.status, answer.head + &answer.body)
}

fn status(vps: &Vps, name: &str) -> Value {
    vps.hostkit(&format!("ssl status {name} --json")).data()
}

const BARE: &str = "--static --source /root/site --no-db --no-redis --quiet";

#[test]
fn each_site_shows_its_own_certificate_and_nobody_elses() {
    let vps = server();
    lead_here(&vps, "shop.apps.test shop.test wiki.apps.test");
    // Nothing is made for who did not agree.
    let error = vps.hostkit(&format!("provision shop --ssl {BARE}")).fails_with(2);
    assert!(error.contains("terms of service") && error.contains("--agree-tos"), "{error}");
    vps.hostkit("project info shop").fails_with(3);
    let domains = "--domain shop.test --domain far.test";
    vps.hostkit(&format!("provision shop {domains} --ssl --agree-tos {BARE}")).succeeds();
    vps.hostkit(&format!("provision wiki {BARE}")).succeeds();
    let text = vps.hostkit("ssl enable wiki").succeeds();
    assert!(text.contains("wiki answers by HTTPS: wiki.apps.test"), "{text}");

    let told = status(&vps, "shop");
    assert_eq!((&told["state"], &told["source"]), (&"issued".into(), &"acme".into()), "{told}");
    assert_eq!(told["names"], serde_json::json!(["shop.apps.test", "shop.test"]));
    assert_eq!(told["without"], serde_json::json!(["far.test"]));
    assert!(told["reason"].as_str().unwrap().contains("no address yet"), "{told}");
    assert_eq!(vps.hostkit("project info shop --json").data()["url"], "https://shop.apps.test");
    for domain in ["shop.apps.test", "shop.test", "wiki.apps.test"] {
        assert_eq!(visit(&vps, domain, ""), "hello\n", "{domain}");
    }
    let certificate = shown(&vps, "shop.test");
    assert!(certificate.contains("DNS:shop.apps.test, DNS:shop.test\n"), "{certificate}");
    assert!(shown(&vps, "wiki.apps.test").contains("    DNS:wiki.apps.test\n"));
    // A name that is nobody's is refused, and so are a domain without a certificate and none at all.
    for domain in ["nobody.test", "far.test"] {
        assert_eq!(visit(&vps, domain, "-k"), "curl 35", "{domain}");
    }
    vps.sh("curl -sk https://127.0.0.1/").fails_with(35);

    // Who comes by HTTP is sent on with all that he asked for, and a challenge is answered.
    let (code, answer) = plain(&vps, "shop.test", "/a/b%20c?d=e&f");
    assert_eq!(code, 308);
    assert!(answer.contains("location: https://shop.test/a/b%20c?d=e&f"), "{answer}");
    let (code, answer) = plain(&vps, "shop.test", "/.well-known/acme-challenge/some-token_1");
    assert!(code == 200 && answer.contains("some-token_1."), "{code} {answer}");
    assert_eq!(plain(&vps, "shop.test", "/.well-known/acme-challenge/../x").0, 308);
    assert_eq!(plain(&vps, "shop.test", "/.well-known/acme-challenge/a/b").0, 404);
    let (code, answer) = plain(&vps, "far.test", "/");
    assert!(code == 200 && answer.ends_with("hello\n"), "{code} {answer}");
    assert_eq!(visit(&vps, "shop.test", "--http2 -o /dev/null -w '%{http_version}'"), "2");
    let old = "openssl s_client -tls1_1 -cipher ALL:@SECLEVEL=0 -connect 127.0.0.1:443";
    let old = vps.sh(&format!("{old} -servername shop.test < /dev/null 2>&1"));
    assert!(old.stdout.contains("Cipher is (NONE)"), "{old}");
    assert!(!visit(&vps, "shop.test", "-i").to_lowercase().contains("strict-transport"));

    // The key is root's alone.
    let modes = vps.sh("stat -c '%U %a' /etc/hostkit/certs /etc/hostkit/certs/shop.pem /etc/hostkit/acme/account.pem");
    assert_eq!(modes.succeeds(), "root 700\nroot 600\nroot 600\n");
    vps.sh_as("shop", "cat /etc/hostkit/certs/shop.pem").fails_with(1);
    vps.sh_as("www-data", "cat /etc/hostkit/certs/shop.pem").fails_with(1);
    let own = vps.sh("grep -rl 'PRIVATE KEY' /var/lib/hostkit /var/log 2> /dev/null");
    assert_eq!(own.stdout, "", "a key lies somewhere else");
    // A project's user hears of its own, and changes nothing.
    assert!(vps.sh_as("shop", "hostkit ssl status").succeeds().contains("shop.test"));
    for line in ["status wiki", "list", "enable shop", "disable shop", "renew shop", "guard"] {
        vps.sh_as("shop", &format!("hostkit ssl {line}")).fails_with(5);
    }
    assert_eq!(vps.sh("systemctl is-active hostkit-ssl.timer").stdout, "active\n");
    vps.hostkit("drift").succeeds();
    let doctor = vps.hostkit("doctor").stdout;
    assert!(doctor.contains("shop: HTTPS") && doctor.contains("far.test"), "{doctor}");

    renewed_when_a_domain_comes(&vps);
    deleted(&vps);
}

fn renewed_when_a_domain_comes(vps: &Vps) {
    let before = shown(vps, "shop.test");
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "waiting: shop\n");
    assert_eq!(shown(vps, "shop.test"), before, "nothing was due");
    lead_here(vps, "far.test");
    // As the timer does it.
    vps.sh("systemctl start hostkit-ssl.service").succeeds();
    assert_eq!(visit(vps, "far.test", ""), "hello\n");
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "no certificate is due\n");
    assert_eq!(plain(vps, "far.test", "/").0, 308);
    vps.hostkit("doctor").succeeds();
    let hsts = vps.hostkit("ssl enable shop --hsts");
    hsts.succeeds();
    assert!(
        visit(vps, "shop.test", "-i").to_lowercase().contains("strict-transport-security: max")
    );
}

fn deleted(vps: &Vps) {
    vps.hostkit("backup create shop --quiet").succeeds();
    let delete = "project delete shop --yes --no-backup --quiet";
    vps.hostkit(delete).succeeds();
    assert!(!vps.exists("/etc/hostkit/certs/shop.pem"));
    assert_eq!(visit(vps, "shop.test", "-k"), "curl 35");
    // A backup brings back the wish, and with it another certificate.
    vps.hostkit("backup restore shop").succeeds();
    let page = visit(vps, "shop.test", "-i").to_lowercase();
    assert!(page.contains("strict-transport-security: max") && page.ends_with("hello\n"), "{page}");
    vps.hostkit(delete).succeeds();
    assert_eq!(visit(vps, "wiki.apps.test", ""), "hello\n");
    vps.hostkit("ssl disable wiki").succeeds();
    assert_eq!(vps.sh("ls -A /etc/hostkit/certs").succeeds(), "");
    assert_eq!(plain(vps, "wiki.apps.test", "/").0, 200);
    vps.hostkit("ssl status wiki").fails_with(3);
    vps.hostkit("doctor").succeeds();
}

/// As if the pause after a failure had passed.
fn over(vps: &Vps) {
    let past = "import sqlite3; d = sqlite3.connect('/var/lib/hostkit/registry.db'); \
        d.execute(\"UPDATE tls SET next_try = '2020-01-01T00:00:00Z'\"); d.commit()";
    vps.run(&["python3", "-c", past], b"").succeeds();
}

#[test]
fn an_authority_that_is_down_or_says_no_is_in_nobodys_way() {
    let vps = server();
    lead_here(&vps, "shop.apps.test shop.test");
    vps.sh("systemctl stop ca").succeeds();
    let made = format!("provision shop --domain shop.test --ssl --agree-tos {BARE}");
    vps.hostkit(&made).succeeds();
    let told = status(&vps, "shop");
    assert_eq!((&told["state"], &told["failures"]), (&"pending".into(), &1.into()), "{told}");
    assert!(told["reason"].as_str().unwrap().contains("does not answer"), "{told}");
    assert_eq!(plain(&vps, "shop.test", "/").0, 200);
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("doctor").fails_with(1);
    let events = vps.hostkit("events shop").succeeds();
    assert!(events.contains("does not answer"), "{events}");
    // The timer waits, and a person need not.
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "waiting: shop\n");
    start(&vps);
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "waiting: shop\n");
    vps.hostkit("ssl renew shop").succeeds();
    assert_eq!(visit(&vps, "shop.test", ""), "hello\n");

    // One domain is refused: the other has its certificate, and the authority its peace.
    vps.hostkit("ssl disable shop").succeeds();
    // Of one that was started anew, which remembers nothing that was proven before.
    vps.sh("systemctl stop ca").succeeds();
    start(&vps);
    let names = "http://127.0.0.1:8055";
    let wrong =
        r#"{"host":"shop.test","addresses":["127.0.0.1"]}"#.replace("127.0.0.1", "10.78.0.1");
    vps.sh(&format!("curl -sf -d '{wrong}' {names}/add-a")).succeeds();
    vps.hostkit("ssl enable shop").succeeds();
    let told = status(&vps, "shop");
    assert_eq!(told["names"], serde_json::json!(["shop.apps.test"]), "{told}");
    assert_eq!((&told["state"], &told["failures"]), (&"issued".into(), &1.into()), "{told}");
    assert_eq!(plain(&vps, "shop.test", "/").0, 200);
    let next: jiff::Timestamp = told["next_try"].as_str().unwrap().parse().unwrap();
    let pause = next.duration_since(jiff::Timestamp::now());
    assert!((3400..3700).contains(&pause.as_secs()), "{pause}");
    let paused = vps.hostkit("ssl renew shop").fails_with(4);
    assert!(paused.contains("--force"), "{paused}");
    // It is asked again, says no again, and the other's certificate stays the one that it is.
    let first = shown(&vps, "shop.apps.test");
    over(&vps);
    vps.hostkit("ssl renew shop").succeeds();
    assert_eq!(shown(&vps, "shop.apps.test"), first);
    let told = status(&vps, "shop");
    assert_eq!((&told["state"], &told["failures"]), (&"issued".into(), &2.into()), "{told}");
    assert!(told["reason"].as_str().unwrap().contains("shop.test: "), "{told}");
    vps.sh(&format!("curl -sf -d '{{\"host\":\"shop.test\"}}' {names}/clear-a")).succeeds();
    vps.hostkit("ssl renew shop --force").succeeds();
    assert_eq!(visit(&vps, "shop.test", ""), "hello\n");
    let told = status(&vps, "shop");
    assert_eq!((&told["failures"], told.get("reason")), (&0.into(), None), "{told}");
    // What was granted and could not be put in its place is not asked for again at once.
    vps.write("/etc/nginx/conf.d/broken.conf", "nonsense;\n");
    vps.hostkit("ssl renew shop --force").fails_with(8);
    vps.sh("rm /etc/nginx/conf.d/broken.conf").succeeds();
    let told = status(&vps, "shop");
    assert_eq!((&told["failures"], told["reason"].is_string()), (&1.into(), true), "{told}");
    vps.hostkit("ssl renew shop").fails_with(4);
    vps.hostkit("ssl renew shop --force").succeeds();

    // A domain that leads to another server is nobody's to ask for.
    vps.sh("sed -i '/shop.test/d' /etc/hosts; echo '10.78.0.1 shop.apps.test' >> /etc/hosts")
        .succeeds();
    vps.hostkit("ssl disable shop").succeeds();
    let text = vps.hostkit("ssl enable shop").succeeds();
    assert!(
        text.contains("leads to a private address (10.78.0.1)")
            && text.contains("hostkit ssl renew shop"),
        "{text}"
    );
    assert_eq!(status(&vps, "shop")["state"], "pending");
}

#[test]
fn an_authority_that_wants_to_be_left_alone_is() {
    let vps = server();
    lead_here(&vps, "shop.apps.test");
    vps.write("/root/limits.py", include_str!("tls/limits.py"));
    vps.sh("systemd-run -q --unit limits python3 /root/limits.py").succeeds();
    vps.wait_until("it listens", |vps| vps.sh("ss -ltn | grep -q 14001").code == 0);
    vps.hostkit("config set ssl.directory https://localhost:14001/dir").succeeds();
    vps.hostkit(&format!("provision shop --ssl --agree-tos {BARE}")).succeeds();
    let told = status(&vps, "shop");
    assert_eq!(told["state"], "failed", "{told}");
    assert_eq!(told["reason"], "rateLimited: too many[31m today", "{told}");
    let next: jiff::Timestamp = told["next_try"].as_str().unwrap().parse().unwrap();
    let pause = next.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((17_900..=18_000).contains(&pause), "{pause}");
    // Nobody asks by himself before, and who types the command is told.
    vps.sh("systemctl stop limits").succeeds();
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "waiting: shop\n");
    assert!(vps.hostkit("ssl renew shop").fails_with(4).contains("rateLimited"));
    assert_eq!(status(&vps, "shop"), told);
    // A clock that was years ahead when it was written down does not count.
    let far = "import sqlite3; d = sqlite3.connect('/var/lib/hostkit/registry.db'); \
        d.execute(\"UPDATE tls SET next_try = '2044-01-01T00:00:00Z'\"); d.commit()";
    vps.run(&["python3", "-c", far], b"").succeeds();
    vps.hostkit("config set ssl.directory https://localhost:14000/dir").succeeds();
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "renewed: shop\n");
}

/// Visitors by HTTPS, two requests a connection, until they are sent home. Where a worker of nginx
/// ends between the two, Debian's curl (7.88) says so with 16 where others just ask again by HTTP/2:
/// that has to be answered at once.
const VISITORS: &str = "rm -f /tmp/stop /tmp/bad /tmp/came; for n in 1 2 3; do (
    visit() { curl -sf -m 10 -o /dev/null --cacert /root/ca/root.pem --resolve shop.apps.test:443:127.0.0.1 \"$@\"; }
    all='https://shop.apps.test/ -o /dev/null https://shop.apps.test/index.html'
    while [ ! -e /tmp/stop ]; do
        visit --http1.1 $all || echo 1.1: $? >> /tmp/bad
        visit --http2 $all || { code=$?; [ $code = 16 ] && visit --http2 $all; } || echo 2: $code >> /tmp/bad
        echo >> /tmp/came
    done) > /dev/null 2>&1 & done";

#[test]
fn a_certificate_changes_under_load_and_one_that_is_lost_takes_nobody_down() {
    let vps = server();
    lead_here(&vps, "shop.apps.test wiki.apps.test");
    for name in ["shop", "wiki"] {
        vps.hostkit(&format!("provision {name} --ssl --agree-tos {BARE}")).succeeds();
    }
    let first = shown(&vps, "shop.apps.test");
    vps.sh(VISITORS).succeeds();
    for _ in 0..3 {
        vps.hostkit("ssl renew shop --force").succeeds();
        vps.hostkit("deploy shop --source /root/site --quiet").succeeds();
    }
    std::thread::sleep(Duration::from_secs(1));
    vps.sh("touch /tmp/stop; sleep 1").succeeds();
    let came: usize = vps.sh("wc -l < /tmp/came").stdout.trim().parse().unwrap();
    println!("{came} visits while the certificate changed three times");
    assert!(came > 30, "hardly anybody came: {came}");
    assert_eq!(vps.sh("cat /tmp/bad").stdout, "");
    assert_ne!(shown(&vps, "shop.apps.test"), first);

    vps.sh("systemctl stop ca; rm /etc/hostkit/certs/shop.pem; systemctl restart nginx").succeeds();
    let fallen_back = |vps: &Vps| {
        assert_eq!(visit(vps, "wiki.apps.test", ""), "hello\n");
        let (code, answer) = plain(vps, "shop.apps.test", "/");
        assert!(code == 200 && answer.ends_with("hello\n"), "{code} {answer}");
        let doctor = vps.hostkit("doctor").stdout;
        assert!(doctor.contains("gone or of no use, and the site answers by HTTP"), "{doctor}");
        vps.hostkit("drift shop").fails_with(1);
    };
    fallen_back(&vps);
    // Nobody gives another one now: the site stays as it is, and that is how it should be.
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("drift shop").succeeds();
    assert_eq!(status(&vps, "shop")["state"], "pending");
    start(&vps);
    vps.hostkit("ssl renew shop").succeeds();
    vps.hostkit("ssl renew wiki --force").succeeds();
    assert_eq!(visit(&vps, "shop.apps.test", ""), "hello\n");
    // What is there and is no certificate, and a server that starts with it.
    vps.sh("echo nonsense > /etc/hostkit/certs/shop.pem").succeeds();
    vps.crash();
    vps.boot();
    assert_eq!(vps.sh("systemctl is-active nginx").stdout, "active\n");
    fallen_back(&vps);
    lead_here(&vps, "shop.apps.test wiki.apps.test");
    start(&vps);
    vps.hostkit("repair shop").succeeds();
    vps.hostkit("ssl renew wiki --force").succeeds();
    assert_eq!(visit(&vps, "shop.apps.test", ""), "hello\n");
    vps.hostkit("drift").succeeds();
    // Without the registry nobody knows what the site is without one: it is off, the others are on.
    // Nor does its name lead to its port meanwhile, past all that the site has in between.
    let port = vps.hostkit("project info shop --json").data()["port"].to_string();
    let behind = format!("python3 -m http.server {port} --bind 127.0.0.1");
    vps.sh(&format!("systemd-run -q --unit behind --uid shop {behind}")).succeeds();
    let own = format!("curl -sf -o /dev/null http://127.0.0.1:{port}/");
    vps.wait_until("it answers", |vps| vps.sh(&own).code == 0);
    vps.sh("mv /var/lib/hostkit /var/lib/away; rm /etc/hostkit/certs/shop.pem; systemctl restart nginx").succeeds();
    assert_eq!(visit(&vps, "wiki.apps.test", ""), "hello\n");
    assert_eq!(visit(&vps, "shop.apps.test", "-k"), "curl 35");
    assert_eq!(plain(&vps, "shop.apps.test", "/").0, 503);
    vps.sh("systemctl restart nginx").succeeds();
    assert_eq!(plain(&vps, "shop.apps.test", "/").0, 503);
    vps.sh("systemctl stop behind; mv /var/lib/away /var/lib/hostkit").succeeds();
    vps.hostkit("repair shop").succeeds();
    assert_eq!(visit(&vps, "shop.apps.test", ""), "hello\n");
    // A registry that is built anew finds them where they lie.
    vps.sh("rm /var/lib/hostkit/registry.db*").succeeds();
    vps.hostkit("recover --from-host --quiet").succeeds();
    assert_eq!(status(&vps, "shop")["source"], "acme");
    vps.hostkit("drift").succeeds();
}

/// Self-made ones: `shop` and `other` hold, `past` has ended.
pub const MAKE: &str = "cd /root; make() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj /O=Self -addext subjectAltName=DNS:$2 -days $3 -keyout $1.key -out $1.pem 2> /dev/null; }
    make shop shop.apps.test 90; make star '*.apps.test' 90; make other wiki.apps.test 90
    make soon shop.apps.test 90; again() { faketime \"$2\" openssl req -x509 -key shop.key -subj /O=Self \
        -addext subjectAltName=DNS:shop.apps.test -days 90 -out $1.pem; }
    again soon '85 days ago'; again past '91 days ago'; again later '5 days'; cp shop.key past.key; cp shop.key later.key
    openssl req -x509 -newkey rsa:2048 -nodes -subj /O=Self -addext subjectAltName=DNS:shop.apps.test -days 90 \
        -keyout rsa.key -out rsa.pem 2> /dev/null
    { cat shop.pem; echo -----BEGIN CERTIFICATE-----; echo MAMCAQA=; echo -----END CERTIFICATE-----; } > chain.pem";

/// Who came to the proxy by HTTPS is answered, and nobody else is by HTTP.
fn behind_a_proxy(vps: &Vps) {
    vps.hostkit("config set proxy.trusted 127.0.0.1").succeeds();
    vps.hostkit("init --quiet").succeeds();
    vps.hostkit("repair --all --quiet").succeeds();
    let came = |more: &str, at: &str| {
        let line = format!("curl -s -w '%{{http_code}}' -H 'Host: shop.apps.test' {more}");
        vps.sh(&format!("{line} http://{at}")).succeeds()
    };
    let by =
        |proto: &str| format!("-H 'X-Forwarded-For: 203.0.113.7' -H 'X-Forwarded-Proto: {proto}'");
    assert_eq!(came(&by("https"), "127.0.0.1/"), "hello\n200");
    for (more, at) in [
        (by("http"), "127.0.0.1/".to_owned()),
        (String::new(), "127.0.0.1/".to_owned()),
        (by("https"), format!("{}/", vps.address())),
    ] {
        assert!(came(&more, &at).ends_with("308"), "{more} {at}");
    }
    assert!(came("", "127.0.0.1/.well-known/hostkit-site").ends_with("204"));
    assert_eq!(visit(vps, "shop.apps.test", "-k"), "hello\n");
    vps.hostkit("drift").succeeds();
}

#[test]
fn certificates_of_ones_own_and_of_a_certbot() {
    let vps = server();
    vps.sh(MAKE).succeeds();
    vps.hostkit(&format!("provision shop {BARE}")).succeeds();
    vps.hostkit(&format!("provision wiki {BARE}")).succeeds();
    let before = vps.snapshot();
    for (cert, key, why) in [
        ("other", "other", "not shop's"),
        ("past", "past", "has ended"),
        ("later", "later", "does not hold yet"),
        ("shop", "other", "the key is not the certificate's"),
        ("site/index.html", "shop", "can't be used"),
        ("chain", "shop", "certificate 2 in it can't be read"),
    ] {
        let cert = if cert.contains('.') { cert.to_owned() } else { format!("{cert}.pem") };
        let line = format!("ssl import shop --cert /root/{cert} --key /root/{key}.key");
        let error = vps.hostkit(&line).fails_with(2);
        assert!(error.contains(why), "{line}: {error}");
    }
    let timer = "/etc/systemd/system/hostkit-ssl.timer";
    vps.sh(&format!("mv {timer} /root")).succeeds();
    for line in
        ["import shop --cert /root/shop.pem --key /root/shop.key", "enable shop --agree-tos"]
    {
        let error = vps.hostkit(&format!("ssl {line}")).fails_with(8);
        assert!(
            error.contains("older hostkit") && error.contains("`hostkit init` once"),
            "{error}"
        );
    }
    vps.sh(&format!("mv /root/hostkit-ssl.timer {timer}")).succeeds();
    before.assert_same(&vps.snapshot(), "refused certificates");
    for own in ["star", "rsa", "shop"] {
        let line = format!("ssl import shop --cert /root/{own}.pem --key /root/{own}.key");
        let text = vps.hostkit(&line).succeeds();
        assert!(text.contains("certificate of Self"), "{text}");
        assert_eq!(visit(&vps, "shop.apps.test", "-k"), "hello\n", "{own}");
    }
    assert_eq!(status(&vps, "shop")["source"], "own");
    vps.hostkit("ssl renew --all --quiet").succeeds();
    vps.hostkit("drift").succeeds();
    behind_a_proxy(&vps);
    // In the last days somebody has to bring another one.
    vps.hostkit("ssl import shop --cert /root/soon.pem --key /root/shop.key").succeeds();
    let doctor = vps.hostkit("doctor").stdout;
    assert!(doctor.contains("its certificate ends on"), "{doctor}");

    vps.sh("mkdir -p /etc/letsencrypt/{live,archive}/wiki.apps.test; cd /etc/letsencrypt/archive/wiki.apps.test
        cp /root/other.pem fullchain1.pem; cp /root/other.key privkey1.pem; cd ../../live/wiki.apps.test
        for f in fullchain privkey; do ln -s ../../archive/wiki.apps.test/${f}1.pem $f.pem; done").succeeds();
    assert!(vps.hostkit("ssl enable shop --existing").fails_with(3).contains("no certbot here"));
    vps.hostkit("ssl enable wiki --existing").succeeds();
    assert_eq!(status(&vps, "wiki")["source"], "certbot wiki.apps.test");
    assert_eq!(visit(&vps, "wiki.apps.test", "-k"), "hello\n");
    // certbot renews it, and hostkit follows.
    let first = shown(&vps, "wiki.apps.test");
    vps.sh("cd /etc/letsencrypt/archive/wiki.apps.test; cp privkey1.pem privkey2.pem
        openssl req -x509 -key privkey2.pem -subj /O=Self -addext subjectAltName=DNS:wiki.apps.test -days 90 -out fullchain2.pem
        cd ../../live/wiki.apps.test; for f in fullchain privkey; do ln -sfn ../../archive/wiki.apps.test/${f}2.pem $f.pem; done")
        .succeeds();
    assert_eq!(vps.hostkit("ssl renew --all").succeeds(), "renewed: wiki\n");
    assert_ne!(shown(&vps, "wiki.apps.test"), first);
    let list = vps.hostkit("ssl list").succeeds();
    assert!(list.contains("wiki") && list.contains("issued"), "{list}");
}
