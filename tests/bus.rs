//! The message bus, on which everybody may speak, and systemd starts anew when it likes to.

use crate::vps::Shop;

/// Tells whoever came to the bus last that all jobs are done.
const FLOOD: &str = r#"
import os, re, socket, struct, threading, time

def align(out, n): return out + b"\0" * (-len(out) % n)
def text(t): return struct.pack("<I", len(t)) + t.encode() + b"\0"

def message(kind, fields, body=b""):
    out = b""
    for code, sign, value in fields:
        out = align(out, 8) + bytes([code, 1]) + sign + b"\0"
        out = out + bytes([len(value)]) + value.encode() + b"\0" if sign == b"g" else align(out, 4) + text(value)
    flags = 0 if kind == 1 else 1
    head = b"l" + bytes([kind, flags, 1]) + struct.pack("<III", len(body), 7, len(out))
    return align(head + out, 8) + body

def call(member):
    bus = "org.freedesktop.DBus"
    return message(1, [(1, b"o", "/org/freedesktop/DBus"), (2, b"s", bus), (3, b"s", member), (6, b"s", bus)])

def removed(to, job):
    manager = "org.freedesktop.systemd1.Manager"
    fields = [(1, b"o", "/org/freedesktop/systemd1"), (2, b"s", manager), (3, b"s", "JobRemoved"), (6, b"s", to), (8, b"g", "uoss")]
    body = struct.pack("<I", job)
    for part in (f"/org/freedesktop/systemd1/job/{job}", "hostkit-victim.service", "done"):
        body = align(body, 4) + text(part)
    return message(4, fields, body)

bus = socket.socket(socket.AF_UNIX)
bus.connect("/run/dbus/system_bus_socket")
bus.sendall(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
assert bus.recv(200).startswith(b"OK")
bus.sendall(b"BEGIN\r\n" + call("Hello"))
names, job = set(), 0

def listen():
    global job
    while data := bus.recv(1 << 16):
        names.update(int(n) for n in re.findall(rb":1\.(\d+)\0", data))
threading.Thread(target=listen, daemon=True).start()
sent, end = 0, time.time() + 60
while time.time() < end and not os.path.exists("/tmp/stop"):
    bus.sendall(call("ListNames"))
    time.sleep(0.2)
    for n in sorted(names)[-2:]:
        bus.sendall(b"".join(removed(f":1.{n}", job) for job in range(1, 400)))
        sent += 399
    if len(names) > 500: names.clear()
print(sent)
"#;

fn server() -> Shop {
    let shop = Shop::named("victim", "--no-redis --no-db");
    shop.hostkit("provision evil --static --no-redis --no-db --quiet").succeeds();
    for version in ["one", "two"] {
        shop.version(version, "");
    }
    shop.deploy("one");
    shop
}

#[test]
fn who_speaks_in_the_name_of_systemd_is_not_heard() {
    let shop = server();
    shop.write("/root/flood.py", FLOOD);
    shop.sh("cp /root/flood.py /home/evil/shared/flood.py; chmod 644 /home/evil/shared/flood.py; (runuser -u evil -- python3 /home/evil/shared/flood.py > /root/sent 2>&1 &)").succeeds();
    shop.deploy("two");
    assert_eq!(shop.serves(), "two");
    shop.hostkit("exec victim -- true").succeeds();
    shop.hostkit("project restart victim --quiet").succeeds();
    // One that does not come up is not believed to have.
    shop.version("bad", "");
    shop.write("/root/bad/server.py", "raise SystemExit(1)\n");
    shop.deploy_fails("bad", 6);
    assert_eq!(shop.serves(), "two");
    shop.sh("touch /tmp/stop").succeeds();
    shop.wait_until("the flood's end", |vps| vps.sh("test -s /root/sent").code == 0);
    let sent = shop.read("/root/sent");
    assert!(sent.trim().parse::<u64>().is_ok_and(|sent| sent > 5_000), "{sent}");
}

#[test]
fn a_systemd_that_starts_anew_is_found_again() {
    let shop = server();
    shop.sh("(while ! test -e /tmp/stop; do systemctl daemon-reexec; sleep 0.7; done > /dev/null 2>&1 &)").succeeds();
    for version in ["two", "one", "two"] {
        shop.deploy(version);
        assert_eq!(shop.serves(), version);
        shop.hostkit("exec victim -- sleep 2").succeeds();
    }
    shop.sh("touch /tmp/stop").succeeds();
    shop.hostkit("doctor").succeeds();
}
