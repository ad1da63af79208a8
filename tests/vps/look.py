"""Prints a server's state, a line a thing: files, accounts, databases, Redis, wall, units, ports."""
import hashlib, json, os, re, socket, sqlite3, stat, subprocess, time

ROOTS = ["/etc", "/home", "/srv", "/root", "/opt", "/usr/bin", "/usr/local", "/usr/share/hostkit", "/var", "/run", "/tmp", "/dev/shm"]
# What moves by itself, or belongs to services that are asked in their own words below. The copies
# that shadow's own tools leave of the account files name whoever was there last.
MOVING = re.compile(
    r"^(/run/(systemd|udev|log|user|lock|initctl|dbus|sshd|utmp|[a-z]+\.pid|postgresql|redis|hostkit/locks|sudo|motd|host|mount|credentials|screen|shm|faillock)"
    r"|/var/(cache|spool/cron/atjobs/\.SEQ|log/(journal|postgresql|redis|private|wtmp|btmp|lastlog|apt|dpkg|alternatives)|tmp/systemd-private|lib/(dpkg|apt|postgresql|redis|systemd|hostkit|logrotate|dbus|private|sudo|pam|ucf|nginx))"
    r"|/tmp/systemd-private|/tmp/tmp\.|/dev/shm/PostgreSQL"
    r"|/etc/((passwd|group|shadow|gshadow|subuid|subgid)-$|\.pwd\.lock|mtab|machine-id|resolv\.conf))"
)
# Contents that are no use to compare: logs that others write, and what Redis writes anew in words
# of its own (its users are listed below, from the file too).
GROWING = re.compile(r"^/var/log/(nginx/(access|error)\.log|lastlog|faillog)|^/etc/redis/hostkit\.acl$|^/etc/hostkit/uid-floor$")

# What files hashed to when they were looked at before: one that has not been touched since is not
# read again, unless that was so shortly before that a clock's tick might hide a change.
HASHES = "/var/cache/look.json"


def hashed(path, s, known):
    touched = [s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns]
    if known.get(path, [None])[:-1] == touched:
        return known[path][-1]
    with open(path, "rb") as f:
        what = hashlib.sha256(f.read()).hexdigest()[:16]
    if time.time_ns() - s.st_ctime_ns > 10**9:
        known[path] = touched + [what]
    return what


def files():
    try:
        known = json.load(open(HASHES))
    except (OSError, ValueError):
        known = {}
    tree(known)
    with open(HASHES + ".new", "w") as f:
        json.dump(known, f)
    os.rename(HASHES + ".new", HASHES)


def tree(known):
    for root in ROOTS:
        stack = [root]
        while stack:
            path = stack.pop()
            if MOVING.match(path):
                continue
            try:
                s = os.lstat(path)
            except FileNotFoundError:
                continue
            kind = stat.S_IFMT(s.st_mode)
            what = ""
            if kind == stat.S_IFLNK:
                what = "-> " + os.readlink(path)
            elif kind == stat.S_IFREG and not GROWING.match(path):
                try:
                    what = hashed(path, s, known)
                except OSError as e:
                    what = str(e)
            elif kind == stat.S_IFDIR:
                try:
                    stack.extend(os.path.join(path, n) for n in os.listdir(path))
                except FileNotFoundError:
                    continue
            print(f"file {path} {s.st_mode:o} {s.st_uid}:{s.st_gid} {what}")


def run(*cmd, **kw):
    return subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **kw).stdout


def postgres():
    sql = """
    SELECT 'role ' || rolname || ' ' || rolsuper || rolcreatedb || rolcreaterole || rolcanlogin || ' ' || rolconnlimit || ' ' || coalesce(md5(rolpassword), '') FROM pg_authid WHERE rolname NOT LIKE 'pg\\_%';
    SELECT 'member ' || r.rolname || ' of ' || g.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid WHERE r.rolname NOT LIKE 'pg\\_%';
    SELECT 'database ' || d.datname || ' ' || r.rolname || ' ' || d.datallowconn || ' ' || coalesce((SELECT string_agg(a.grantee::regrole || '=' || a.privilege_type, ',' ORDER BY 1) FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee <> d.datdba), '') FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba;
    """
    print(run("runuser", "-u", "postgres", "--", "psql", "-qAtX", "-c", sql.strip(), cwd="/"), end="")


def redis():
    try:
        secret = open("/etc/hostkit/redis.secret").read().strip()
        s = socket.socket(socket.AF_UNIX)
        s.connect("/run/redis/hostkit.sock")
        head = f"AUTH hostkit-admin {secret}\r\n"
    except OSError:
        try:
            s = socket.create_connection(("127.0.0.1", 6379))
        except OSError:
            print("redis down")
            return
        head = ""
    f = s.makefile("rwb")

    def ask(line):
        f.write(line.encode()), f.flush()
        return reply()

    def reply():
        line = f.readline().decode().rstrip("\r\n")
        if line[:1] == "$":
            n = int(line[1:])
            return "" if n < 0 else f.read(n + 2).decode()[:-2]
        if line[:1] == "*":
            return [reply() for _ in range(int(line[1:]))]
        return line

    if head:
        ask(head)
    for user in ask("ACL LIST\r\n"):
        # a server writes the same rights in another order every time it starts
        print("redis", " ".join(sorted(user.replace("(", "( ").split())))
    for line in ask("INFO keyspace\r\n").splitlines():
        if line.startswith("db"):
            print("redis", line.split(",")[0])


def redis_file():
    try:
        lines = open("/etc/redis/hostkit.acl").read().splitlines()
    except OSError:
        return
    for line in lines:
        words = set(line.replace("(", "( ").split()) - {"resetpass", "resetkeys"}
        print("redis-file", " ".join(sorted(words)))


def wall():
    text = run("nft", "list", "table", "inet", "hostkit")
    print("wall", " ".join(sorted(text.replace(",", " ").replace("{", " ").replace("}", " ").split())))


def units():
    for line in run("systemctl", "list-units", "--all", "--plain", "--no-legend", "hostkit*").splitlines():
        if "hostkit.slice" not in line and "hostkit-recover" not in line and ".slice" not in line:
            print("unit", *line.split()[:4])
    for line in run("systemctl", "list-unit-files", "--no-legend", "hostkit*").splitlines():
        print("unit-file", *line.split()[:2])


def ports():
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in open(table).read().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                print("port", words[1], words[7])


def processes():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            uid = os.stat(f"/proc/{pid}").st_uid
            if uid >= 1000:
                print("process", uid, open(f"/proc/{pid}/comm").read().strip())
        except OSError:
            pass


def registry():
    if not os.path.exists("/var/lib/hostkit/registry.db"):
        print("registry none")
        return
    try:
        db = sqlite3.connect("file:/var/lib/hostkit/registry.db?mode=ro", uri=True)
        for table in ("projects", "ports", "redis_databases", "domains", "ssh_keys"):
            for row in db.execute(f"SELECT * FROM {table} ORDER BY 1"):
                print("registry", table, *row)
        for row in db.execute("SELECT project, verb FROM operations WHERE ended_at IS NULL"):
            print("registry open operation", *row)
    except sqlite3.Error as e:
        print("registry broken", e)


for look in (files, postgres, redis, redis_file, wall, units, ports, processes, registry):
    look()
