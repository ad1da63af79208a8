//! PHP: a pool of the project's own, switched without a lost request and reached by nobody else.

use crate::vps::{BASE_DOMAIN, Load, Vps};

pub const INSTALL: &str = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends php-fpm php-cli php-curl php-mbstring php-xml php-zip unzip composer";

/// Tells its version, its release and its environment, whatever is asked.
const INDEX: &str = r"<?php
START
require __DIR__ . '/../src/more.php';
$body = match ($_SERVER['REQUEST_URI']) {
    '/env' => getenv('COLOUR') . ' ' . ($_SERVER['COLOUR'] ?? ''),
    '/release' => getenv('HOSTKIT_RELEASE'),
    '/script' => $_SERVER['SCRIPT_FILENAME'] . ' ' . $_SERVER['HTTP_X_FORWARDED_FOR'],
    '/log' => error_log('told by the page') ? 'told' : 'not',
    default => VERSION . ' ' . more(),
};
header('Content-Length: ' . strlen($body));
echo $body;
";

struct Shop {
    vps: Vps,
}

impl Shop {
    fn open() -> Self {
        let vps = Vps::unlimited();
        vps.sh(INSTALL).succeeds();
        vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
        Self { vps }
    }

    fn tree(&self, version: &str, start: &str, more: &[(&str, &str)]) {
        let index = INDEX.replace("VERSION", &format!("'{version}'")).replace("START", start);
        let part = format!("<?php function more() {{ return '{version}'; }}");
        let files = [("public/index.php", index.as_str()), ("src/more.php", &part)];
        for (path, text) in files.iter().chain(more) {
            self.vps.write(&format!("/root/{version}/{path}"), text);
        }
    }

    fn deploy(&self, version: &str) {
        let line = format!("deploy shop --source /root/{version} --no-watch --quiet");
        self.vps.hostkit(&line).succeeds();
    }

    fn get(&self, path: &str) -> String {
        let answer = self.vps.get(&format!("shop.{BASE_DOMAIN}"), path).unwrap();
        format!("{} {}", answer.status, answer.body)
    }
}

#[test]
fn deploys_and_rollbacks_fail_no_request_and_are_seen_at_once() {
    let shop = Shop::open();
    shop.tree("one", "", &[]);
    shop.tree("two", "", &[]);
    shop.deploy("one");
    assert_eq!(shop.get("/"), "200 one one");
    // One visitor writes down what he sees, to know that nobody sees an old page after a new one.
    shop.vps
        .sh("nohup bash -c 'while :; do curl -s -H \"Host: shop.apps.test\" http://127.0.0.1/; echo; done' \
             > /root/seen 2>&1 & echo $! > /root/pid")
        .succeeds();
    shop.vps.wait_until("the visitor", |vps| vps.read("/root/seen").contains("one"));
    shop.deploy("two");
    assert_eq!(shop.get("/"), "200 two two");
    shop.vps.sh("sleep 0.5; kill $(cat /root/pid)").succeeds();
    let seen = shop.vps.read("/root/seen");
    let changes: Vec<&str> = seen.lines().collect();
    let from = changes.iter().position(|line| *line == "two two").unwrap();
    assert!(changes[from..].iter().all(|line| ["two two", ""].contains(line)), "{seen}");
    assert!(changes[..from].iter().all(|line| *line == "one one"), "{seen}");

    let load = Load::on(&shop.vps, &format!("shop.{BASE_DOMAIN}"), 8);
    for n in 0..5 {
        let version = ["one", "two"][n % 2];
        shop.deploy(version);
        assert_eq!(shop.get("/"), format!("200 {version} {version}"));
        shop.vps.hostkit("rollback shop --quiet").succeeds();
        assert_eq!(shop.get("/").split(' ').nth(1).unwrap(), ["two", "one"][n % 2]);
        let back = shop.vps.hostkit("releases shop --json").data();
        let newest = back[0]["id"].as_str().unwrap();
        shop.vps.hostkit(&format!("rollback shop --to {newest} --quiet")).succeeds();
    }
    // The environment of `.env` reaches the pages, and changes without a failed request too.
    shop.vps.hostkit("env set shop COLOUR=blue --restart").succeeds();
    assert_eq!(shop.get("/env"), "200 blue blue");
    load.end().assert_none_failed(1500);

    let live = shop.vps.hostkit("releases shop --json").data()[0]["id"].clone();
    let live = live.as_str().unwrap();
    assert_eq!(shop.get("/release"), format!("200 {live}"));
    let script = shop.get("/script");
    assert!(script.contains(&format!("/home/shop/releases/{live}/public/index.php ")), "{script}");
    assert_eq!(shop.get("/log"), "200 told");
    shop.vps.wait_until("the log", |vps| {
        vps.read("/var/log/projects/shop/error.log").contains("told by the page")
    });
    shop.vps.hostkit("drift shop").succeeds();
    shop.vps.hostkit("doctor").succeeds();
    let left = shop.vps.sh(
        "ls /run/systemd/system | grep hostkit-shop; ls /run/hostkit/next; ls -A /run/hostkit.sockets; \
         systemctl list-units --all 'hostkit-shop-*' --no-legend",
    );
    assert_eq!(left.stdout, "shop.sock\n", "{left}");
    // Nobody asks, and nothing waits: only the one that would start others.
    shop.vps
        .wait_until("its processes to end", |vps| vps.sh("pgrep -u shop | wc -l").stdout == "1\n");
}

