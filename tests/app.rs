//! What a project's own processes may ask hostkit for, from inside of their sandbox.

use crate::vps::{BASE_DOMAIN, MANIFEST, Ran, Vps, app};

/// Asks hostkit for whatever a visitor sends, as an app that was taken over would.
const ASK: &str = r#"
import socket
def ask(line):
    said = b""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(30)
            s.connect(os.environ.get("SOCKET", "/run/hostkit/apps/shop.sock"))
            s.sendall(line + b"\n")
            while part := s.recv(4096):
                said += part
    except OSError as e:
        said += f"{type(e).__name__}".encode()
    return said.decode()
"#;

/// Connects, says that it has, and asks when it may, by then for what was once granted.
const LATE: &str = r#"
import os, socket, sys, time
with socket.socket(socket.AF_UNIX) as s:
    s.connect("/run/hostkit/apps/shop.sock")
    open("shared/connected", "w").close()
    while not os.path.exists("shared/go"):
        time.sleep(0.05)
    try:
        if len(sys.argv) > 1:
            s.sendall(sys.argv[1].encode() + b"\n")
        print(b"".join(iter(lambda: s.recv(4096), b"")).decode())
    except BrokenPipeError:
        print("exit: the line was cut")
"#;

fn deploy(vps: &Vps, name: &str, version: &str) {
    let server = app(version, ASK, "if self.command == 'POST': body = ask(self.sent)");
    vps.write(&format!("/root/{version}/server.py"), &server);
    vps.write(&format!("/root/{version}/hostkit.toml"), MANIFEST);
    vps.hostkit(&format!("deploy {name} --source /root/{version} --no-watch --quiet")).succeeds();
}

fn serves(vps: &Vps) -> String {
    vps.get(&format!("shop.{BASE_DOMAIN}"), "/").map_or(String::new(), |answer| answer.body)
}

/// What the app of a project gets when it asks for a line.
fn asks(vps: &Vps, name: &str, line: &str) -> String {
    vps.write("/root/line", line);
    let curl =
        format!("curl -s --max-time 60 --data-binary @/root/line http://{name}.{BASE_DOMAIN}/");
    vps.sh(&format!("{curl} --resolve {name}.{BASE_DOMAIN}:80:127.0.0.1")).stdout
}

/// `permissions grant` or `revoke`.
fn permit(vps: &Vps, verb: &str, line: &str) -> Ran {
    vps.hostkit_args(&["permissions", verb, "shop", "--app", line])
}

