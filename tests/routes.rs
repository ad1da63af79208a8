//! One domain, many parts: what answers for which path.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use crate::vps::{BASE_DOMAIN, Vps};

/// Tells what reached it; streams events, of which the second waits for a word; echoes a websocket.
pub const APP: &str = r#"
import base64, hashlib, http.server, json, os, threading
go_on = threading.Event()

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.echo()
        if self.path.endswith("/events"):
            return self.events()
        if self.path.endswith("/go-on"):
            go_on.set()
        told = {"path": self.path, "prefix": self.headers.get("X-Forwarded-Prefix"), "version": "VERSION"}
        status = 200 if self.path.startswith(("/health", "BELOW")) else 404
        self.answer(status, json.dumps(told).encode())
    def do_POST(self):
        length = len(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(200, str(length).encode())
    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        go_on.wait(30)
        self.wfile.write(b"data: second\n\n")
        self.close_connection = True
    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        head = self.rfile.read(2)
        mask = self.rfile.read(4)
        text = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(head[1] & 127)))
        text = text + b" " + self.path.encode()
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.close_connection = True
    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
"#;

pub const WEB: &str = "[project]\nruntime = \"custom\"\nshared = [\"uploads\"]\n\
                   [process.web]\ncommand = \"/usr/bin/python3 server.py\"\n";

const ROUTES: &str = r#"
[routes]
"/"          = { static = "front/dist", spa = true }
"/api/"      = { process = "web", strip = true, body = "1M", buffering = false }
"/raw/"      = { process = "web", body = "2M" }
"/ws/"       = { process = "web", websocket = true }
"/assets/"   = { static = "front/dist/assets", cache = "1y" }
"/admin/"    = { static = "front/admin", spa = true }
"/imprint"   = { static = "pages/imprint.html" }
"/uploads/"  = { static = "uploads" }
"/old"       = { redirect = "/new", status = 301 }
"/blog/"     = { redirect = "https://blog.example.com/" }
"#;

pub struct Shop {
    pub vps: Vps,
    pub host: String,
}

impl Shop {
    pub fn open() -> Self {
        let vps = Vps::ready();
        let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
        vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
        vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
        Self { vps, host: format!("shop.{BASE_DOMAIN}") }
    }

    pub fn tree(&self, name: &str, files: &[(&str, &str)]) {
        for (path, text) in files {
            self.vps.write(&format!("/root/{name}/{path}"), text);
        }
    }

    /// A backend and a frontend.
    pub fn whole(&self, name: &str, routes: &str) {
        self.tree(
            name,
            &[
                ("hostkit.toml", &format!("{WEB}{routes}")),
                ("server.py", &APP.replace("VERSION", name).replace("BELOW", "/")),
                ("secret.txt", "of the backend"),
                ("front/dist/index.html", "the first page"),
                ("front/dist/robots.txt", "robots"),
                ("front/dist/.env", "A=1"),
                ("front/dist/hostkit.toml", "x"),
                ("front/dist/package-lock.json", "{}"),
                ("front/dist/assets/index-BxYz12_3.js", "fingerprinted()"),
                ("front/dist/assets/plain.css", "body {}"),
                ("front/dist/assets/page.html", "a page"),
                ("front/dist/assets/.hidden", "x"),
                ("front/dist/assets/sub/package.json", "{}"),
                ("front/admin/index.html", "the admin's page"),
                ("front/admin/panel.js", "panel()"),
                ("front/admin/worker.mjs", "worker()"),
                ("front/src/app.ts", "source"),
                ("pages/imprint.html", "imprint"),
            ],
        );
    }

    pub fn deploy(&self, name: &str) {
        self.vps
            .hostkit(&format!("deploy shop --source /root/{name} --no-watch --quiet"))
            .succeeds();
    }

    /// Status, and the body or where it sends to.
    pub fn get(&self, path: &str) -> String {
        let answer = self.vps.get(&self.host, path).unwrap();
        let place = answer.head.lines().find_map(|line| line.strip_prefix("location: "));
        format!("{} {}", answer.status, place.unwrap_or(&answer.body))
    }

