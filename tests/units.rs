//! Units of the usual kinds under the hardened unit: they start, they answer, they are confined.

use crate::{
    isolation::{From, Neighbours, release_python},
    vps::{BASE_DOMAIN, Vps, app},
};

/// What `systemd-analyze security` may say at most. The classic unit comes to 9.2.
const EXPOSURE: f64 = 1.5;

const PYTHON: &str = "body = 'python of ' + os.environ['PROJECT_NAME']";

const NODE: &str = r#"
const {Worker} = require("worker_threads");
new Worker("1", {eval: true}).on("exit", () =>
  require("http")
    .createServer((_, response) => response.end(`node of ${process.env.PROJECT_NAME}`))
    .listen(process.env.PORT, process.env.HOST));
"#;

fn exposure(vps: &Vps, unit: &str) -> f64 {
    let text = vps.sh(&format!("systemd-analyze security --no-pager {unit} | tail -1")).succeeds();
    let (_, figure) = text.split_once(&format!("Overall exposure level for {unit}: ")).unwrap();
    figure.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn python_node_and_static_units_start_under_the_hardened_unit() {
    let vps = Vps::ready();
    for (name, runtime) in [("snake", "python"), ("nodule", "node"), ("pages", "static")] {
        vps.hostkit(&format!("provision {name} --{runtime} --quiet")).succeeds();
        let unit = format!("hostkit-{name}.service");
        let figure = exposure(&vps, &unit);
        println!("{unit}: exposure {figure}");
        assert!(figure <= EXPOSURE, "{unit}: {figure}");
    }
    release_python(&vps, "snake", &app("", "", PYTHON));
    vps.release("nodule", &[("index.js", NODE)]);
    vps.release("pages", &[("index.html", "static")]);
    std::thread::scope(|scope| {
        for name in ["snake", "nodule", "pages"] {
            let vps = &vps;
            scope.spawn(move || vps.hostkit(&format!("project start {name}")).succeeds());
        }
    });
    for (name, kind) in [("snake", "python"), ("nodule", "node")] {
        let host = format!("{name}.{BASE_DOMAIN}");
        vps.wait_until(&host, |vps| vps.get(&host, "/").is_some_and(|answer| answer.status == 200));
        assert_eq!(vps.get(&host, "/").unwrap().body, format!("{kind} of {name}"));
        let uids = vps.sh(&format!(
            "grep Uid: /proc/$(systemctl show -P MainPID hostkit-{name})/status; id -u {name}"
        ));
        let uids = uids.succeeds();
        let (of_process, of_user) = uids.trim().split_once('\n').unwrap();
        assert_eq!(of_process, ["Uid:", of_user, of_user, of_user, of_user].join("\t"));
    }
    for name in ["snake", "nodule", "pages"] {
        let state = vps.sh(&format!("systemctl is-active hostkit-{name}")).succeeds();
        assert_eq!(state, "active\n", "{name}");
        vps.hostkit(&format!("project restart {name}")).succeeds();
    }
    vps.hostkit("drift").succeeds();

    // The figure is of what systemd runs and not of what a file says, so anything looser shows.
    let loose = "[Service]\nProtectSystem=no\nPrivateUsers=no\n";
    vps.write("/etc/systemd/system/hostkit-snake.service.d/loose.conf", loose);
    vps.sh("systemctl daemon-reload").succeeds();
    assert!(exposure(&vps, "hostkit-snake.service") > EXPOSURE);
}

#[test]
fn an_app_is_confined_to_its_home() {
    let there = Neighbours::move_in();
    let vps = &there.vps;
    vps.sh_as("mallory", "echo mine | tee /tmp/of-the-login > /var/tmp/of-the-login").succeeds();
    there.attack(From::App, &["sandbox"]).assert_all_fail();
    let written = vps.sh("cat /home/mallory/shared/mine; ls -d /home/mallory/.cache/x").succeeds();
    assert_eq!(written, "mine/home/mallory/.cache/x\n");
    for (directive, effect) in [
        (
            "SocketBindDeny=",
            "an app binds a port of somebody else (where the wall keeps it unheard)",
        ),
        ("MemoryMax=", "an app takes more memory than its limit"),
        ("TasksMax=", "an app starts more processes than its limit"),
        ("IPAddressDeny=", "an app asks 169.254.169.254"),
    ] {
        eprintln!("not tested: {directive}: {effect}: containers of this kind do not enforce it");
    }
    let unit = "hostkit-mallory.service";
    let asked = vps.sh(&format!("systemctl show {unit} -p MemoryMax -p TasksMax -p LimitCORE"));
    assert_eq!(asked.succeeds(), "MemoryMax=536870912\nTasksMax=256\nLimitCORE=0\n");
}