#[test]
fn an_app_gets_what_was_granted_to_the_letter() {
    let vps = Vps::ready();
    vps.hostkit("provision shop --no-db --no-redis --quiet").succeeds();
    vps.hostkit("provision wiki --no-db --no-redis --quiet").succeeds();
    deploy(&vps, "shop", "one");
    deploy(&vps, "shop", "two");
    deploy(&vps, "wiki", "three");
    assert_eq!(asks(&vps, "shop", "status --json"), "FileNotFoundError");

    for refused in
        ["exec -- id", "deploy --source /root", "env get X", "deploy wiki", "status wiki"]
    {
        let told = permit(&vps, "grant", refused).fails_with(2);
        assert!(told.contains("can't be granted") || told.contains("does not concern"), "{told}");
    }
    vps.hostkit("permissions grant shop --app rollback --dry-run").succeeds();
    assert_eq!(asks(&vps, "shop", "rollback"), "FileNotFoundError");
    permit(&vps, "grant", "rollback").succeeds();
    permit(&vps, "grant", "status --json").succeeds();
    permit(&vps, "grant", "status --json").succeeds();
    let shown = vps.hostkit("permissions show shop --json").succeeds();
    assert!(shown.contains(r#""app":["rollback","status --json"]"#), "{shown}");
    vps.hostkit("drift shop").succeeds();
    vps.hostkit("permissions verify shop").succeeds();

    let said = asks(&vps, "shop", "status --json");
    assert!(said.contains(r#""ok":true"#) && said.ends_with("exit 0\n"), "{said}");
    // Another word, another order, another project, or what a shell would make of it.
    for line in [
        "status",
        "status --json --json",
        "--json status",
        "status --json wiki",
        "status wiki --json",
        "rollback --full",
        "rollback; id",
        "deploy",
        "hostkit",
        "",
        "gate shop",
        "app-gate shop",
    ] {
        let said = asks(&vps, "shop", line);
        assert!(said.ends_with("exit 5\n") || said.ends_with("exit 2\n"), "{line}: {said}");
    }
    let said = asks(&vps, "shop", &"x".repeat(9000));
    assert!(said.ends_with("exit 2\n") || said.contains("Error"), "{said}");
    assert_eq!(serves(&vps), "two");

    // Neither a neighbour nor root is a process of the project.
    vps.hostkit("env set wiki SOCKET=/run/hostkit/apps/shop.sock --restart").succeeds();
    assert_eq!(asks(&vps, "wiki", "status --json"), "PermissionError");
    let ask = "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); \
               s.connect(\"/run/hostkit/apps/shop.sock\"); s.sendall(b\"rollback\\n\"); print(s.recv(999))'";
    assert!(vps.sh(ask).succeeds().contains("not granted"));
    assert_eq!(serves(&vps), "two");

    // The process that asks does not outlive what it asked for, which goes on.
    asks(&vps, "shop", "rollback");
    vps.wait_until("the rollback", |vps| serves(vps) == "one");
    vps.wait_until("its end", |vps| vps.sh("pgrep -f '[h]ostkit app-gate'").stdout.is_empty());
    let ended = vps.hostkit("deploys shop --json").data();
    assert_eq!(
        (&ended[0]["verb"], &ended[0]["outcome"]),
        (&"rollback".into(), &"done".into()),
        "{ended}"
    );

    // Who asks without end is heard no more.
    let flood = "import socket\nfor _ in range(300):\n s = socket.socket(socket.AF_UNIX)\n try: s.connect('/run/hostkit/apps/shop.sock')\n except OSError: break";
    vps.write("/srv/flood.py", flood);
    vps.sh_as("shop", "python3 /srv/flood.py").succeeds();
    vps.wait_until("the socket closes", |vps| asks(vps, "shop", "rollback") == "FileNotFoundError");
    let drift = vps.hostkit("drift shop");
    assert!(drift.stdout.contains("app.socket"), "{drift}");
    vps.hostkit("repair shop").succeeds();

    // It counts when the line comes, and not when somebody connected; nobody is waited for long.
    vps.write("/srv/late.py", LATE);
    vps.sh("cd /home/shop; runuser -u shop -- python3 /srv/late.py rollback > /root/late 2>&1 &")
        .succeeds();
    vps.wait_until("the connection", |vps| vps.exists("/home/shop/shared/connected"));
    permit(&vps, "revoke", "rollback").succeeds();
    vps.sh("touch /home/shop/shared/go").succeeds();
    let late = vps.sh("wait_for() { until grep -q exit /root/late; do sleep 0.1; done; }; wait_for; cat /root/late");
    assert!(late.stdout.contains("cut") || late.stdout.ends_with("exit 5\n\n"), "{late}");
    assert_eq!(serves(&vps), "one");
    let mute = vps.sh("cd /home/shop; runuser -u shop -- python3 /srv/late.py").succeeds();
    assert!(mute.contains("no request came\nexit 2\n"), "{mute}");
    assert!(asks(&vps, "shop", "rollback").ends_with("exit 5\n"));
    permit(&vps, "revoke", "rollback").fails_with(3);
    permit(&vps, "revoke", "status --json").succeeds();
    assert_eq!(asks(&vps, "shop", "status --json"), "FileNotFoundError");
    assert_eq!(vps.sh("ls /etc/systemd/system | grep 'shop.app'; ls /run/hostkit/apps").stdout, "");
    vps.hostkit("drift shop").succeeds();

    permit(&vps, "grant", "rollback").succeeds();
    vps.hostkit("project delete shop --yes --no-backup").succeeds();
    let left = vps.sh("ls /etc/systemd/system /etc/systemd/system/*.wants | grep shop; ls /run/hostkit/apps; systemctl list-units --all --no-legend '*shop*' | grep -v hostkit-shop.slice");
    assert_eq!(left.stdout, "", "{left}");
}
