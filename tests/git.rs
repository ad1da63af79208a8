//! Deploys from git: from a forge of our own, which may be hostile.

use crate::vps::{MANIFEST, Shop, app};

/// git over https as forges speak it. Below /private/ it wants a token, below /slow/ it takes its
/// time, /away/ leads to another host, and /plain/ to http. It notes who shows what.
const HTTPS: &str = r#"
import base64, http.server, os, ssl, subprocess, time
WANTED = "Basic " + base64.b64encode(b"git:t0ken-of-shop").decode()
class Forge(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def handle_one(self):
        host, sent = self.headers["Host"], self.headers.get("Authorization", "-")
        with open("/root/asked", "a") as log:
            log.write(f"{host} {self.path} {sent}\n")
        kind, _, rest = self.path.lstrip("/").partition("/")
        if kind in ("away", "plain"):
            to = {"away": "https://other.test/private/", "plain": "http://forge.test/open/"}[kind]
            return self.answer(302, [("Location", to + rest)], b"")
        if kind in ("private", "slow") and sent != WANTED:
            return self.answer(401, [("WWW-Authenticate", "Basic realm=forge")], b"")
        if kind == "slow":
            time.sleep(1)
        path, _, query = rest.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        env = {"PATH": os.environ["PATH"], "HOME": "/root", "GIT_PROJECT_ROOT": "/home/forge", "GIT_HTTP_EXPORT_ALL": "1",
               "PATH_INFO": "/" + path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
               "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}
        out = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _, text = out.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((int(v.split()[0]) for k, v in fields if k == "Status"), 200)
        self.answer(status, [(k, v) for k, v in fields if k != "Status"], text)
    def answer(self, status, fields, text):
        self.send_response(status)
        for key, value in fields:
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_GET = do_POST = handle_one
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Forge)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/forge.crt", "/root/forge.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// A server with a project, and a forge beside it.
struct Forge {
    vps: Shop,
}

impl Forge {
    fn open() -> Self {
        let vps = Shop::open();
        vps.sh("set -e; useradd -m forge; echo '127.0.0.1 forge.test other.test' >> /etc/hosts; \
             git config --global safe.directory '*'; git config --global init.defaultBranch main; \
             git config --global user.name Ann; git config --global user.email ann@forge.test; \
             git config --global advice.detachedHead false; mkdir -p /srv/work")
            .succeeds();
        let forge = Self { vps };
        forge.repository("shop");
        forge
    }

    /// A repository that holds an app, with one commit.
    fn repository(&self, name: &str) {
        self.vps
            .sh(&format!(
                "set -e; git init -q --bare /home/forge/{name}.git; git init -q /srv/work/{name}"
            ))
            .succeeds();
        self.vps.write(
            &format!("/srv/work/{name}/server.py"),
            &app("", "", "body = open('version').read()"),
        );
        let manifest = format!("{MANIFEST}[deploy]\nwatch = \"1s\"\n");
        self.vps.write(&format!("/srv/work/{name}/hostkit.toml"), &manifest);
        self.version(name, "one");
    }

    /// Runs a script in a work tree, then makes a commit and pushes all that there is.
    fn commit(&self, name: &str, script: &str) -> String {
        let publish = format!(
            "set -e; cd /srv/work/{name}; {script}\ngit add -A; git commit -qm change --allow-empty; \
             git push -qf /home/forge/{name}.git --all --prune; git push -qf /home/forge/{name}.git --tags; \
             chown -R forge: /home/forge; git rev-parse HEAD"
        );
        self.vps.sh(&publish).succeeds().trim().to_owned()
    }

    fn version(&self, name: &str, version: &str) -> String {
        self.commit(name, &format!("printf %s {version} > version"))
    }

    /// Serves by https, with a certificate that the server trusts; nginx, which refuses strangers
    /// there, makes room for it.
    fn by_https(&self) {
        self.vps.write("/root/forge.py", HTTPS);
        self.vps.sh(
            "set -e; cd /root; openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=forge.test \
             -addext subjectAltName=DNS:forge.test,DNS:other.test -keyout forge.key -out forge.crt 2> /dev/null; \
             cp forge.crt /usr/local/share/ca-certificates/; update-ca-certificates > /dev/null 2>&1; \
             sed -i 's/443 ssl/4443 ssl/' /etc/nginx/sites-available/00-hostkit; systemctl reload nginx; \
             systemd-run -q --unit forge-https -p Restart=always -p RestartSec=100ms python3 /root/forge.py",
        )
        .succeeds();
        self.vps.wait_until("the forge", |vps| {
            vps.sh("curl -s -o /dev/null https://forge.test/open/x").code == 0
        });
    }

    /// Lets the project's key in.
    fn by_ssh(&self) {
        self.vps.sh(
            "set -e; install -d -o forge /home/forge/.ssh; hostkit git key shop --quiet > /home/forge/.ssh/authorized_keys; \
             chown forge /home/forge/.ssh/authorized_keys",
        )
        .succeeds();
    }

    fn serves(&self) -> String {
        self.vps.serves()
    }

    /// Deploys, and says what answers then.
    fn deploy(&self, more: &str) -> String {
        self.vps.hostkit(&format!("deploy shop --no-watch --quiet {more}")).succeeds();
        self.serves()
    }

    fn deploy_fails(&self, more: &str, code: i32) -> String {
        self.vps.hostkit(&format!("deploy shop --no-watch {more}")).fails_with(code)
    }

    fn revision(&self) -> String {
        let deploys = self.vps.hostkit("deploys shop --last 1 --json").data();
        let releases = self.vps.hostkit("releases shop --json").data();
        assert_eq!(deploys[0]["revision"], releases[0]["revision"]);
        deploys[0]["revision"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_branch_a_tag_a_commit_and_what_is_remembered() {
    let forge = Forge::open();
    let vps = &forge.vps;
    let told = forge.deploy_fails("", 2);
    assert!(told.contains("nothing says what to deploy"), "{told}");
    let told = forge.deploy_fails("--git forge@127.0.0.1:shop.git", 3);
    assert!(told.contains("hostkit git key shop"), "{told}");
    forge.by_ssh();
    let key = vps.hostkit("git key shop").succeeds();
    assert!(key.starts_with("ssh-ed25519 "), "{key}");

    // The first one is remembered, and the second commit arrives.
    let told = forge.vps.hostkit("deploy shop --no-watch --git forge@127.0.0.1:shop.git");
    assert!(told.stderr.contains("alone deploys forge@127.0.0.1:shop.git"), "{told}");
    told.succeeds();
    assert_eq!(forge.serves(), "one");
    let first = forge.revision();
    let second = forge.version("shop", "two");
    assert_eq!(forge.deploy(""), "two");
    assert_eq!(forge.revision(), second);

    // By branch, by tag, by commit, whole or not; a branch that is called like a commit is none.
    forge.commit("shop", "git checkout -qb feature/cart; printf cart > version");
    let tagged = forge.commit("shop", "printf 1.0 > version; git commit -qam 1.0; git tag v1.0; git tag -am signed v1.0-annotated");
    forge.commit("shop", &format!("git branch -f {} HEAD; git checkout -q main", &first[..8]));
    assert_eq!(forge.deploy("--branch feature/cart"), "1.0");
    assert_eq!(forge.deploy(&format!("--commit {}", &first[..8])), "one");
    assert_eq!(forge.revision(), first);
    assert_eq!(forge.deploy(&format!("--commit {}", second.to_uppercase())), "two");
    assert_eq!(forge.deploy("--tag v1.0"), "1.0");
    assert_eq!(forge.deploy("--tag v1.0-annotated"), "1.0");
    assert_ne!(forge.revision(), tagged);
    assert_eq!(forge.deploy(""), "two", "the default branch is still what is remembered");

    // History that was rewritten, and a branch where a directory of branches was.
    forge.commit("shop", "git reset -q --hard HEAD~2; printf rewritten > version");
    assert_eq!(forge.deploy(""), "rewritten");
    forge.commit(
        "shop",
        "git branch -D feature/cart; git checkout -qb feature; printf flat > version",
    );
    assert_eq!(forge.deploy("--branch feature"), "flat");
    let told = forge.deploy_fails("--branch feature/cart", 3);
    assert!(told.contains("has no branch feature/cart") && told.contains("feature"), "{told}");

    let mirrors = || vps.sh("ls -d /var/lib/private/hostkit-git/shop/*.git").succeeds();
    let before = mirrors();
    for (more, code, why) in [
        ("--branch nope", 3, "has no branch nope"),
        ("--tag nope", 3, "v1.0-annotated"),
        ("--commit 0123456789abcdef", 3, "has no commit"),
        ("--commit main", 2, "no commit"),
        ("--branch --tag=x", 2, "branch"),
        ("--branch=-x", 2, "no branch of git"),
        ("--branch a..b", 2, "no branch of git"),
        ("--git forge@127.0.0.1:gone.git", 3, "there is no repository"),
        ("--git forge@127.0.0.1:shop.git --source /root", 2, "cannot be used"),
        ("--branch main --tag v1.0", 2, "cannot be used"),
    ] {
        let told = forge.deploy_fails(more, code);
        assert!(told.contains(why), "{more}: {told}");
        assert_eq!(forge.serves(), "flat", "{more}");
        assert_eq!(mirrors(), before, "{more}");
    }

    // Another address is another repository, whatever was fetched before.
    forge.repository("wiki");
    forge.version("wiki", "wiki");
    let told =
        vps.hostkit("deploy shop --no-watch --git ssh://forge@127.0.0.1/home/forge/wiki.git");
    assert!(told.stderr.contains("alone still deploys"), "{told}");
    told.succeeds();
    assert_eq!(forge.serves(), "wiki");
    assert_eq!(forge.deploy(""), "rewritten");
    vps.hostkit("git config shop --url forge@127.0.0.1:wiki.git --branch main").succeeds();
    assert_eq!(forge.deploy(""), "wiki");
    assert_eq!(vps.sh("ls -d /var/lib/private/hostkit-git/shop/*.git | wc -l").stdout, "1\n");

    // Its own user may, word for word by sudo, and through the gate with what it likes.
    forge.version("wiki", "wiki2");
    vps.sh_as("shop", "sudo -n /usr/bin/hostkit deploy shop").succeeds();
    assert_eq!(forge.serves(), "wiki2");
    vps.sh_as("shop", "hostkit deploy --git forge@127.0.0.1:shop.git --tag v1.0 --no-watch")
        .succeeds();
    assert_eq!(forge.serves(), "1.0");
    assert_eq!(vps.sh_as("shop", "hostkit git fetch --url https://forge.test/x").code, 2);

    // A host that shows another key, and a key that is gone.
    vps.sh("rm /etc/ssh/ssh_host_*; ssh-keygen -qA; systemctl restart ssh").succeeds();
    let told = forge.deploy_fails("", 1);
    assert!(
        told.contains("another key than before") && told.contains("git forget shop --hosts"),
        "{told}"
    );
    vps.hostkit("git forget shop --hosts").succeeds();
    assert_eq!(forge.deploy(""), "wiki2");
    assert_ne!(vps.hostkit("git key shop --rotate").succeeds(), key);
    let told = forge.deploy_fails("", 1);
    assert!(
        told.contains("does not let shop in") && told.contains("hostkit git key shop"),
        "{told}"
    );

    vps.hostkit("drift shop").succeeds();
    vps.hostkit("git forget shop").succeeds();
    forge.deploy_fails("", 2);
    vps.sh("mkdir -p /var/lib/private/hostkit-git/shop/x").succeeds();
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    let left = vps.sh("ls -A /var/lib/private/hostkit-git /var/lib/hostkit/deploys; systemctl list-units --all 'hostkit-shop-*' --no-legend");
    assert!(!left.stdout.contains("shop\n"), "{left}");
}

#[test]
fn a_token_goes_to_its_forge_and_is_seen_nowhere() {
    let forge = Forge::open();
    let vps = &forge.vps;
    forge.by_https();
    assert_eq!(forge.deploy("--git https://forge.test/open/shop.git"), "one");
    vps.hostkit("git config shop --url https://forge.test/private/shop.git").succeeds();
    let told = forge.deploy_fails("", 1);
    assert!(
        told.contains("does not let shop in") && told.contains("git credential shop"),
        "{told}"
    );
    assert!(told.contains("shop still serves"), "{told}");

    // Where it can be seen it is refused, and not even said again.
    for line in [
        "deploy shop --git https://git:t0ken-of-shop@forge.test/private/shop.git",
        "git config shop --url https://t0ken-of-shop@forge.test/private/shop.git",
    ] {
        let told = vps.hostkit(line).fails_with(2);
        assert!(told.contains("hostkit git credential") && !told.contains("t0ken"), "{told}");
    }
    vps.hostkit("git credential shop").fails_with(2);
    vps.sh("echo two words | hostkit git credential shop").fails_with(2);
    vps.sh("echo wrong | hostkit git credential shop").succeeds();
    let told = forge.deploy_fails("", 1);
    assert!(told.contains("does not let shop in"), "{told}");
    let as_shop = ["runuser", "-l", "shop", "-c", "hostkit git credential"];
    let kept = vps.run(&as_shop, b"t0ken-of-shop\n").succeeds();
    assert!(!kept.contains("t0ken"), "{kept}");
    assert_eq!(forge.deploy(""), "one");
    forge.version("shop", "two");

    // All that every process shows, for as long as a slow fetch takes; as the app itself, too.
    vps.write(
        "/root/watch.py",
        "import glob, sys, time\nend = time.time() + 6\nseen = set()\nlooked = set()\n\
         while time.time() < end:\n\
         \x20 for path in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):\n\
         \x20   try: data = open(path, 'rb').read()\n\
         \x20   except OSError: continue\n\
         \x20   if b'hostkit\\0git\\0fetch' in data: looked.add('fetch')\n\
         \x20   if b'git-remote-http' in data: looked.add('transport')\n\
         \x20   if b't0ken' in data: seen.add(data)\n\
         print(sorted(looked), seen)\n",
    );
    let slow = "deploy shop --no-watch --quiet --git https://forge.test/slow/shop.git";
    let seen =
        vps.sh(&format!("python3 /root/watch.py & sleep 0.2; hostkit {slow}; wait")).succeeds();
    assert!(seen.contains("['fetch', 'transport'] set()"), "{seen}");
    assert_eq!(forge.serves(), "two");

    // Not in logs, the registry, units, or anything else that is kept but the one file.
    let found = vps.sh("grep -rl t0ken-of-shop /var/lib/hostkit /var/lib/private/hostkit-git /var/log /etc /run /home/shop /tmp 2> /dev/null; journalctl --no-pager -o json | grep -v 'hostkit --\\|grep' | grep -c t0ken-of-shop");
    assert_eq!(found.stdout, "/var/lib/hostkit/deploys/shop/git/credential\n0\n", "{found}");
    let mode = vps.sh("stat -c '%a %U' /var/lib/hostkit/deploys/shop/git/credential").succeeds();
    assert_eq!(mode, "600 root\n");
    assert_ne!(vps.sh_as("shop", "cat /var/lib/hostkit/deploys/shop/git/credential").code, 0);
    assert_ne!(vps.sh_as("shop", "ls /var/lib/private/hostkit-git/shop").code, 0);

    // It is for one host. Who leads there does not get it, and plain http is not followed.
    vps.sh("rm /root/asked").succeeds();
    forge.deploy_fails("--git https://forge.test/away/shop.git", 1);
    let told = forge.deploy_fails("--git https://forge.test/plain/shop.git", 2);
    assert!(told.contains("leads to another transport"), "{told}");
    let asked = vps.read("/root/asked");
    assert!(asked.contains("other.test /private/shop.git"), "{asked}");
    assert!(asked.lines().all(|line| line.ends_with(" -")), "{asked}");

    assert_eq!(
        forge
            .deploy_fails("--git https://forge.test/open/gone.git", 3)
            .matches("no repository")
            .count(),
        1
    );
    let told = forge.deploy_fails("--git https://forge.test:1/open/shop.git", 1);
    assert!(told.contains("could not reach forge.test:1"), "{told}");
    vps.sh(
        "sed -i 's/forge.test/mallory.test/' /etc/hosts; echo '127.0.0.1 forge.test' >> /etc/hosts",
    )
    .succeeds();
    let told = forge.deploy_fails("--git https://mallory.test/open/shop.git", 1);
    assert!(told.contains("is not trusted"), "{told}");
    vps.hostkit("git credential shop --remove").succeeds();
    vps.hostkit("git credential shop --remove").fails_with(3);
    forge.deploy_fails("", 1);
    assert_eq!(forge.serves(), "two");

    // Without git there is a word for it.
    vps.sh("mv /usr/bin/git /usr/bin/git.away").succeeds();
    let told = forge.deploy_fails("", 8);
    assert!(told.contains("apt-get install git"), "{told}");
}

#[test]
fn a_hostile_address_or_repository_gains_nothing() {
    let forge = Forge::open();
    let vps = &forge.vps;
    forge.by_ssh();
    assert_eq!(forge.deploy("--git forge@127.0.0.1:shop.git"), "one");
    let before = vps.snapshot().without("registry").without("file /var/l");
    for url in [
        "ext::sh -c id>/tmp/pwned",
        "ext::touch /tmp/pwned",
        "file:///home/forge/shop.git",
        "file://localhost/home/forge/shop.git",
        "/home/forge/shop.git",
        "./shop.git",
        "../home/forge/shop.git",
        "home/forge/shop.git",
        "-oProxyCommand=touch /tmp/pwned",
        "--upload-pack=touch /tmp/pwned",
        "ssh://-oProxyCommand=touch%20/tmp/pwned/x",
        "-oProxyCommand=x@127.0.0.1:shop.git",
        "forge@-oProxyCommand=x:shop.git",
        "forge@127.0.0.1:--upload-pack=x",
        "ssh://forge:secret@127.0.0.1/home/forge/shop.git",
        "https://user@127.0.0.1/shop.git",
        "http://127.0.0.1/shop.git",
        "git://127.0.0.1/shop.git",
        "ftp://127.0.0.1/shop.git",
        "forge@127.0.0.1:shop.git;touch /tmp/pwned",
        "forge@127.0.0.1:$(touch /tmp/pwned)",
        "forge@127.0.0.1:`touch /tmp/pwned`",
        "https://127.0.0.1/a\nb",
        "",
    ] {
        for words in [vec!["deploy", "shop"], vec!["git", "config", "shop"]] {
            let option = if words[0] == "deploy" { "--git" } else { "--url" };
            let option = format!("{option}={url}");
            let told = vps.hostkit_args(&[words, vec![&option]].concat()).fails_with(2);
            assert!(!told.contains("secret@"), "{told}");
        }
    }
    let after = vps.snapshot().without("registry").without("file /var/l");
    before.assert_same(&after, "after hostile addresses");
    assert!(!vps.exists("/tmp/pwned"));

    // What is in a repository runs nowhere on the way: hooks, filters, other transports.
    vps.sh("set -e; cd /home/forge/shop.git; for hook in post-upload-pack post-checkout; do \
         printf '#!/bin/sh\\nid > /tmp/pwned-hook\\n' > hooks/$hook; chmod +x hooks/$hook; done")
        .succeeds();
    // As if the mirror itself had been written by somebody: git would run this at every fetch.
    vps.sh(
        "set -e; cd /var/lib/private/hostkit-git/shop; for mirror in *.git; do mkdir $mirror/hooks; \
         printf '#!/bin/sh\nid > /var/lib/hostkit-git/shop/pwned\n' > $mirror/hooks/reference-transaction; \
         chmod -R a+rx $mirror/hooks; chown -R --reference=$mirror $mirror/hooks; done",
    )
    .succeeds();
    forge.commit(
        "shop",
        "mkdir -p site/.git hooks; printf 'filtered filter=evil\\n*.txt export-subst\\nsecret export-ignore\\n*.bin filter=lfs\\n' > .gitattributes; \
         printf '$Format:%%H$' > subst.txt; echo x > filtered; echo x > secret; echo pointer > a.bin; \
         printf '#!/bin/sh\\nid > /tmp/pwned-hook\\n' > hooks/post-checkout; chmod +x hooks/post-checkout; \
         printf '[filter \"evil\"]\\nsmudge = id > /tmp/pwned-filter\\n[core]\\nsshCommand = id > /tmp/pwned-ssh\\n' > .gitconfig; \
         ln -s version link",
    );
    let told = vps.hostkit("deploy shop --no-watch");
    assert!(told.stderr.contains("Git LFS"), "{told}");
    told.succeeds();
    let look = |script: &str| vps.sh(&format!("cd /home/shop/app; {script}")).stdout;
    assert_eq!(look("cat subst.txt").trim(), forge.revision());
    assert_eq!(look("ls secret; cat link"), "one");
    assert_eq!(vps.sh("ls /tmp /var/lib/private/hostkit-git/shop | grep pwned").stdout, "");

    // A repository that is one directory stays one: nothing is taken off.
    forge.repository("deep");
    forge.commit("deep", "mkdir app; git mv server.py version hostkit.toml app/");
    let told = forge.deploy_fails("--git forge@127.0.0.1:deep.git", 6);
    assert!(told.contains("'app' is a package"), "it was taken off: {told}");

    // Links that lead out.
    forge.repository("links");
    for (to, name) in [("/etc/shadow", "a"), ("../../../../etc/shadow", "b"), ("../..", "c")] {
        forge.commit(
            "links",
            &format!("git rm -q --cached --ignore-unmatch a b c; rm -f a b c; ln -s {to} {name}"),
        );
        let told = forge.deploy_fails("--git forge@127.0.0.1:links.git", 2);
        assert!(told.contains("link"), "{to}: {told}");
    }
    assert_eq!(forge.serves(), "one");
    assert_eq!(vps.sh("ls -A /home/shop/releases | grep staging; systemctl list-units --all 'hostkit-shop-build*' --no-legend").stdout, "");
    vps.hostkit("drift shop").succeeds();
}

#[test]
fn submodules_come_when_asked_and_by_the_same_rules() {
    let forge = Forge::open();
    let vps = &forge.vps;
    forge.by_ssh();
    forge.repository("lib");
    forge.repository("inner");
    let pin = |at: &str, repository: &str, path: &str, url: &str| {
        let commit = vps.sh(&format!("git -C /srv/work/{repository} rev-parse HEAD")).succeeds();
        let commit = commit.trim();
        forge.commit(
            at,
            &format!(
                "printf '[submodule \"x\"]\\n\\tpath = {path}\\n\\turl = {url}\\n' > .gitmodules; mkdir -p {path}; \
                 git update-index --add --cacheinfo 160000,{commit},{path}"
            ),
        )
    };
    forge.version("inner", "innermost");
    pin("lib", "inner", "below", "../inner.git");
    pin("shop", "lib", "vendor/lib", "../lib.git");
    let look = |script: &str| vps.sh(&format!("cd /home/shop/app; {script}")).stdout;
    vps.hostkit("git config shop --url ssh://forge@127.0.0.1/home/forge/shop.git").succeeds();
    assert_eq!(forge.deploy(""), "one");
    assert_eq!(look("ls vendor/lib"), "");
    assert_eq!(forge.deploy("--submodules"), "one");
    assert_eq!(look("cat vendor/lib/version vendor/lib/below/version"), "oneinnermost");
    vps.hostkit("git config shop --url ssh://forge@127.0.0.1/home/forge/shop.git --submodules")
        .succeeds();
    forge.deploy("");
    assert_eq!(look("cat vendor/lib/below/version"), "innermost");

    for (path, url) in [
        ("vendor/lib", "file:///home/forge/lib.git"),
        ("vendor/lib", "/home/forge/lib.git"),
        ("vendor/lib", "ext::touch /tmp/pwned"),
        ("vendor/lib", "-u./payload"),
        ("vendor/lib", "git://127.0.0.1/lib.git"),
        ("vendor/lib", "../../../../../../etc"),
        ("vendor/lib", "https://user:pw@127.0.0.1/x"),
    ] {
        pin("shop", "lib", path, url);
        let told = forge.deploy_fails("", 2);
        assert!(told.contains("submodule"), "{url}: {told}");
        assert!(!vps.exists("/tmp/pwned"));
        // Who asks for none is not held up by them.
        vps.hostkit("git config shop --url ssh://forge@127.0.0.1/home/forge/shop.git").succeeds();
        assert_eq!(forge.deploy(""), "one");
        vps.hostkit("git config shop --url ssh://forge@127.0.0.1/home/forge/shop.git --submodules")
            .succeeds();
    }
    // They may hold others, and not for ever.
    for _ in 0..7 {
        pin("lib", "lib", "again", "../lib.git");
    }
    pin("shop", "lib", "vendor/lib", "../lib.git");
    assert!(forge.deploy_fails("", 2).contains("submodule"));
    assert_eq!(look("cat version"), "one");
}

#[test]
fn what_is_not_encrypted_comes_only_where_the_owner_lets_it() {
    let forge = Forge::open();
    let vps = &forge.vps;
    vps.sh("systemd-run -q --unit forge-git --setenv=HOME=/root git daemon --listen=127.0.0.1 --export-all --base-path=/home/forge").succeeds();
    let told = forge.deploy_fails("--git git://127.0.0.1/shop.git", 2);
    assert!(told.contains("git.unencrypted"), "{told}");
    vps.sh("sed -i 's/^#unencrypted.*/unencrypted = true/' /etc/hostkit/hostkit.toml").succeeds();
    assert_eq!(forge.deploy("--git git://127.0.0.1/shop.git"), "one");
    let slow = forge.deploy_fails("--git git://127.0.0.1/gone.git", 3);
    assert!(slow.contains("no repository"), "{slow}");
    // Remembered when it was allowed, and refused when it is not any more.
    vps.sh("sed -i 's/^unencrypted.*/unencrypted = false/' /etc/hostkit/hostkit.toml").succeeds();
    forge.deploy_fails("", 2);
    vps.sh("git init -q --bare /home/forge/empty.git; chown -R forge: /home/forge").succeeds();
    forge.by_ssh();
    let told = forge.deploy_fails("--git forge@127.0.0.1:empty.git", 3);
    assert!(told.contains("has no default branch"), "{told}");
}

#[test]
fn a_push_is_deployed_and_says_how_it_went() {
    let forge = Forge::open();
    let vps = &forge.vps;
    vps.hostkit("provision bob --no-db --no-redis --quiet").succeeds();
    vps.sh(
        "set -e; for key in ci status; do ssh-keygen -q -t ed25519 -N '' -C $key@test -f /root/$key; done; \
         ssh-keyscan -t ed25519 127.0.0.1 > /root/known 2> /dev/null; \
         hostkit ssh add-key shop /root/ci.pub --ci; hostkit ssh add-key shop /root/status.pub --ci --verbs status",
    )
    .succeeds();
    let push = |key: &str, to: &str, more: &str| {
        vps.sh(&format!(
            "cd /srv/work/shop; GIT_SSH_COMMAND='ssh -i /root/{key} -o UserKnownHostsFile=/root/known -o BatchMode=yes' \
             git push {to} {more}"
        ))
    };
    let told = push("ci", "shop@127.0.0.1:shop", "main");
    assert!(told.stderr.contains("is live"), "{told}");
    told.succeeds();
    assert_eq!(forge.serves(), "one");
    assert_eq!(forge.revision(), vps.sh("git -C /srv/work/shop rev-parse HEAD").succeeds().trim());
    let again = push("ci", "shop@127.0.0.1:shop", "main");
    assert!(again.stderr.contains("did not move"), "{again}");
    again.succeeds();

    // What fails there fails here, and the same push is another try.
    forge.commit("shop", "printf two > version; mv server.py away.py");
    for _ in 0..2 {
        let told = push("ci", "shop@127.0.0.1:shop", "main");
        assert!(
            told.stderr.contains("shop still serves") && told.stderr.contains("push again"),
            "{told}"
        );
        assert_ne!(told.code, 0, "{told}");
        assert_eq!(forge.serves(), "one");
    }
    forge.commit("shop", "mv away.py server.py");
    push("ci", "shop@127.0.0.1:shop", "main").succeeds();
    assert_eq!(forge.serves(), "two");
    forge.commit("shop", "git reset -q --hard HEAD~2; printf forced > version");
    push("ci", "shop@127.0.0.1:shop", "+main").succeeds();
    assert_eq!(forge.serves(), "forced");
    // Another branch is kept, and not deployed.
    push("ci", "shop@127.0.0.1:shop", "main:other").succeeds();
    assert_eq!(forge.serves(), "forced");

    // One repository, whatever is named; none but this key; and no fetch.
    forge.version("shop", "three");
    push("ci", "shop@127.0.0.1:/home/bob/push/repo.git", "main").succeeds();
    assert_eq!(forge.serves(), "three");
    assert!(!vps.exists("/home/bob/push/repo.git"));
    let owner = vps.sh("stat -c %U /home/shop/push/repo.git").succeeds();
    assert_eq!(owner, "shop\n");
    forge.version("shop", "four");
    let told = push("status", "shop@127.0.0.1:shop", "main");
    assert!(told.stderr.contains("may not push"), "{told}");
    assert_ne!(told.code, 0);
    assert_ne!(push("ci", "bob@127.0.0.1:bob", "main").code, 0);
    for words in [
        "git-receive-pack",
        "git-receive-pack a b",
        "\"git-receive-pack 'a'; id\"",
        "git-upload-pack shop",
        "git-shell",
    ] {
        let ran = vps.sh(&format!(
            "timeout 20 ssh -n -i /root/ci -o UserKnownHostsFile=/root/known -o BatchMode=yes shop@127.0.0.1 {words}"
        ));
        assert!(!ran.stdout.contains("uid=") && !ran.stderr.contains("uid="), "{words}: {ran}");
    }

    // Hooks and settings that the project's own user leaves run for nobody.
    vps.sh(
        "set -e; cd /home/shop/push/repo.git; mkdir -p hooks; for hook in pre-receive update post-receive reference-transaction; do \
         printf '#!/bin/sh\\nid > /tmp/pwned-push\\n' > hooks/$hook; chmod 755 hooks/$hook; done; chown -R shop: hooks",
    )
    .succeeds();
    push("ci", "shop@127.0.0.1:shop", "main").succeeds();
    assert_eq!(forge.serves(), "four");
    assert!(!vps.exists("/tmp/pwned-push"));
    vps.hostkit("drift shop").succeeds();
}