    pub fn header(&self, path: &str, name: &str) -> String {
        let head = self.vps.get(&self.host, path).unwrap().head;
        let found: Vec<&str> =
            head.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
        found.join(" | ")
    }

    /// What the process was asked, as it says itself.
    pub fn reached(&self, path: &str) -> (String, Option<String>) {
        let answer = self.vps.get(&self.host, path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        let told: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let text = |key: &str| told[key].as_str().map(str::to_owned);
        (text("path").unwrap(), text("prefix"))
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((self.vps.address().as_str(), 80)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
    }

    pub fn post(&self, path: &str, bytes: usize) -> String {
        let mut stream = self.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n",
            self.host
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Who is refused may be told so before all of it was sent.
        let _ = stream.write_all(&vec![b'x'; bytes]);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
        format!("{status} {}", text.rsplit("\r\n\r\n").next().unwrap_or_default())
    }

    /// What comes back over a websocket.
    pub fn echo(&self, path: &str) -> String {
        let mut stream = self.connect();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            self.host
        );
        stream.write_all(head.as_bytes()).unwrap();
        let text = until(&mut stream, "\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 101 "), "{path}: {text}");
        assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
        let mask = [1, 2, 3, 4];
        let masked: Vec<u8> = b"hello".iter().enumerate().map(|(i, b)| b ^ mask[i % 4]).collect();
        stream.write_all(&[&[0x81, 0x85], &mask[..], &masked].concat()).unwrap();
        let mut frame = Vec::new();
        stream.read_to_end(&mut frame).unwrap();
        String::from_utf8_lossy(&frame).into_owned()
    }
}

