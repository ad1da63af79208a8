//! Package managers, each for real: by the lock file that a tree has, with what the server has.

use crate::vps::{BASE_DOMAIN, Vps};

const PYTHON: &str = "import os, http.server, greet\n\
    class Page(http.server.BaseHTTPRequestHandler):\n\
    \x20   def do_GET(self):\n\
    \x20       self.send_response(200); self.end_headers(); self.wfile.write(greet.WORD.encode())\n\
    http.server.HTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Page).serve_forever()\n";

const NODE: &str = "const ms = require('ms');\n\
    require('http').createServer((q, a) => a.end('hello from ms ' + ms(60000)))\n\
    .listen(process.env.PORT, '127.0.0.1');\n";

/// A package that no registry has: what is tried is the manager, not the network.
const WHEEL: &str = r#"
import os, sys, zipfile
info = "greet-1.0.dist-info/"
with zipfile.ZipFile(sys.argv[1] + "/greet-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("greet.py", "WORD = 'hello from greet'\n")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(info + "RECORD", "greet.py,,\n" + "".join(info + name + ",,\n" for name in ("METADATA", "WHEEL", "RECORD")))
"#;

/// Deploys twice, the second time with what the first has left in the caches.
fn deploys(vps: &Vps, name: &str, page: &str) {
    vps.hostkit(&format!("provision {name} --no-db --no-redis --quiet")).succeeds();
    for time in ["first", "again"] {
        let line = format!("deploy {name} --source /root/{name} --no-watch --json");
        let data = vps.hostkit(&line).data();
        println!("{name} {time}: {}", data["phases"]);
        let answer = vps.get(&format!("{name}.{BASE_DOMAIN}"), "/").unwrap();
        assert!(answer.status == 200 && answer.body.contains(page), "{name}: {}", answer.body);
    }
    vps.hostkit(&format!("drift {name}")).succeeds();
}

fn commands(vps: &Vps, name: &str) -> String {
    vps.sh(&format!("ls /home/{name}/.cache /home/{name}/app/venv/bin 2>/dev/null")).stdout
}

#[test]
fn pip_uv_and_poetry() {
    let vps = Vps::unlimited();
    vps.write("/root/wheel.py", WHEEL);
    for name in ["by-pip", "by-uv", "by-poetry"] {
        vps.write(&format!("/root/{name}/main.py"), PYTHON);
        vps.sh(&format!("python3 /root/wheel.py /root/{name}")).succeeds();
    }
    let wheel = "greet-1.0-py3-none-any.whl";
    vps.write("/root/by-pip/requirements.txt", &format!("./{wheel}\n"));
    vps.write(
        "/root/by-uv/pyproject.toml",
        &format!(
            "[project]\nname = \"tiny\"\nversion = \"1\"\nrequires-python = \">=3.9\"\n\
             dependencies = [\"greet\"]\n[tool.uv.sources]\ngreet = {{ path = \"{wheel}\" }}\n"
        ),
    );
    vps.write(
        "/root/by-poetry/pyproject.toml",
        &format!(
            "[tool.poetry]\nname = \"tiny\"\nversion = \"1\"\ndescription = \"\"\nauthors = []\n\
             [tool.poetry.dependencies]\npython = \">=3.9\"\ngreet = {{ path = \"{wheel}\" }}\n"
        ),
    );
    deploys(&vps, "by-pip", "hello from greet");
    assert!(!commands(&vps, "by-pip").contains("pip3"), "it has a pip of its own");
    // Whoever calls the environment's pip has one.
    vps.write("/root/by-pip/hostkit.toml", "[build]\nsteps = [\"venv/bin/pip --version\"]\n");
    vps.hostkit("deploy by-pip --source /root/by-pip --no-watch").succeeds();

    // A lock file that nothing here can read is not passed over.
    for (name, tool) in [("by-uv", "pipx install uv"), ("by-poetry", "python3-poetry")] {
        let lock = format!("/root/{name}/{}.lock", &name[3..]);
        vps.write(&lock, "");
        vps.hostkit(&format!("provision {name} --no-db --no-redis --quiet")).succeeds();
        let told = vps.hostkit(&format!("deploy {name} --source /root/{name}")).fails_with(8);
        assert!(told.contains(tool), "{told}");
        vps.hostkit(&format!("project delete {name} --yes --no-backup")).succeeds();
        vps.sh(&format!("rm {lock}")).succeeds();
    }
    vps.sh("pip install --quiet --break-system-packages uv poetry").succeeds();
    vps.sh(
        "cd /root/by-uv && uv lock --offline && cd ../by-poetry && poetry lock --no-interaction",
    )
    .succeeds();
    deploys(&vps, "by-uv", "hello from greet");
    deploys(&vps, "by-poetry", "hello from greet");
    assert!(commands(&vps, "by-uv").contains("uv\n"));
    assert!(vps.exists("/home/by-poetry/app/.venv"), "poetry makes its environment there");
    // A lock that does not fit is no reason to install something else.
    vps.sh("cd /root/by-poetry && sed -i 's/^hash.*//; s/sha256:[0-9a-f]*/sha256:00/' poetry.lock")
        .succeeds();
    vps.sh("rm -rf /home/by-poetry/.cache/*").succeeds();
    let told = vps.hostkit("deploy by-poetry --source /root/by-poetry --no-watch").fails_with(1);
    assert!(told.contains("by-poetry still serves"), "{told}");
}

#[test]
fn npm_yarn_and_pnpm() {
    let vps = Vps::unlimited();
    let package = |manager: &str| {
        format!(
            "{{\"name\":\"tiny\",\"version\":\"1.0.0\",\"private\":true,{manager}\
             \"scripts\":{{\"start\":\"node index.js\"}},\"dependencies\":{{\"ms\":\"2.1.3\"}}}}\n"
        )
    };
    for name in ["by-npm", "by-yarn", "by-pnpm"] {
        vps.write(&format!("/root/{name}/index.js"), NODE);
        vps.write(&format!("/root/{name}/package.json"), &package(""));
    }
    vps.sh("cd /root/by-npm && npm install --package-lock-only --silent").succeeds();
    deploys(&vps, "by-npm", "hello from ms 1m");

    // Without the manager that the lock file asks for: nothing of it, and what to do.
    vps.sh("touch /root/by-yarn/yarn.lock /root/by-pnpm/pnpm-lock.yaml").succeeds();
    for manager in ["yarn", "pnpm"] {
        vps.hostkit(&format!("provision by-{manager} --no-db --no-redis --quiet")).succeeds();
        let line = format!("deploy by-{manager} --source /root/by-{manager}");
        let told = vps.hostkit(&line).fails_with(8);
        assert!(told.contains("npm install --global corepack"), "{told}");
        vps.hostkit(&format!("project delete by-{manager} --yes --no-backup")).succeeds();
    }
    vps.sh("rm /root/by-yarn/yarn.lock /root/by-pnpm/pnpm-lock.yaml").succeeds();
    vps.sh("npm install --global --silent corepack@0.31").succeeds();
    // package.json names the manager with its hash, as corepack itself writes it there.
    for manager in ["yarn@1.22.22", "pnpm@9.15.9"] {
        let (word, _) = manager.split_once('@').unwrap();
        let hash = vps.sh(&format!(
            "npm view {manager} dist.integrity | sed 's/^sha512-//' | base64 -d | od -An -tx1 | tr -d ' \\n'"
        ));
        let named = format!("\"packageManager\":\"{manager}+sha512.{}\",", hash.succeeds());
        vps.write(&format!("/root/by-{word}/package.json"), &package(&named));
        vps.sh(&format!(
            "cd /root/by-{word} && COREPACK_DEFAULT_TO_LATEST=0 COREPACK_ENABLE_DOWNLOAD_PROMPT=0 \
             corepack {word} install && rm -rf node_modules && ls *lock*"
        ))
        .succeeds();
        deploys(&vps, &format!("by-{word}"), "hello from ms 1m");
        let used = commands(&vps, &format!("by-{word}"));
        assert!(used.contains("corepack\n") && used.contains(word), "{used}");
    }
}

#[test]
fn what_is_pinned_and_the_same_is_not_installed_again() {
    let vps = Vps::unlimited();
    vps.write("/root/wheel.py", WHEEL);
    vps.write("/root/shop/main.py", PYTHON);
    vps.write("/root/shop/requirements.txt", "# by a tool\ngreet==1.0\n");
    vps.sh("python3 /root/wheel.py /root/shop").succeeds();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    vps.hostkit("env set shop PIP_NO_INDEX=1 PIP_FIND_LINKS=.").succeeds();
    let line = "deploy shop --source /root/shop --no-watch";
    let serves = |vps: &Vps| vps.get(&format!("shop.{BASE_DOMAIN}"), "/").unwrap().body;
    vps.hostkit(line).succeeds();
    let first = vps.sh("readlink -f /home/shop/app").succeeds();
    // The package is nowhere any more: pip could not install it, and need not.
    vps.sh("mv /root/shop/*.whl /root").succeeds();
    vps.write("/root/shop/requirements.txt", "greet==1.0  # another remark\n");
    let told = vps.hostkit(line).succeeds();
    assert!(told.contains("is live"), "{told}");
    assert!(serves(&vps).contains("hello from greet"));
    let inodes = vps.sh(&format!(
        "find {}/venv /home/shop/app/venv/ -name greet.py -printf '%i %l\\n' | sort -u | wc -l; cat /home/shop/app/venv/pyvenv.cfg; \
         find /home/shop/app/venv/ -not -user root; grep -rl {0} /home/shop/app/venv/bin /home/shop/app/venv/pyvenv.cfg",
        first.trim()
    ));
    // One file by two names, which says nothing of the release that it comes from.
    assert!(inodes.stdout.starts_with("1\n") && !inodes.stdout.contains(first.trim()), "{inodes}");
    let write = "for f in $(find app/venv/ -type f -links +1); do echo >>$f && exit 1; done; true";
    vps.sh_as("shop", write).succeeds();
    vps.sh(&format!("rm -r {}", first.trim())).succeeds();
    vps.hostkit("service restart shop").succeeds();
    assert!(serves(&vps).contains("hello from greet"));
    // What was compiled then is still up to date.
    let stale = vps.sh_as(
        "shop",
        "cd app && venv/bin/python -v -c 'import greet' 2>&1 | grep -c 'greet.*matches'",
    );
    assert_eq!(stale.stdout.trim(), "1", "{stale}");
    // Another version, or one that is not said, is installed, which fails here.
    for other in ["greet==2.0", "greet", "greet>=1.0"] {
        vps.write("/root/shop/requirements.txt", other);
        let error = vps.hostkit(line).fails_with(1);
        assert!(error.contains("greet"), "{other}: {error}");
    }
    // Where there is nothing to take over it is installed.
    vps.write("/root/shop/requirements.txt", "greet==1.0");
    vps.hostkit("deploy shop --source /root/shop --no-watch").succeeds();
    vps.sh("mv /root/*.whl /root/shop; rm -r /home/shop/app/venv/").succeeds();
    let told = vps.hostkit(line).succeeds();
    assert!(serves(&vps).contains("hello from greet"), "{told}");
    vps.hostkit("drift shop").succeeds();
}

/// Links, files and additions that a build leaves where packages were installed.
#[test]
fn what_a_build_made_of_the_packages_is_not_taken_over() {
    let vps = Vps::unlimited();
    vps.write("/root/wheel.py", WHEEL);
    vps.write("/root/shop/main.py", PYTHON);
    vps.write("/root/shop/requirements.txt", "greet==1.0\n");
    vps.write("/root/shop/part/page.txt", "a part\n");
    vps.sh("python3 /root/wheel.py /root/shop").succeeds();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    vps.hostkit("env set shop PIP_NO_INDEX=1 PIP_FIND_LINKS=.").succeeds();
    vps.hostkit("deploy shop --source /root/shop --only venv").fails_with(2);
    vps.sh(
        "mkdir -m 700 /srv/secret && echo of-root >/srv/secret/key && chmod 600 /srv/secret/key",
    )
    .succeeds();
    let build = |script: &str| {
        vps.write("/root/shop/build.sh", script);
        vps.write("/root/shop/hostkit.toml", "[build]\nsteps = [\"sh build.sh\"]\n[process.web]\ncommand = \"/usr/bin/python3 -m http.server --bind 127.0.0.1 $PORT\"\n");
        vps.hostkit("deploy shop --source /root/shop --no-watch --json")
    };
    let python = "venv/bin/python -c 'import greet, sys; print(sys.modules.get(\"evil\"))'";
    for odd in [
        "mv venv v2; ln -s /srv/secret venv",
        "mv venv v2; touch venv",
        "echo 'import evil' > $(echo venv/lib/python3*/site-packages)/evil.pth; \
         touch $(echo venv/lib/python3*/site-packages)/evil.py",
    ] {
        // What runs needs nothing of it; what follows has to be whole, and of its own.
        build(odd).succeeds();
        if odd.contains("evil") {
            // It is the rest, and live; but a deploy of one part makes no more of it than it was.
            vps.hostkit("deploy shop --source /root/shop --only part --no-watch").succeeds();
        }
        build("true").succeeds();
        let found = vps.sh("find /home/shop/app/ /home/shop/releases -name key -o -name evil.pth -newer /root/shop/build.sh");
        assert!(!found.stdout.contains("/app/"), "{odd}: {found}");
        assert!(!vps.sh("grep -r of-root /home/shop/releases").stdout.contains("of-root"), "{odd}");
        let evil = vps.sh_as("shop", &format!("cd app && {python}"));
        assert_eq!(evil.stdout.trim(), "None", "{odd}: {evil}");
    }
    // What nobody touched still is.
    let before =
        vps.sh("stat -c %i /home/shop/app/venv/lib/python3*/site-packages/greet.py").succeeds();
    build("true").succeeds();
    let after =
        vps.sh("stat -c %i /home/shop/app/venv/lib/python3*/site-packages/greet.py").succeeds();
    assert_eq!(before, after);
}

#[test]
fn packages_and_constraints_of_the_manifest() {
    const MAIN: &str = "import os, http.server, h11\n\
        word = f\"{h11.__version__} {open('built').read().strip()} {os.environ.get('NODE_ENV')}\"\n\
        class Page(http.server.BaseHTTPRequestHandler):\n\
        \x20   def do_GET(self):\n\
        \x20       self.send_response(200); self.send_header(\"Content-Length\", str(len(word))); self.end_headers(); self.wfile.write(word.encode())\n\
        http.server.HTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Page).serve_forever()\n";
    let vps = Vps::unlimited();
    let off = "sed -i 's/^#per_hour.*/per_hour = 0/; s/^#pause_after.*/pause_after = 0/'";
    vps.sh(&format!("{off} /etc/hostkit/hostkit.toml")).succeeds();
    let manifest = |package: &str| {
        format!(
            "[project]\nruntime = \"python\"\n\
             [build]\npackages = [\"{package}\"]\nconstraints = \"deploy/constraints.txt\"\n\
             steps = [\"printenv NODE_ENV > built\"]\n[build.env]\nNODE_ENV = \"in the build's\"\nUV_NATIVE_TLS = \"1\"\nUV_SYSTEM_CERTS = \"1\"\n\
             [process.web]\ncommand = \"venv/bin/python main.py\"\n"
        )
    };
    let tree = |name: &str, package: &str, constraint: &str| {
        vps.write(&format!("/root/{name}/main.py"), MAIN);
        vps.write(&format!("/root/{name}/hostkit.toml"), &manifest(package));
        vps.write(&format!("/root/{name}/deploy/constraints.txt"), constraint);
    };
    let deploy = |name: &str| {
        let line = format!("deploy {name} --source /root/{name} --no-watch --json");
        let phases = vps.hostkit(&line).data()["phases"].clone();
        let page = vps.get(&format!("{name}.{BASE_DOMAIN}"), "/").unwrap().body;
        (phases.as_object().unwrap().contains_key("venv"), page)
    };
    vps.hostkit("provision pip --no-db --no-redis --quiet").succeeds();
    vps.hostkit("env set pip NODE_ENV=production").succeeds();
    vps.write("/root/pip/requirements.txt", "click==8.3.1\n");
    // The constraint says which version; such a package is looked for each time.
    tree("pip", "h11", "h11==0.14.0\n");
    let page = |version: &str| format!("{version} in the build's production");
    assert_eq!(deploy("pip"), (true, page("0.14.0")));
    assert_eq!(deploy("pip"), (true, page("0.14.0")));
    // With a version it is taken over, until one of the two says another.
    tree("pip", "h11==0.14.0", "# of the team\nh11==0.14.0\n");
    assert_eq!(deploy("pip"), (true, page("0.14.0")));
    assert_eq!(deploy("pip"), (false, page("0.14.0")));
    tree("pip", "h11==0.14.0", "# another word\nh11==0.14.0\n");
    assert_eq!(deploy("pip"), (false, page("0.14.0")));
    tree("pip", "h11==0.14.0", "h11==0.14.0\nidna==3.10\n");
    assert_eq!(deploy("pip"), (true, page("0.14.0")));
    tree("pip", "h11==0.16.0", "idna==3.10\n");
    assert_eq!(deploy("pip"), (true, page("0.16.0")));
    // What contradicts itself is not installed, and what is live stays.
    tree("pip", "h11==0.16.0", "h11==0.14.0\n");
    let said = vps.hostkit("deploy pip --source /root/pip --no-watch").fails_with(1);
    assert!(said.contains("pip still serves"), "{said}");
    tree("pip", "h11==0.16.0", "x");
    vps.sh(
        "rm /root/pip/deploy/constraints.txt && ln -s /etc/shadow /root/pip/deploy/constraints.txt",
    )
    .succeeds();
    let said = vps.hostkit("deploy pip --source /root/pip --no-watch");
    assert!(said.code != 0 && !format!("{said}").contains("root:"), "{said}");

    // Beside a lock file of uv's.
    vps.sh("pip install --quiet --break-system-packages uv").succeeds();
    tree("by-uv", "h11", "h11==0.14.0\n");
    vps.write(
        "/root/by-uv/pyproject.toml",
        "[project]\nname = \"tiny\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = []\n",
    );
    vps.sh("cd /root/by-uv && uv lock --offline").succeeds();
    vps.hostkit("provision by-uv --no-db --no-redis --quiet").succeeds();
    assert_eq!(deploy("by-uv").1, "0.14.0 in the build's None");
}