#[test]
fn a_release_that_does_not_answer_changes_nothing() {
    let shop = Shop::open();
    shop.tree("one", "", &[]);
    shop.deploy("one");
    let before = shop.vps.sh("systemctl show -P MainPID hostkit-shop").succeeds();
    let patient = ("hostkit.toml", "[deploy]\ntimeout = \"2s\"\n");
    shop.tree("broken", "no php at all (", &[patient]);
    shop.tree("sick", "throw new RuntimeException('no such table');", &[patient]);
    shop.tree("slow", "sleep(30);", &[patient]);
    let declared = "[project]\nruntime = \"php\"\n[process.web]\n\
        health = { path = \"/\", body = \"three\", timeout = \"2s\" }\n";
    shop.tree("other", "", &[("hostkit.toml", declared)]);
    let load = Load::on(&shop.vps, &format!("shop.{BASE_DOMAIN}"), 4);
    for (version, why) in [
        ("broken", "PHP Parse error"),
        ("sick", "no such table"),
        ("slow", "does not answer"),
        ("other", "without `three`"),
    ] {
        let line = format!("deploy shop --source /root/{version}");
        let told = shop.vps.hostkit(&line).fails_with(6);
        assert!(told.contains(why) && told.contains("shop still serves"), "{version}: {told}");
        assert_eq!(shop.get("/"), "200 one one", "{version}");
    }
    load.end().assert_none_failed(200);
    assert_eq!(shop.vps.sh("systemctl show -P MainPID hostkit-shop").succeeds(), before);
    // What fails once it is live is noticed, and goes back.
    let late = "if (file_exists('/home/shop/shared/ill')) { http_response_code(500); }";
    shop.tree("late", late, &[]);
    let load = Load::on(&shop.vps, &format!("shop.{BASE_DOMAIN}"), 4);
    shop.vps.once_the_next_is_live("shop", "touch /home/shop/shared/ill");
    let told = shop.vps.hostkit("deploy shop --source /root/late --watch 20s").fails_with(6);
    load.end();
    assert!(told.contains("were answered with 5xx"), "{told}");
    assert_eq!(shop.get("/"), "200 one one");
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn only_pages_run_and_only_files_are_sent() {
    let shop = Shop::open();
    let secret = "the secret";
    let manifest = "[project]\nshared = [\"public/uploads\", \"var\"]\n";
    shop.tree(
        "one",
        "",
        &[
            ("composer.json", "{\"name\": \"a/the-secret\"}"),
            ("hostkit.toml", manifest),
            ("public/a.txt", "plain <?php echo 'run'; ?>"),
            ("public/b.PHP", secret),
            ("public/c.php.bak", secret),
            ("public/d.phtml", secret),
            ("public/.htpasswd", secret),
            ("public/.env", secret),
            ("public/sub/index.php", "<?php header('Content-Length: 3'); echo 'sub';"),
            ("config.php", secret),
        ],
    );
    shop.deploy("one");
    for (path, told) in [
        ("/a.txt", "200 plain <?php echo 'run'; ?>"),
        ("/sub/", "200 sub"),
        ("/sub/index.php", "200 sub"),
        ("/any/path?with=query", "200 one one"),
        // A file that is none of PHP's is not run, whatever is put behind its name.
        ("/a.txt/x.php", "404"),
        ("/a.txt%00.php", "400"),
        ("/missing.php", "404"),
        ("/b.PHP", "404"),
        ("/c.php.bak", "404"),
        ("/d.phtml", "404"),
        ("/.htpasswd", "404"),
        ("/.env", "404"),
        ("/composer.json", "404"),
        ("/vendor/autoload.php", "404"),
        ("/../config.php", "400"),
        ("/..%2fconfig.php", "400"),
    ] {
        let came = shop.get(path);
        assert!(came.starts_with(told) && !came.contains("secret"), "{path}: {came}");
    }
    // What visitors bring is sent, and never run; and no link leads out of there.
    let bring = "cd ~/shared/public/uploads && echo photo > p.jpg && echo '<?php echo 6*7;' > x.php \
        && cp x.php x.pHp && mkdir d && cp p.jpg d && ln -s /home/shop/app/config.php l.txt \
        && ln -s / up";
    // As the pages would: with the unit's umask.
    shop.vps.sh_as("shop", &format!("umask 0007; {bring}")).succeeds();
    for (path, told) in [
        ("/uploads/p.jpg", "200 photo"),
        ("/uploads/d/p.jpg", "200 photo"),
        ("/uploads/x.php", "404"),
        ("/uploads/x.pHp", "404"),
        ("/uploads/x.php/y", "404"),
        ("/uploads/p.jpg/x.php", "404"),
        ("/uploads/l.txt", "403"),
        ("/uploads/up/etc/passwd", "404"),
    ] {
        let came = shop.get(path);
        assert!(came.starts_with(told) && !came.contains("secret"), "{path}: {came}");
    }
    // Where the whole tree is the site, more is hidden.
    shop.vps.sh("mkdir /root/two && cd /root/two && mkdir -p vendor/a && echo 'secret' | tee vendor/a/b.js \
        config.ini composer.lock hostkit.log > /dev/null && echo '<?php header(\"Content-Length: 3\"); echo \"two\";' > index.php").succeeds();
    shop.deploy("two");
    assert_eq!(shop.get("/"), "200 two");
    for path in ["/vendor/a/b.js", "/config.ini", "/composer.lock", "/hostkit.log", "/.release"] {
        let came = shop.get(path);
        assert!(came.starts_with("404"), "{path}: {came}");
    }
    // A build may leave a link, and it leads nowhere else.
    let build = "[build]\nsteps = [\"ln -s /etc/passwd public/passwd.txt\"]\n";
    shop.tree("three", "", &[("hostkit.toml", build)]);
    let told = shop.vps.hostkit("deploy shop --source /root/three").fails_with(1);
    assert!(told.contains("`public/passwd.txt` is a link that leads out"), "{told}");
    shop.vps.hostkit("drift shop").succeeds();
}

#[test]
fn nobody_else_reaches_a_pool_and_nothing_of_it_stays() {
    let bare = Vps::ready();
    bare.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    bare.write("/root/one/index.php", "<?php echo 'one';");
    let told = bare.hostkit("deploy shop --source /root/one").fails_with(8);
    assert!(told.contains("apt-get install php-fpm"), "{told}");
    drop(bare);

    let shop = Shop::open();
    shop.vps.hostkit("project delete shop --yes --no-backup").succeeds();
    shop.tree("one", "", &[]);
    let look = || shop.vps.snapshot().without("file /run/php").without("file /var/log/php");
    let before = look();
    shop.vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    shop.vps.hostkit("provision paper --php --no-db --no-redis --quiet").succeeds();
    shop.vps.hostkit("deploy paper --source /root/one --no-watch --quiet").succeeds();
    shop.deploy("one");
    assert_eq!(shop.get("/"), "200 one one");
    let connect = |user: &str, path: &str| {
        let script = format!("printf '' | nc -U -w 1 {path}; exit ${{PIPESTATUS[1]}}");
        shop.vps.run(&["runuser", "-u", user, "--", "bash", "-c", &script], b"").code
    };
    let socket = "/run/hostkit.sockets/shop.sock";
    assert_eq!(connect("www-data", socket), 0, "the web server");
    for user in ["paper", "nobody"] {
        assert_ne!(connect(user, socket), 0, "{user}");
    }
    assert_ne!(shop.vps.sh_as("paper", "ls /run/hostkit.sockets || ls /run/hostkit-shop").code, 0);
    // Whoever takes the place of the socket leads the web server nowhere: the pool of the
    // package, which runs as the web server itself, is not to be reached by a link.
    let stock = "/run/php/php8.2-fpm.sock";
    assert_eq!(connect("www-data", stock), 0, "the package's own pool");
    let swap = format!("cd /run/hostkit-shop; rm -f php.sock; ln -s {stock} php.sock; touch mine");
    shop.vps.sh_as("shop", &swap).succeeds();
    assert_eq!(shop.get("/"), "200 one one");
    // The same in time for the move: then nobody answers, and above all not the other pool.
    let drop_in = "/etc/systemd/system/hostkit-shop.service.d/late.conf";
    let late = format!(
        "[Service]\nExecStartPost=\nExecStartPost=/usr/bin/ln -sfn {stock} /run/hostkit-shop/php.sock\n\
         ExecStartPost=+/usr/bin/hostkit door open shop\n"
    );
    let unit = shop.vps.read("/etc/systemd/system/hostkit-shop.service");
    for line in late.lines().skip(3) {
        assert!(unit.contains(line), "{line}: {unit}");
    }
    shop.vps.write(drop_in, &late);
    shop.vps
        .sh("systemctl daemon-reload; systemctl restart --no-block hostkit-shop; sleep 1")
        .succeeds();
    assert!(shop.get("/").starts_with("502"));
    assert!(!shop.vps.exists(socket));
    shop.vps
        .sh(&format!(
            "rm -r $(dirname {drop_in}); systemctl daemon-reload; systemctl restart hostkit-shop"
        ))
        .succeeds();
    assert_eq!(shop.get("/"), "200 one one");
    // After a boot it is as it was.
    shop.vps.crash();
    shop.vps.boot();
    shop.vps.wait_until("the site", |_| shop.get("/") == "200 one one");
    shop.vps.hostkit("doctor").succeeds();

    shop.vps.sh("echo '; mine' >> /etc/hostkit-php/paper.conf").succeeds();
    shop.vps.hostkit("drift paper").fails_with(1);
    shop.vps.hostkit("repair paper").succeeds();
    shop.vps.hostkit("drift paper").succeeds();
    shop.vps.hostkit("project delete paper --yes --no-backup").succeeds();
    shop.vps.hostkit("project delete shop --yes --no-backup").succeeds();
    assert_eq!(shop.vps.sh("ls -A /run/hostkit.sockets; ls /run | grep hostkit-shop").stdout, "");
    before.assert_same(&look(), "two projects in PHP, and their end");
}

/// A catalogue of messages in which `mv` says something else.
fn catalogue() -> Vec<u8> {
    let texts =
        ["", "cannot stat %s", "Content-Type: text/plain; charset=UTF-8\n", "TAKEN OVER %s"];
    let mut bytes: Vec<u8> = Vec::new();
    let mut at = 28 + 8 * 4;
    let words = [0x9504_12de_u32, 0, 2, 28, 28 + 16, 0, 0];
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    for text in texts {
        let length = u32::try_from(text.len()).unwrap();
        bytes.extend(length.to_le_bytes());
        bytes.extend(u32::to_le_bytes(at));
        at += length + 1;
    }
    bytes.extend(texts.iter().flat_map(|text| text.bytes().chain([0])));
    bytes
}

#[test]
fn nobody_speaks_through_roots_part_of_a_pool() {
    let shop = Shop::open();
    shop.tree("one", "", &[]);
    shop.deploy("one");
    for key in ["LOCPATH", "NLSPATH", "GLIBC_TUNABLES", "GCONV_PATH", "MALLOC_TRACE", "LD_DEBUG"] {
        shop.vps.hostkit(&format!("env set shop {key}=/home/shop/shared")).fails_with(2);
    }
    let put = "mkdir -p ~shop/shared/LC_MESSAGES && cat > ~shop/shared/LC_MESSAGES/coreutils.mo";
    shop.vps.run(&["bash", "-c", put], &catalogue()).succeeds();
    let language = "LC_ALL=C.UTF-8 LANGUAGE=../../../home/shop/shared";
    let control = shop.vps.sh(&format!("env {language} mv -fT /missing /tmp/x"));
    assert!(control.stderr.contains("TAKEN OVER"), "the catalogue is one: {control}");
    // Its own pool listens elsewhere, then, and root looks where it always does.
    shop.vps.hostkit("env set shop RUNTIME_DIRECTORY=/home/shop/shared --restart").fails_with(6);
    assert_eq!(shop.get("/"), "200 one one");
    shop.vps
        .hostkit(&format!("env set shop {language} PATH=/home/shop/shared --restart"))
        .succeeds();
    assert_eq!(shop.get("/"), "200 one one");

    // Also where somebody wrote into the file what hostkit would not, and root's part has
    // something to say, because the socket is gone when its time has come.
    shop.vps.sh("printf 'LD_DEBUG=libs\nLOCPATH=/home/shop/shared\n' >> ~shop/.env").succeeds();
    let restart = "systemctl daemon-reload; systemctl restart hostkit-shop";
    shop.vps.sh(restart).succeeds();
    assert_eq!(shop.get("/"), "200 one one");
    let drop_in = "/etc/systemd/system/hostkit-shop.service.d/gone.conf";
    let gone = "[Service]\nExecStartPost=\nExecStartPost=/usr/bin/unlink /run/hostkit-shop/php.sock\n\
                ExecStartPost=+/usr/bin/hostkit door open shop\n";
    shop.vps.write(drop_in, gone);
    assert_ne!(shop.vps.sh(restart).code, 0);
    let said = shop.vps.read("/var/log/projects/shop/error.log");
    assert!(said.contains("hostkit: could not open the door of `shop`: no such file"), "{said}");
    assert!(!said.contains("TAKEN OVER") && !said.contains("calling init"), "{said}");
    // Nothing of root's is run in there but hostkit.
    let unit = shop.vps.read("/etc/systemd/system/hostkit-shop.service");
    let as_root = unit.lines().filter(|line| line.starts_with("Exec") && line.contains("=+"));
    assert!(as_root.clone().count() == 2);
    assert!(as_root.clone().all(|line| line.contains("=+/usr/bin/hostkit door ")), "{unit}");
}

#[test]
fn a_second_project_in_php_finds_what_it_shares_with_the_first() {
    let vps = crate::vps::Vps::ready();
    for name in ["one", "two"] {
        vps.hostkit(&format!("provision {name} --php --no-db --no-redis --quiet")).succeeds();
        vps.hostkit(&format!("drift {name}")).succeeds();
    }
    vps.hostkit("project delete one --yes --no-backup").succeeds();
    vps.hostkit("drift two").succeeds();
}