/// All that comes until these signs have.
fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) {
        let n = stream.read(&mut byte);
        let so_far = String::from_utf8_lossy(&text);
        assert_eq!(n.ok(), Some(1), "`{end}` did not come, only: {so_far}");
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn one_domain_has_many_parts() {
    let shop = Shop::open();
    shop.whole("one", ROUTES);
    shop.deploy("one");
    for (path, answer) in [
        ("/", "200 the first page"),
        ("/index.html", "200 the first page"),
        ("/robots.txt", "200 robots"),
        // A deep link is the first page's to sort out, also one with a dot; a file is there or not.
        ("/tasks/17", "200 the first page"),
        ("/users/john.doe", "200 the first page"),
        ("/apiary", "200 the first page"),
        ("/assets/index-BxYz12_3.js", "200 fingerprinted()"),
        ("/assets/plain.css", "200 body {}"),
        ("/admin/", "200 the admin's page"),
        ("/admin/panel.js", "200 panel()"),
        ("/admin/users/5", "200 the admin's page"),
        ("/imprint", "200 imprint"),
        // Without the slash.
        ("/api", "308 /api/"),
        ("/api?a=1&b=2", "308 /api/?a=1&b=2"),
        ("/assets", "308 /assets/"),
        ("/old", "301 /new"),
        ("/blog/a/b?c=d", "302 https://blog.example.com/a/b?c=d"),
        ("/blog", "308 /blog/"),
    ] {
        assert_eq!(shop.get(path), answer, "{path}");
    }
    for path in [
        "/missing.js",
        "/tasks/style.css",
        "/gone.html",
        "/assets/index-old.js",
        "/assets/none",
        "/.env",
        "/.git/config",
        "/hostkit.toml",
        "/package-lock.json",
        "/assets/.hidden",
        "/assets/sub/package.json",
        "/admin/.env",
        "/admin/gone.js",
        "/secret.txt",
        "/blog//evil.example",
        "/uploads/none",
        "/assets/../.env",
        "/assets/..%2f.env",
        "/assets/%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "/assets../index.html",
        "/admin../src/app.ts",
    ] {
        let got = shop.get(path);
        // What nginx itself finds odd is refused as such; what is below `/` is a deep link of the page's.
        let is_page = got.starts_with("200 the first page") && path.contains("../");
        assert!(got.starts_with("404 ") || got.starts_with("400 ") || is_page, "{path}: {got}");
        assert!(!got.contains("backend") && !got.contains("source"), "{path}: {got}");
    }
    shop.vps.hostkit("drift shop").succeeds();
    shop.vps.hostkit("doctor").succeeds();
    shop.vps.hostkit("status shop").succeeds();
    // Made undone by hand, it is made again.
    shop.vps
        .sh("sed -i 's/spa//; s/no-cache/no-store/' /etc/nginx/sites-available/hostkit-shop")
        .succeeds();
    shop.vps.hostkit("drift shop").fails_with(1);
    shop.vps.hostkit("repair shop").succeeds();
    shop.vps.hostkit("drift shop").succeeds();
    assert_eq!(shop.header("/", "cache-control"), "no-cache");
    shop.vps.hostkit("project delete shop --yes --no-backup").succeeds();
    let left = shop.vps.sh("ls /etc/nginx/sites-*/hostkit-shop /home/shop");
    assert_eq!(left.stdout, "", "{left}");
}

/// What is shared in one release is a directory of the next one's own, with names that last.
#[test]
fn the_release_before_lends_no_links() {
    let shop = Shop::open();
    let routes = "[routes]\n\"/\" = { static = \"front/dist\" }\n\"/up/\" = { static = \"up\", cache = \"1d\" }\n";
    let page = ("front/dist/index.html", "a page");
    shop.tree("one", &[page, ("hostkit.toml", &format!("[project]\nshared = [\"up\"]\n{routes}"))]);
    let own = ("up/own-ABCDEFG1.txt", "its own");
    shop.tree("two", &[page, own, ("hostkit.toml", routes)]);
    shop.tree("three", &[page, ("up/new.txt", "new"), ("hostkit.toml", routes)]);
    shop.deploy("one");
    // The web server may read its own notes of all sites.
    let links = "cd shared/up && ln -s /var/log/nginx/access.log a-ABCDEFG1.log && \
                 ln -s /var/log/nginx d && echo plain > b-ABCDEFG1.txt";
    shop.vps.sh_as("shop", links).succeeds();
    let taken = ["/up/a-ABCDEFG1.log", "/up/d/access-ABCDEFG1.log", "/up/d/access.log"];
    assert_eq!(shop.get("/up/b-ABCDEFG1.txt"), "200 plain\n");
    let refused = |shop: &Shop| {
        for path in taken {
            let got = shop.get(path);
            assert!(got.starts_with("404 ") || got.starts_with("403 "), "{path}: {got}");
        }
    };
    shop.vps.sh("ln /var/log/nginx/access.log /var/log/nginx/access-ABCDEFG1.log").succeeds();
    refused(&shop);
    shop.deploy("two");
    refused(&shop);
    shop.deploy("three");
    // A file of the release before is still there for who opened a page of it.
    assert_eq!(shop.get("/up/own-ABCDEFG1.txt"), "200 its own");
    refused(&shop);
}

#[test]
fn a_process_is_asked_as_the_visitor_asked() {
    let shop = Shop::open();
    shop.whole("one", ROUTES);
    shop.deploy("one");
    let api = Some("/api".to_owned());
    for (path, reached, prefix) in [
        ("/api/", "/", &api),
        ("/api/tasks", "/tasks", &api),
        ("/api/tasks?sort=a%20b&x=/api/", "/tasks?sort=a%20b&x=/api/", &api),
        // Encoded signs stay encoded, and slashes stay as many as they were.
        ("/api/a%2Fb", "/a%2Fb", &api),
        ("/api/a%2fb/%C3%A4", "/a%2fb/%C3%A4", &api),
        ("/api/%2Fraw/x", "/%2Fraw/x", &api),
        ("/api/a//b", "/a//b", &api),
        ("/api/a+b%2B;c=1", "/a+b%2B;c=1", &api),
        ("/api/%3Fno-query", "/%3Fno-query", &api),
        ("/raw/a%2Fb", "/raw/a%2Fb", &None),
        ("/raw/a//b?c=%2F", "/raw/a//b?c=%2F", &None),
        ("/raw/", "/raw/", &None),
    ] {
        assert_eq!(shop.reached(path), (reached.to_owned(), prefix.clone()), "{path}");
    }
    // What begins like the address of somebody else, or only turns out to be below the route.
    for path in
        ["/api//evil.example/", "/api/\\evil.example", "//api/x", "/raw/../api/x", "/%61pi/x"]
    {
        let got = shop.get(path);
        assert!(got.starts_with("404 ") || got.starts_with("400 "), "{path}: {got}");
    }
    // The route is that of the path that is meant.
    assert_eq!(shop.get("/api/../robots.txt"), "200 robots");
    let claimed =
        "curl -s -H 'X-Forwarded-Prefix: /evil' -H 'Host: shop.apps.test' http://127.0.0.1";
    let claimed = claimed.replace("shop.apps.test", &shop.host);
    let told = shop.vps.sh(&format!("{claimed}/raw/x; {claimed}/api/x")).succeeds();
    assert!(told.contains("\"prefix\": null") && !told.contains("evil"), "{told}");

    assert_eq!(shop.post("/api/upload", 1 << 20), "200 1048576");
    assert!(shop.post("/api/upload", (1 << 20) + 1).starts_with("413 "));
    assert_eq!(shop.post("/raw/upload", 2 << 20), "200 2097152");

    assert!(shop.echo("/ws/room").contains("hello /ws/room"));
    // Who opens a websocket follows no redirect.
    assert!(shop.echo("/ws").contains("hello /ws"));

    // The first event is here before the second is sent.
    let mut events = shop.connect();
    write!(events, "GET /api/events HTTP/1.1\r\nHost: {}\r\n\r\n", shop.host).unwrap();
    let first = until(&mut events, "data: first\n\n");
    assert!(first.starts_with("HTTP/1.1 200") && !first.contains("second"), "{first}");
    assert_eq!(shop.reached("/api/go-on").0, "/go-on");
    until(&mut events, "data: second\n\n");
}

#[test]
fn files_are_kept_as_long_as_they_hold() {
    let shop = Shop::open();
    shop.whole("one", ROUTES);
    shop.deploy("one");
    for (path, wanted) in [
        ("/", "no-cache"),
        ("/index.html", "no-cache"),
        ("/tasks/17", "no-cache"),
        ("/robots.txt", ""),
        ("/imprint", "no-cache"),
        ("/assets/index-BxYz12_3.js", "max-age=31536000, immutable"),
        ("/assets/plain.css", "max-age=31536000"),
        ("/assets/page.html", "no-cache"),
        ("/assets/missing-BxYz12_3.js", ""),
        ("/api/x", ""),
        ("/admin/users", "no-cache"),
    ] {
        assert_eq!(shop.header(path, "cache-control"), wanted, "{path}");
        assert_eq!(shop.header(path, "x-content-type-options"), "nosniff", "{path}");
    }
    for (path, kind) in [
        ("/imprint", "text/html"),
        ("/tasks/17", "text/html"),
        ("/admin/worker.mjs", "text/javascript"),
        ("/assets/plain.css", "text/css"),
    ] {
        assert_eq!(shop.header(path, "content-type"), kind, "{path}");
    }

    // A page that was opened before a release came finds its files, for one release more.
    shop.whole("two", ROUTES);
    shop.vps.sh("cd /root/two/front/dist/assets && mv index-BxYz12_3.js index-CyZa23_4.js && rm plain.css").succeeds();
    shop.deploy("two");
    let kept = "max-age=31536000, immutable";
    for name in ["/assets/index-BxYz12_3.js", "/assets/index-CyZa23_4.js"] {
        assert_eq!(shop.get(name), "200 fingerprinted()", "{name}");
        assert_eq!(shop.header(name, "cache-control"), kept, "{name}");
        assert_eq!(shop.header(name, "content-type"), "application/javascript", "{name}");
    }
    // What has no digest in its name might stand for anything.
    assert!(shop.get("/assets/plain.css").starts_with("404 "));
    assert!(shop.get("/assets/gone-BxYz12_3.js").starts_with("404 "));
    shop.vps.hostkit("rollback shop --quiet").succeeds();
    assert_eq!(shop.get("/assets/index-CyZa23_4.js"), "200 fingerprinted()");
    assert_eq!(shop.get("/assets/plain.css"), "200 body {}");
    shop.vps.hostkit("drift shop").succeeds();

    // The web server gets no further than what is served; nobody else gets there at all.
    let release = "/home/shop/app";
    for (path, is_open) in [
        ("front/dist/index.html", true),
        ("front/dist/assets/plain.css", true),
        ("pages/imprint.html", true),
        ("secret.txt", false),
        ("server.py", false),
        ("hostkit.toml", false),
        ("front/src/app.ts", false),
    ] {
        let cat = format!(
            "setpriv --reuid www-data --regid www-data --clear-groups cat {release}/{path}"
        );
        assert_eq!(shop.vps.sh(&cat).code == 0, is_open, "{path}");
    }
    let listed = shop.vps.sh(&format!(
        "setpriv --reuid www-data --regid www-data --clear-groups ls {release} {release}/front {release}/pages"
    ));
    assert_eq!(listed.stdout, "", "{listed}");
    shop.vps.hostkit("provision other --no-db --no-redis --quiet").succeeds();
    for path in ["front/dist/index.html", "secret.txt", "front/dist"] {
        let cat = shop.vps.sh_as("other", &format!("cat {release}/{path} || ls {release}/{path}"));
        assert_ne!(cat.code, 0, "{cat}");
    }

    // What the project brings later is sent too, and through no link.
    shop.vps
        .sh_as("shop", "cd shared/uploads && echo hi > a.txt && ln -s /etc/passwd l && echo x > .h")
        .succeeds();
    assert_eq!(shop.get("/uploads/a.txt"), "200 hi\n");
    for path in ["/uploads/l", "/uploads/.h"] {
        let got = shop.get(path);
        assert!(got.starts_with("404 ") || got.starts_with("403 "), "{path}: {got}");
    }
}

#[test]
fn hostile_routes_change_nothing() {
    let shop = Shop::open();
    shop.whole("one", ROUTES);
    shop.deploy("one");
    let before = shop.vps.read("/etc/nginx/sites-available/hostkit-shop");
    for (name, routes) in [
        ("semicolon", "\"/a; access_log /etc/cron.d/x\" = { process = \"web\" }"),
        ("brace", "\"/a { return 200 x; } location /b\" = { process = \"web\" }"),
        ("variable", "\"/$document_root\" = { process = \"web\" }"),
        ("line", "\"/a\\n}\\nserver { listen 81; }\" = { process = \"web\" }"),
        ("quote", "\"/a\\\"\" = { process = \"web\" }"),
        ("above", "\"/\" = { static = \"../../../etc\" }"),
        ("absolute", "\"/\" = { static = \"/etc\" }"),
        ("root", "\"/\" = { static = \"/home/shop/app; autoindex on\" }"),
        ("to", "\"/a\" = { redirect = \"https://x.org/;} server {\" }"),
        ("size", "\"/a\" = { process = \"web\", body = \"1M; lua_x\" }"),
        ("missing", "\"/a\" = { process = \"mail\" }"),
    ] {
        shop.whole(name, &format!("[routes]\n{routes}\n"));
        let told = shop.vps.hostkit(&format!("deploy shop --source /root/{name}")).fails_with(2);
        assert!(told.contains("can't be used: line "), "{name}: {told}");
    }
    // Known only once it is built: links, and what is not there.
    for (name, make, code, why) in [
        (
            "link",
            "ln -s /etc front/dist/etc",
            "link_out",
            "`front/dist/etc` is a link that leads out",
        ),
        (
            "relative",
            "ln -s ../../secret.txt front/dist/s.txt",
            "link_out",
            "leads out of `front/dist`",
        ),
        ("way", "rm -r front/admin; ln -s /etc front/admin", "no_site", "`admin` is no directory"),
        ("page", "ln -sf ../server.py pages/imprint.html", "no_site", "`imprint.html` is no file"),
        ("none", "rm -r front/dist/assets", "no_site", "there is no directory `assets`"),
        ("spa", "rm front/dist/index.html", "no_site", "it has no index.html"),
    ] {
        shop.whole(name, &format!("[build]\nsteps = [\"{make}\"]\n{ROUTES}"));
        let told = shop.vps.hostkit(&format!("deploy shop --source /root/{name} --json"));
        assert_ne!(told.code, 0, "{name}: {told}");
        assert!(told.stdout.contains(code) && told.stdout.contains(why), "{name}: {told}");
    }
    assert_eq!(shop.vps.read("/etc/nginx/sites-available/hostkit-shop"), before);
    assert_eq!(shop.get("/"), "200 the first page");
    assert_eq!(shop.reached("/api/x").0, "/x");
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn a_route_is_for_those_who_may_come() {
    let shop = Shop::open();
    let inside = "[\"127.0.0.1\"]";
    let routes = format!(
        r#"
[routes]
"/"          = {{ static = "front/dist", spa = true }}
"/api/"      = {{ process = "web", strip = true, deny = {inside} }}
"/raw/"      = {{ process = "web", allow = ["127.0.0.0/8", "::1"], deny = ["127.0.0.7"] }}
"/ws/"       = {{ process = "web", websocket = true, allow = {inside} }}
"/assets/"   = {{ static = "front/dist/assets", cache = "1y", allow = {inside} }}
"/admin/"    = {{ static = "front/admin", spa = true, allow = {inside} }}
"/imprint"   = {{ static = "pages/imprint.html", deny = {inside} }}
"#
    );
    shop.whole("one", &routes);
    shop.deploy("one");
    shop.whole("two", &routes);
    shop.vps.sh("rm /root/two/front/dist/assets/index-BxYz12_3.js").succeeds();
    shop.deploy("two");
    let from = |address: &str, path: &str| {
        let curl = format!(
            "curl -s --path-as-is -o /dev/null -w '%{{http_code}}' --interface {address} -H 'Host: {}' 'http://127.0.0.1{path}'",
            shop.host
        );
        shop.vps.sh(&curl).stdout
    };
    // The file of the release before, the first page for a deep link, the path without its slash.
    for path in [
        "/raw/",
        "/raw/x",
        "/ws",
        "/ws/",
        "/assets/index-BxYz12_3.js",
        "/assets/plain.css",
        "/assets/page.html",
        "/admin/",
        "/admin/index.html",
        "/admin/users/5",
        "/admin/panel.js",
        "//admin/panel.js",
        "/%61dmin/panel.js",
        "/x/../admin/panel.js",
        "/raw/../admin/panel.js",
    ] {
        let got = shop.get(path);
        assert!(got.starts_with("403 ") || got.starts_with("400 "), "{path}: {got}");
        assert!(["200", "404"].contains(&&*from("127.0.0.1", path)), "{path}");
    }
    assert_eq!(from("127.0.0.1", "/assets/index-BxYz12_3.js"), "200");
    assert_eq!(from("127.0.0.2", "/raw/"), "200");
    assert_eq!(from("127.0.0.7", "/raw/"), "403");
    assert_eq!(from("127.0.0.2", "/admin/"), "403");
    for path in ["/api/", "/imprint"] {
        assert_eq!(from("127.0.0.1", path), "403", "{path}");
        assert!(shop.get(path).starts_with("200 "), "{path}");
    }
    assert_eq!(shop.get("/tasks/17"), "200 the first page");
    shop.vps.hostkit("drift shop").succeeds();
}
