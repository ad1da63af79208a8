#!/usr/bin/env python3
"""Tries, as the user of one project, all that must not work on a neighbour or on the server.

    attacker.py                            is an app, which attacks at `GET /attack/FAMILY,…`
    attacker.py FAMILY... < brief.json     attempts, one after the other
    attacker.py plant|cling|...            prepares what a test then looks at by itself; what
                                           goes on meanwhile ends with standard input

Prints one line of JSON an attempt:

    {"family": "files", "attempt": "read /home/bob/.env", "got_through": false, "how": "…"}

An attempt fails only by a refusal that is known as one. Whatever else ends it, a typing error or
a server that is down, is told as "broken", and what must work comes as a "control" that "works":
nothing passes for safe because it is dead.
"""

import base64
import contextlib
import ctypes
import errno
import fcntl
import http.server
import json
import os
import re
import resource
import select
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import syslog
import threading
import traceback

FAMILIES = {}
LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100


class Refused(Exception):
    """Somebody said no, or there was nothing to get."""


def family(make):
    """A generator of attempts: what is tried, and how. The result is what was got by it."""
    FAMILIES[make.__name__] = make
    return make


class Control(str):
    """Names what must work."""


def carry_out(name, what, how, sandboxed):
    refusals = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ECONNREFUSED, errno.ECONNRESET}
    if sandboxed:
        # What the sandbox hides is not there; seccomp and namespaces say so in words of their own.
        refusals |= {errno.ENOENT, errno.EINVAL, errno.EAFNOSUPPORT, errno.ESRCH}
    try:
        got, broken = how(), None
        through, said = True, f"got {got!r}"
    except Refused as e:
        through, said, broken = False, str(e), None
    except OSError as e:
        through, said = False, str(e)
        broken = None if e.errno in refusals else traceback.format_exc()
    except Exception:
        through, said, broken = False, "", traceback.format_exc()
    if isinstance(what, Control):
        line = {"family": name, "control": what, "works": through, "how": broken or said}
    else:
        line = {"family": name, "attempt": what, "got_through": through, "how": said}
        if broken:
            line["broken"] = broken
    print(json.dumps(line | {"how": line["how"][:400]}), flush=True)


# Files


def read(path):
    return lambda: open(path, "rb").read(80)


def listing(path):
    def attempt():
        names = os.listdir(path)
        if not names:
            raise Refused("it is empty")
        return names

    return attempt


def append(path):
    def attempt():
        with open(path, "ab") as f:
            f.write(b"# mallory was here\n")

    return attempt


def create(path):
    def attempt():
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return path

    return attempt


def at(call, *args):
    return lambda: call(*args) or "done"


def own_file_back(me):
    path = f"{me['home']}/shared/mine"
    with open(path, "w") as f:
        f.write("mine")
    return open(path).read()


@family
def files(brief):
    """A neighbour's and the server's files, to read and to write."""
    me, it = brief["me"], brief["it"]
    name, home = it["name"], f"/home/{it['name']}"
    yield Control("a project reads its own `.env`"), read(f"{me['home']}/.env")
    yield Control("a project writes to its own `shared`"), lambda: own_file_back(me)
    for path in (
        f"{home}/.env",
        f"{home}/.ssh/authorized_keys",
        f"{home}/app/__main__.py",
        f"{home}/shared/upload.txt",
        f"{home}/.cache/cached.txt",
        f"/var/log/projects/{name}/app.log",
        f"/var/log/projects/{name}/error.log",
        f"/var/log/nginx/hostkit-{name}.access.log",
        f"/var/log/nginx/hostkit-{name}.error.log",
        "/var/log/nginx/access.log",
        f"/etc/sudoers.d/hostkit-{name}",
        f"/etc/sudoers.d/hostkit-{me['name']}",
        "/etc/hostkit/redis.secret",
        "/etc/redis/hostkit.acl",
        "/etc/redis/redis.conf",
        "/var/lib/redis/dump.rdb",
        "/var/lib/hostkit/registry.db",
        "/etc/shadow",
        "/etc/sudoers",
        "/etc/ssh/ssh_host_ed25519_key",
        f"/srv/backups/hostkit/{name}/20260101-000000-last/env",
        f"/proc/{it['pid']}/environ",
    ):
        yield f"read {path}", read(path)
    for path in (
        home,
        f"{home}/releases",
        f"{home}/shared",
        f"/var/log/projects/{name}",
        "/srv/backups/hostkit",
        f"/srv/backups/hostkit/{name}",
        "/var/lib/hostkit",
        "/var/lib/hostkit/kept",
        "/var/lib/redis",
        "/var/lib/postgresql/15/main",
        "/var/spool/cron/crontabs",
        "/var/spool/cron/atjobs",
        "/run/hostkit/locks",
        "/root",
    ):
        yield f"list {path}", listing(path)
    for path in (
        f"{home}/.env",
        f"{home}/app/__main__.py",
        f"{home}/shared/upload.txt",
        f"/var/log/projects/{name}/app.log",
        f"/etc/systemd/system/hostkit-{name}.service",
        f"/etc/nginx/sites-available/hostkit-{name}",
        "/etc/nginx/conf.d/hostkit-map.conf",
        "/etc/hostkit/hostkit.toml",
        "/etc/hostkit/wall.nft",
        f"/etc/hostkit/wall.d/{name}.nft",
        "/etc/hostkit/uid-floor",
        "/etc/passwd",
        "/usr/bin/hostkit",
    ):
        yield f"write to {path}", append(path)
    for path in (
        f"{home}/mine",
        f"{home}/releases/mine",
        f"{home}/shared/mine",
        "/home/mine",
        "/var/log/projects/mine",
        f"/var/log/projects/{name}/mine",
        "/var/log/nginx/mine",
        "/etc/systemd/system/mine.service",
        "/etc/nginx/sites-enabled/mine",
        "/etc/nginx/conf.d/mine.conf",
        "/etc/sudoers.d/mine",
        "/etc/cron.d/mine",
        "/etc/hostkit/templates/mine",
        "/etc/hostkit/wall.d/mine.nft",
        "/etc/logrotate.d/mine",
        "/etc/profile.d/mine.sh",
        "/etc/ssh/sshd_config.d/mine.conf",
        "/etc/tmpfiles.d/mine.conf",
        "/var/lib/hostkit/mine",
        "/srv/backups/hostkit/mine",
        "/run/hostkit/mine",
        "/run/redis/mine",
        "/run/postgresql/mine",
        "/run/systemd/system/mine.service",
        "/usr/local/bin/mine",
    ):
        yield f"create {path}", create(path)
    yield "take the locks of hostkit", lambda: fcntl.flock(
        open(f"/run/hostkit/locks/{name}"), fcntl.LOCK_EX | fcntl.LOCK_NB
    )
    yield "hard-link the neighbour's `.env`", at(
        os.link, f"{home}/.env", f"{me['home']}/shared/env-of-{name}"
    )
    link = f"{me['home']}/shared/link-to-{name}"
    with contextlib.suppress(FileExistsError):
        os.symlink(f"{home}/.env", link)
    yield "read the neighbour's `.env` by a link", read(link)


@family
def own(brief):
    """What belongs to a project and is not its own to change."""
    me = brief["me"]
    name, home = me["name"], me["home"]
    release = os.path.realpath(f"{home}/app")
    logs = f"/var/log/projects/{name}"
    yield Control("a project reads its own release"), read(f"{release}/__main__.py")
    yield Control("a project reads its own log"), read(f"{logs}/app.log")
    for path in (
        f"{release}/__main__.py",
        f"{release}/.complete",
        f"{home}/.env",
        f"{home}/.ssh/authorized_keys",
        f"{logs}/app.log",
        f"/etc/systemd/system/hostkit-{name}.service",
        f"/etc/sudoers.d/hostkit-{name}",
        f"/etc/nginx/sites-available/hostkit-{name}",
        f"/etc/hostkit/wall.d/{name}.nft",
    ):
        yield f"write to {path}", append(path)
    for path in (
        f"{home}/mine",
        f"{home}/.bashrc",
        f"{home}/.profile",
        f"{home}/..env.hostkit-new",
        f"{home}/.app.hostkit-new",
        f"{home}/.ssh/mine",
        f"{home}/releases/mine",
        f"{release}/mine",
        f"{logs}/mine",
        f"{logs}/.app.log.hostkit-new",
        f"/etc/systemd/system/hostkit-{name}-mine.service",
    ):
        yield f"create {path}", create(path)
    for path in (f"{home}/mine", f"{home}/releases/mine", f"{home}/.ssh/mine", f"{logs}/mine"):
        yield f"make the link {path}-link", at(os.symlink, "/etc/shadow", f"{path}-link")
    for path in (
        f"{home}/app",
        f"{home}/.env",
        f"{home}/.ssh/authorized_keys",
        f"{release}/__main__.py",
        f"{logs}/app.log",
    ):
        yield f"remove {path}", at(os.unlink, path)
    for path in ("shared", ".cache", "releases", ".ssh", ".env", "app"):
        yield f"move {home}/{path} away", at(os.rename, f"{home}/{path}", f"{home}/moved")
    yield "move the log away", at(os.rename, f"{logs}/app.log", f"{logs}/moved")
    yield "move the home away", at(os.rename, home, "/home/moved")
    for path in (home, release, f"{home}/releases", f"{home}/.env", f"{home}/.ssh", logs):
        yield f"open {path} to all", at(os.chmod, path, 0o777)
        yield f"own {path}", at(os.chown, path, os.getuid(), os.getgid())
    yield "cut the log short", at(os.truncate, f"{logs}/app.log", 0)
    yield "give `shared` to a neighbour", at(os.chown, f"{home}/shared", brief["it"]["uid"], -1)


# Redis


class Redis:
    """One connection, and the protocol."""

    NO = re.compile(
        r"NOPERM|NOAUTH|WRONGPASS|EXECABORT|command not allowed|can't (run this command|publish to)"
        r"|not allowed from script",
        re.IGNORECASE,
    )

    def __init__(self, url=None, select=True):
        self.socket = socket.create_connection(("127.0.0.1", 6379), timeout=10)
        self.file = self.socket.makefile("rwb")
        if url:
            user, password, number = re.match(r"redis://(.+):(.+)@.+/(\d+)$", url).groups()
            self.do("AUTH", user, password)
            if select:
                self.do("SELECT", number)

    def do(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        head = b"*%d\r\n" % len(words)
        self.send(head + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return self.reply()

    def send(self, data):
        self.file.write(data)
        self.file.flush()

    def reply(self):
        line = self.file.readline().decode().rstrip("\r\n")
        kind, rest = line[:1], line[1:]
        if not kind:
            raise Refused("hung up")
        if kind == "-":
            if self.NO.search(rest):
                raise Refused(rest)
            raise RuntimeError(rest)
        if kind == "$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2].decode("latin-1")
        if kind in "*~>":
            return [self.reply() for _ in range(int(rest))]
        if kind == "%":
            return [self.reply() for _ in range(2 * int(rest))]
        if kind == "_":
            return None
        return int(rest) if kind == ":" else rest


@family
def redis(brief):
    """Other databases of the one Redis, and what all of them share."""
    me, it = brief["me"], brief["it"]
    own, other, url = me["redis"], it["redis"], me["redis_url"]

    def do(*words):
        def attempt():
            connection = Redis(url)
            connection.do("SET", "own", "1")
            return connection.do(*words)

        return attempt

    def script(text, in_zero=False, command="EVAL"):
        def attempt():
            connection = Redis(url, select=not in_zero)
            return connection.do(command, text, 1, "own")

        return attempt

    def found(what, *words, in_zero=False):
        """Fails where the answer holds nothing of the neighbour's."""

        def attempt():
            answer = Redis(url, select=not in_zero).do(*words)
            if it["secret_key"] not in str(answer) and it["secret"] not in str(answer):
                raise Refused(f"nothing of the neighbour's in {str(answer)[:60]}")
            return answer

        return what, attempt

    yield Control("a project uses its own database"), do("GET", "own")
    yield Control("a project runs scripts in its own database"), script(
        "redis.call('set', KEYS[1], 'x') return redis.call('get', KEYS[1])"
    )
    yield Control("a project publishes on its own channel"), do("PUBLISH", f"{me['name']}:x", "x")
    yield Control("a project matches its own channels"), do("PSUBSCRIBE", f"/{own}.celeryev/*")
    yield Control("a project asks for keys of its own"), do("KEYS", "*")

    for words in (
        ("SELECT", other),
        ("select", other),
        ("SELECT", f"0{other}"),
        ("SELECT", f" {other}"),
        ("SELECT", f"+{other}"),
        ("SELECT", 0),
        ("SELECT", 15),
        ("SELECT", -1),
        ("MOVE", "own", other),
        ("MOVE", "own", 0),
        ("COPY", "own", "theirs", "DB", other, "REPLACE"),
        ("COPY", "own", "theirs"),
        ("SWAPDB", own, other),
        ("SWAPDB", 0, other),
        ("FLUSHALL",),
        ("FLUSHALL", "ASYNC"),
        ("CONFIG", "GET", "*"),
        ("CONFIG", "SET", "dir", "/tmp"),
        ("CONFIG", "REWRITE"),
        ("CONFIG", "RESETSTAT"),
        ("ACL", "LIST"),
        ("ACL", "USERS"),
        ("ACL", "GETUSER", it["name"]),
        ("ACL", "SETUSER", me["name"], "+@all"),
        ("ACL", "SETUSER", it["name"], "nopass"),
        ("ACL", "DELUSER", it["name"]),
        ("ACL", "LOAD"),
        ("ACL", "SAVE"),
        ("ACL", "LOG"),
        ("AUTH", ""),
        ("AUTH", "default", ""),
        ("AUTH", it["name"], me["redis_password"]),
        ("AUTH", "hostkit-admin", me["redis_password"]),
        ("HELLO", 3, "AUTH", "default", ""),
        ("MONITOR",),
        ("SYNC",),
        ("PSYNC", "?", -1),
        ("REPLCONF", "listening-port", 1),
        ("REPLICAOF", "127.0.0.1", 1),
        ("FAILOVER",),
        ("MIGRATE", "127.0.0.1", 6379, "own", other, 100),
        ("DEBUG", "SLEEP", 0),
        ("DEBUG", "OBJECT", "own"),
        ("SAVE",),
        ("BGSAVE",),
        ("BGREWRITEAOF",),
        ("LASTSAVE",),
        ("SLOWLOG", "GET"),
        ("LATENCY", "LATEST"),
        ("MEMORY", "DOCTOR"),
        ("MEMORY", "PURGE"),
        ("MEMORY", "STATS"),
        ("MODULE", "LIST"),
        ("MODULE", "LOAD", "/tmp/x.so"),
        ("CLUSTER", "INFO"),
        ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "USER", it["name"]),
        ("CLIENT", "PAUSE", 1),
        ("CLIENT", "UNPAUSE"),
        ("CLIENT", "UNBLOCK", 1),
        ("CLIENT", "NO-EVICT", "ON"),
        ("CLIENT", "TRACKING", "ON", "BCAST"),
        ("FUNCTION", "LIST"),
        ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', function() end)"),
        ("FUNCTION", "FLUSH"),
        ("FCALL", "x", 0),
        ("SCRIPT", "FLUSH"),
        ("SCRIPT", "KILL"),
        ("SHUTDOWN", "ABORT"),
        ("PUBSUB", "CHANNELS"),
        ("PUBSUB", "NUMPAT"),
        ("SUBSCRIBE", f"{it['name']}:chat"),
        ("SUBSCRIBE", f"/{other}.celery.pidbox"),
        ("SUBSCRIBE", f"__keyevent@{other}__:set"),
        ("SSUBSCRIBE", f"{it['name']}:chat"),
        ("PSUBSCRIBE", "*"),
        ("PSUBSCRIBE", f"{it['name']}:*"),
        ("PSUBSCRIBE", f"/{other}.*"),
        ("PSUBSCRIBE", "/*"),
        ("PSUBSCRIBE", "__key*"),
        ("PSUBSCRIBE", f"__keyspace@{other}__:*"),
        ("PSUBSCRIBE", "celery-task-meta-*"),
        ("PUBLISH", f"{it['name']}:chat", "x"),
        ("PUBLISH", f"/{other}.celery.pidbox", "x"),
        ("PUBLISH", f"__keyevent@{other}__:set", "x"),
        ("SPUBLISH", f"{it['name']}:chat", "x"),
    ):
        yield " ".join(str(word) for word in words).replace("\n", " "), do(*words)

    yield found("KEYS in 0", "KEYS", "*", in_zero=True)
    yield found("SCAN in 0", "SCAN", 0, "COUNT", 1000, in_zero=True)
    yield found("GET in 0", "GET", it["secret_key"], in_zero=True)
    yield found("KEYS in its own database", "KEYS", "*")
    yield found("GET in its own database", "GET", it["secret_key"])
    for text in (
        f"redis.call('select', {other}) return redis.call('get', '{it['secret_key']}')",
        f"redis.call('SELECT', '{other}') return redis.call('keys', '*')",
        f"return redis.call('swapdb', {own}, {other})",
        f"return redis.call('move', KEYS[1], {other})",
        f"return redis.call('copy', KEYS[1], 'theirs', 'DB', {other})",
        "return redis.call('flushall')",
        "return redis.call('config', 'get', '*')",
        "return redis.call('acl', 'list')",
        f"return redis.call('acl', 'setuser', '{me['name']}', '+@all')",
        "return redis.call('function', 'flush')",
        "return redis.call('client', 'list')",
        f"return redis.call('publish', '{it['name']}:chat', 'x')",
    ):
        for in_zero in (False, True):
            where = "in 0" if in_zero else "in its own database"
            yield f"EVAL {where}: {text}", script(text, in_zero)
    yield "EVAL that asks for the right kindly", script(
        f"local r = redis.pcall('select', {other}) if r.err then return r end return r"
    )
    yield "EVAL_RO of another database", script(
        f"redis.call('select', {other}) return 1", command="EVAL_RO"
    )
    yield from map(
        lambda words: found(*words),
        (
            ("EVAL of all keys", "EVAL", "return redis.call('keys', '*')", 0),
            ("EVAL of the neighbour's key", "EVAL", f"return redis.call('get', '{it['secret_key']}')", 0),
        ),
    )
    yield found("EVAL of all keys in 0", "EVAL", "return redis.call('keys', '*')", 0, in_zero=True)

    def transaction():
        connection = Redis(url)
        connection.do("MULTI")
        with contextlib.suppress(Refused):
            connection.do("SELECT", other)
        connection.do("GET", it["secret_key"])
        return connection.do("EXEC")

    def inline():
        connection = Redis(url)
        connection.send(f"SELECT {other}\r\n".encode())
        return connection.reply()

    def after_reset():
        connection = Redis(url)
        connection.do("RESET")
        return connection.do("KEYS", "*")

    yield "SELECT in a transaction", transaction
    yield "SELECT as an inline command", inline
    yield "KEYS after RESET", after_reset
    yield "KEYS without a password", lambda: Redis().do("KEYS", "*")
    yield "INFO without a password", lambda: Redis().do("INFO")

    def by_socket():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect("/run/redis/hostkit.sock")
        return "connected"

    yield "the socket that hostkit itself uses", by_socket


# PostgreSQL


SAID_NO = re.compile(
    r"permission denied|authentication failed|must be (superuser|owner|able|a superuser|a member|member)"
    r"|only superusers?|pg_hba.conf rejects|is not permitted|does not have|no password supplied"
    r"|Only roles with|too many connections for role|must have admin option|access to library",
    re.IGNORECASE,
)


def psql(url, sql):
    ran = subprocess.run(
        ["psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "10"},
    )
    said = ran.stderr.strip() or ran.stdout.strip()
    if ran.returncode == 0:
        return said
    if SAID_NO.search(said):
        raise Refused(said)
    raise RuntimeError(said)


@family
def postgres(brief):
    """Other databases of the one PostgreSQL, and what all of them share."""
    me, it = brief["me"], brief["it"]
    url = me["database_url"]
    user, password, database = re.match(r"postgresql://(.+):(.+)@.+/(.+)$", url).groups()
    sockets = "host=/run/postgresql"

    yield Control("a project uses its own database"), lambda: psql(
        url, "create table if not exists t (i int); insert into t values (1); select 'ok' from t limit 1"
    )
    yield Control("a project installs a harmless extension"), lambda: psql(
        url, "create extension if not exists pgcrypto; select 'ok'"
    )
    for what, to in (
        ("the neighbour's database", f"postgresql://{user}:{password}@127.0.0.1/{it['database']}"),
        ("the neighbour's database over IPv6", f"postgresql://{user}:{password}@[::1]/{it['database']}"),
        ("the neighbour's database by the socket", f"{sockets} user={user} password={password} dbname={it['database']}"),
        ("the database `postgres`", f"postgresql://{user}:{password}@127.0.0.1/postgres"),
        ("the database `template1`", f"postgresql://{user}:{password}@127.0.0.1/template1"),
        ("the neighbour's role with our password", f"postgresql://{it['role']}:{password}@127.0.0.1/{it['database']}"),
        ("the neighbour's role without a password", f"host=127.0.0.1 user={it['role']} dbname={it['database']}"),
        ("the neighbour's role by the socket", f"{sockets} user={it['role']} dbname={it['database']}"),
        ("`postgres` by the socket", f"{sockets} user=postgres dbname=postgres"),
        ("`postgres` over TCP", "host=127.0.0.1 user=postgres dbname=postgres"),
        ("its own role by the socket, known by its user alone", f"{sockets} user={user} dbname={database}"),
        ("a replication connection", f"postgresql://{user}:{password}@127.0.0.1/{database}?replication=database"),
    ):
        sql = "IDENTIFY_SYSTEM" if "replication" in what else "select 1"
        yield f"connect to {what}", lambda to=to, sql=sql: psql(to, sql)

    role, other = it["role"], it["database"]
    for sql in (
        f"set role {role}",
        f"set session authorization {role}",
        "set role postgres",
        "set role pg_read_server_files",
        f"grant {role} to {user}",
        f"grant pg_read_server_files to {user}",
        f"alter role {role} password 'x'",
        f"alter role {role} nologin",
        f"alter role {user} superuser",
        f"alter role {user} createrole",
        f"alter role {user} connection limit -1",
        f"alter role {role} in database {other} set search_path = x",
        "create role mine",
        f"drop role {role}",
        "create database mine",
        f"drop database {other}",
        f"alter database {other} owner to {user}",
        f"alter database {other} rename to mine",
        f"alter database {other} allow_connections false",
        f"grant connect on database {other} to {user}",
        f"comment on database {other} is 'mine'",
        "alter system set log_statement = 'all'",
        "select pg_reload_conf()",
        "select pg_rotate_logfile()",
        "select rolpassword from pg_authid",
        "select passwd from pg_shadow",
        "select pg_read_file('/etc/passwd')",
        "select pg_ls_dir('/')",
        "select pg_stat_file('/etc/passwd')",
        "select lo_import('/etc/passwd')",
        "select lo_export(lo_creat(-1), '/tmp/mine')",
        "copy t from '/etc/passwd'",
        "copy t to '/tmp/mine'",
        "copy t from program 'id'",
        "copy t to program 'cat'",
        "create extension dblink",
        "create extension postgres_fdw",
        "create extension file_fdw",
        "create extension adminpack",
        "create function f() returns int language c as '/tmp/x.so', 'f'",
        "create function f() returns int language internal as 'int4abs'",
        "create tablespace mine location '/tmp'",
        "create event trigger mine on ddl_command_start execute function x()",
        "create publication mine for all tables",
        "create subscription mine connection 'host=127.0.0.1' publication x",
        "load '/tmp/x.so'",
        "set session_preload_libraries = 'x'",
        "set log_statement = 'all'",
        "set temp_file_limit = -1",
        "set zero_damaged_pages = on",
        "checkpoint",
        "select pg_switch_wal()",
        "select pg_create_restore_point('x')",
        "select pg_create_physical_replication_slot('x')",
        "delete from pg_class",
    ):
        yield sql, lambda sql=sql: psql(url, sql)

    def seen(what, sql):
        def attempt():
            rows = psql(url, sql)
            if it["secret"] not in rows:
                raise Refused(f"shown: {rows[:200]!r}")
            return rows

        return what, attempt

    yield seen("see what the neighbour asks its database", "select query from pg_stat_activity")

    def end_session():
        theirs = f"from pg_stat_activity where usename = '{role}'"
        if psql(url, f"select count(*) {theirs}") == "0":
            raise RuntimeError("the neighbour has no session")
        return psql(url, f"select pg_terminate_backend(pid) {theirs}")

    yield "end the neighbour's sessions", end_session

    def all_connections():
        held = []
        try:
            for _ in range(me["connections"] + 1):
                pipe, out = subprocess.PIPE, subprocess.STDOUT
                words = ["psql", "-XAtqw", "-d", url]
                holder = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=out, text=True)
                held.append(holder)
                with contextlib.suppress(BrokenPipeError):
                    print("select 'in';", file=holder.stdin, flush=True)
            answers = [holder.stdout.readline().strip() for holder in held]
            refused = [answer for answer in answers if SAID_NO.search(answer)]
            if refused:
                raise Refused(refused[0])
            return len(answers)
        finally:
            for holder in held:
                holder.kill()
                holder.wait()

    yield "take more connections than its share", all_connections


# The network


def exchange(address, port, request):
    family_of = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family_of) as connection:
        connection.settimeout(5)
        connection.connect((address, port))
        connection.sendall(request.encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    if not answer:
        raise Refused("hung up")
    return answer.decode("latin-1")


@family
def network(brief):
    """A neighbour's ports past nginx, and claims that only nginx may make."""
    me, it = brief["me"], brief["it"]
    ask = f"GET /headers HTTP/1.0\r\nHost: {it['domain']}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    mine = f"GET /headers HTTP/1.0\r\nHost: {me['domain']}\r\n\r\n"

    def answered(answer, name):
        if f"I am {name}" not in answer:
            raise Refused(answer[:80])
        return answer[:80]

    yield Control("nginx reaches the project itself"), lambda: answered(
        exchange("127.0.0.1", 80, mine), me["name"]
    )
    yield Control("nginx reaches the neighbour"), lambda: answered(
        exchange("127.0.0.1", 80, ask), it["name"]
    )
    yield Control("a project reaches its own port"), lambda: answered(
        exchange("127.0.0.1", me["port"], mine), me["name"]
    )
    for address in ("127.0.0.1", "127.0.0.2", "::1", it["address"], "::ffff:127.0.0.1"):
        yield f"connect to the neighbour's port at {address}", lambda a=address: exchange(
            a, it["port"], ask
        )

    def from_own_port():
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.settimeout(5)
            connection.bind(("127.0.0.1", me["port"] + 6000))
            connection.connect(("127.0.0.1", it["port"]))
            return "connected"

    yield "connect to the neighbour's port from a port of its own", from_own_port

    def fast_open():
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 5, 0))
            connection.sendto(ask.encode(), 0x20000000, ("127.0.0.1", it["port"]))
            return connection.recv(80)

    yield "send with the first packet", fast_open

    def forged(header):
        def attempt():
            request = f"GET /headers HTTP/1.0\r\nHost: {it['domain']}\r\n{header}: 192.0.2.1\r\n\r\n"
            answer = exchange("127.0.0.1", 80, request)
            answered(answer, it["name"])
            heard = json.loads(answer.split("\r\n\r\n", 1)[1].splitlines()[-1])
            trusted = {k: v for k, v in heard.items() if k.lower().startswith("x-") and "192.0.2.1" in v}
            if trusted:
                return trusted
            raise Refused(f"it heard X-Forwarded-For: {heard.get('X-Forwarded-For')}")

        return attempt

    for header in ("X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "x-forwarded-for"):
        yield f"forge {header} through nginx", forged(header)


# Processes


@family
def processes(brief):
    """Processes of a neighbour and of the server."""
    it = brief["it"]
    pid = it["pid"]
    yield Control("a project signals its own processes"), lambda: os.kill(os.getpid(), 0) or "done"
    for what, number in (("the neighbour", pid), ("PID 1", 1)):
        yield f"signal {what}", at(os.kill, number, 0)
        for name in ("environ", "maps", "auxv", "stack", "syscall"):
            yield f"read /proc/…/{name} of {what}", read(f"/proc/{number}/{name}")
        yield f"open /proc/…/mem of {what}", at(open, f"/proc/{number}/mem", "rb")
        for name in ("cwd", "root", "exe"):
            yield f"follow /proc/…/{name} of {what}", at(os.readlink, f"/proc/{number}/{name}")
        yield f"list the open files of {what}", listing(f"/proc/{number}/fd")
        yield f"trace {what}", lambda n=number: libc("ptrace", 16, n, 0, 0)
        yield f"limit {what}", at(resource.prlimit, number, resource.RLIMIT_NOFILE, (1, 1))
        yield f"slow {what} down", at(os.setpriority, os.PRIO_PROCESS, number, 19)
        yield f"pin {what} to a processor", at(os.sched_setaffinity, number, {0})
        yield f"read memory of {what}", lambda n=number: read_memory(n)


def libc(name, *args):
    if getattr(LIBC, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return "done"


def in_a_child(name, *args):
    """Makes a system call whose success would change the caller."""
    pid = os.fork()
    if pid == 0:
        os._exit(ctypes.get_errno() if getattr(LIBC, name)(*args) < 0 else 0)
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number:
        raise OSError(number, os.strerror(number))
    return "done"


def read_memory(pid):
    buffer = ctypes.create_string_buffer(8)

    class Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]

    local, remote = Vector(ctypes.addressof(buffer), 8), Vector(0x400000, 8)
    return libc("process_vm_readv", pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)


# The server


def start(*words):
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)


def end(words, started, no="", stdin=b""):
    said = started.communicate(stdin, timeout=30)[0].decode("latin-1").strip()
    if started.returncode == 0:
        return said
    if re.search(f"{NEVER}{no}", said, re.IGNORECASE):
        raise Refused(said)
    raise RuntimeError(f"{words} ended with {started.returncode}: {said}")


def run(*words, no="", stdin=b""):
    """Runs a program, which fails in words that are known, and `no` besides."""
    return lambda: end(words, start(*words), no, stdin)


NEVER = (
    r"permission denied|access denied|not permitted|interactive authentication required"
    r"|authentication (failure|required|is required)|must be (run as )?root|only root|privileged"
    r"|cannot set groups|no new privileges|password is required|authentication token"
    r"|do not have permission|may not|setuid root|read-only file system"
)


@family
def server(brief):
    """The service manager, accounts, other users' jobs and the wall."""
    me, it = brief["me"], brief["it"]
    unit = f"hostkit-{it['name']}.service"
    manager = ("busctl", "--system", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1")
    manager += ("org.freedesktop.systemd1.Manager",)
    # What runs in the sandbox has no bus to ask by.
    if not brief["sandboxed"]:
        yield Control("a project asks how its unit is"), run(
            "systemctl", "is-active", f"hostkit-{me['name']}.service"
        )
    for verb in ("stop", "restart", "kill", "disable", "mask", "revert"):
        yield f"systemctl {verb} {unit}", run("systemctl", "--no-ask-password", verb, unit)
        own_unit = f"hostkit-{me['name']}.service"
        yield f"systemctl {verb} {own_unit}", run("systemctl", "--no-ask-password", verb, own_unit)
    for service in ("nginx", "redis-server", "postgresql", "hostkit-wall", "ssh"):
        yield f"systemctl stop {service}", run("systemctl", "--no-ask-password", "stop", service)
    for words in (
        ("daemon-reload",),
        ("set-environment", "LD_PRELOAD=/tmp/x.so"),
        ("set-property", unit, "MemoryMax=1M"),
        ("set-property", f"hostkit-{me['name']}.service", "MemoryMax=infinity"),
        ("link", f"{me['home']}/shared/mine.service"),
        ("isolate", "rescue.target"),
        ("poweroff",),
    ):
        if words[0] == "link":
            with open(words[1], "w") as f:
                f.write("[Service]\nExecStart=/usr/bin/id\n")
        yield f"systemctl {' '.join(words)}", run("systemctl", "--no-ask-password", *words)
    yield "systemd-run as root", run("systemd-run", "--no-ask-password", "--wait", "id")
    yield "systemd-run as the neighbour", run(
        "systemd-run", "--no-ask-password", "--wait", f"--uid={it['name']}", "id"
    )
    yield "kill the neighbour's unit over D-Bus", run(
        *manager, "KillUnit", "ssi", unit, "all", "18"
    )
    yield "dump the manager's state over D-Bus with secrets", shows(it, "busctl", "--system", "call", *manager[3:], "Dump")
    yield "show the neighbour's secret by systemctl", shows(it, "systemctl", "show", unit)
    yield "show the neighbour's secret by its unit", shows(it, "systemctl", "cat", unit)
    yield "read the neighbour's journal", shows(it, "journalctl", "-q", "-u", unit)
    yield "read the server's journal", shows(it, "journalctl", "-q")
    yield "see the neighbour's secret among the processes", shows(it, "ps", "axeww")
    yield "let its processes stay by lingering", run("loginctl", "enable-linger", it["name"])
    # Each of these takes a wrong password, and its time to say so.
    slow = {
        words: start(*words)
        for words in (
            ("su", it["name"], "-c", "id"),
            ("su", "-c", "id"),
            ("passwd",),
            ("chsh", "-s", "/bin/sh", me["name"]),
            ("chfn", "-r", "mine", me["name"]),
        )
    }
    for words in (
        ("runuser", "-u", it["name"], "--", "id"),
        ("setpriv", "--reuid", str(it["uid"]), "id"),
        ("newgrp", it["name"]),
        ("sg", it["name"], "-c", "id"),
        ("passwd", it["name"]),
        ("chfn", "-f", f"hostkit project {it['name']}", me["name"]),
        ("gpasswd", "-a", me["name"], "hostkit"),
        ("useradd", "mine"),
        ("usermod", "-aG", "hostkit", me["name"]),
        ("crontab", "-u", it["name"], "-l"),
        ("nft", "list", "ruleset"),
        ("nft", "delete", "table", "inet", "hostkit"),
        ("nft", "add", "element", "inet", "hostkit", "owners", f"{{ {os.getuid()} . {it['port']} }}"),
        ("mount", "--bind", "/etc", f"{me['home']}/shared"),
        ("nsenter", "-t", "1", "-m", "id"),
        ("chroot", "/", "id"),
        ("date", "-s", "2020-01-01"),
        ("dmesg",),
        ("sysctl", "-w", "kernel.core_pattern=|/tmp/x"),
    ):
        said = r"|must be superuser|invalid password|cannot open|effective user|member of|you may not|insufficient|set date|unchanged|setresuid"
        if words[0] == "date":
            yield f"run {' '.join(words)}", lambda words=words: date(words)
        else:
            yield f"run {' '.join(words)}", run(*words, no=said)
    for words, started in slow.items():
        yield f"run {' '.join(words)}", lambda words=words, started=started: end(words, started)
    for what, call, *args in (
        ("become root", os.setuid, 0),
        ("become the neighbour", os.setuid, it["uid"]),
        ("join the neighbour's group", os.setgid, it["uid"]),
        ("join more groups", os.setgroups, [0, it["uid"]]),
        ("change the root directory", os.chroot, "/"),
        ("change the host's name", socket.sethostname, "mine"),
        ("make a device", os.mknod, f"{me['home']}/shared/mem", 0o20666, os.makedev(1, 1)),
    ):
        yield what, at(call, *args)


def date(words):
    """Sets the clock to now, in case it can be set."""
    ran = subprocess.run(["date", "-s", "now"], capture_output=True, text=True)
    if ran.returncode == 0:
        return words
    if "not permitted" in ran.stderr:
        raise Refused(ran.stderr.strip())
    raise RuntimeError(ran.stderr)


def shows(it, *words):
    def attempt():
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
        said = (ran.stdout + ran.stderr).decode("latin-1")
        if it["secret"] in said or base64.b64encode(it["secret"].encode()).decode() in said:
            return "the secret"
        raise Refused(f"{len(said)} bytes without the secret, status {ran.returncode}")

    return attempt


# sudo and the gate


HOSTKIT = "/usr/bin/hostkit"

SUDO_NO = (
    r"a password is required|not allowed to|not permitted to use|usage: sudo|may only be specified"
    r"|unknown user|unknown group"
    r"|is not for you|needs to be root|unrecognized subcommand|unexpected argument|can't read this request"
    r"|the gate leads nowhere|required arguments were not provided|command not found"
)


def ask(words, *codes, env=None, stdin=b"", cwd=None, no=SUDO_NO):
    """Runs a program that must refuse, with one of these exit codes if any are given."""

    def attempt():
        ran = subprocess.run(
            words,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | (env or {}),
            cwd=cwd,
            timeout=60,
        )
        said = ran.stdout.decode("latin-1").strip()
        if ran.returncode == 0:
            return said
        wanted = ran.returncode in codes if codes else re.search(no, said)
        if wanted and "has a bug" not in said:
            raise Refused(f"{ran.returncode}: {said}")
        raise RuntimeError(f"{words} ended with {ran.returncode}: {said}")

    return attempt


def as_ever(words, traces, **how):
    """Runs a program that must do its work, and nothing that leaves one of these traces."""

    def attempt():
        said = ask(words, **how)()
        for trace in traces:
            if trace in said:
                return said
        raise Refused("it did its own work, and nothing else")

    return attempt


@family
def sudo(brief):
    """The lines that a project has in sudoers, and whatever they could be widened to."""
    me, it = brief["me"], brief["it"]
    name, other, shared = me["name"], it["name"], f"{me['home']}/shared"
    for fake in ("hostkit", "sudo", "nft", "nginx", "systemctl", "useradd"):
        with open(f"{shared}/{fake}", "w") as f:
            f.write("#!/bin/sh\necho evil $(id -u)\n")
        os.chmod(f"{shared}/{fake}", 0o755)
    own = (HOSTKIT, "status", name)

    def line(*words, **how):
        shown = " ".join(word if word and word.isprintable() and " " not in word else repr(word) for word in words)
        return f"sudo {shown}", ask(("sudo", "-n", *words), **how)

    for words in (("status",), ("project", "info"), ("project", "restart")):
        yield Control(f"a project's user runs `{' '.join(words)}` by sudo"), run(
            "sudo", "-n", HOSTKIT, *words, name
        )
    yield Control("a project's user asks at the gate"), run(
        "sudo", "-n", HOSTKIT, "gate", name, stdin=b'{"argv":["status"]}'
    )

    for words in (
        # the neighbour's name with its own lines
        ("gate", other),
        ("status", other),
        ("project", "info", other),
        ("project", "restart", other),
        # options
        ("status", name, "--json"),
        ("status", "--json", name),
        ("--json", "status", name),
        ("-v", "status", name),
        ("--wait", "1h", "status", name),
        ("gate", name, "--json"),
        ("project", "info", name, "--json"),
        ("project", "restart", name, "--wait", "1h"),
        ("status", "--help"),
        # more or fewer words
        ("status",),
        ("gate",),
        ("status", name, name),
        ("status", name, other),
        ("status", "--", name),
        ("gate", name, other),
        (),
        # other verbs
        ("project", "delete", name, "--yes"),
        ("project", "delete", other, "--yes"),
        ("project", "stop", name),
        ("project", "stop", other),
        ("project", "list"),
        ("project", "regenerate-sudoers", name),
        ("provision", "mine-too"),
        ("repair", name),
        ("repair", "--all"),
        ("drift", name),
        ("doctor",),
        ("events",),
        ("recover",),
        ("config",),
        ("init",),
        ("init", "--undo"),
        ("man", "--into", "/etc"),
        ("completions", "bash"),
        # words joined, split, and broken
        (f"gate {other}",),
        (f"status {other}",),
        (f"gate {name} {other}",),
        ("project info", other),
        ("project", f"info {other}"),
        (f"gate {name}",),
        (f"status {name}",),
        ("project info", name),
        ("project", f"info {name}"),
        ("project restart", name),
        ("gate", f"{name} "),
        ("gate", f" {name}"),
        ("gate", "", name),
        ("gate", f"{name}\n{other}"),
        ("gate", f"{name}\n"),
        ("gate", f"\n{name}"),
        (f"gate {name}\nstatus {other}",),
        ("gate", f"{name}\t{other}"),
        ("gate", f"{name[:-1]}?"),
        ("gate", "*"),
        ("gate", f"{name}\\"),
        ("gate", name.upper()),
        ("gate", f"{name}/../{other}"),
        ("status", f"--name={name}"),
    ):
        yield line(HOSTKIT, *words)
    for path in (
        f"{shared}/hostkit",
        f"/usr/bin/../..{shared}/hostkit",
        "/usr/bin/env",
        "/bin/sh",
        "/usr/bin/bash",
        "/proc/self/exe",
        "/lib64/ld-linux-x86-64.so.2",
    ):
        yield line(path, "status", name)
    yield "sudo ./hostkit", ask(("sudo", "-n", "./hostkit", "status", name), cwd=shared)
    for options in (
        ("-u", other),
        ("-u", f"#{it['uid']}"),
        ("-u", "#-1"),
        ("-u", "#4294967295"),
        ("-u", "nobody"),
        ("-g", other),
        ("-g", "shadow"),
        ("-g", "#0", "-u", other),
        ("-E",),
        ("--preserve-env=HOSTKIT_FAULT",),
        ("-R", "/tmp"),
        ("-D", "/tmp"),
        ("-C", "10"),
        ("-s",),
        ("-i",),
        ("-h", "elsewhere"),
    ):
        yield line(*options, *own, env={"HOSTKIT_FAULT": "fail@9999"})
    for words in (
        ("-e", "/etc/shadow"),
        ("-l", "-U", other),
        ("-s", "id"),
        ("-i", "id"),
        ("-u", other, "id"),
        ("-b", "id"),
    ):
        yield line(*words)
    yield "sudoedit /etc/shadow", ask(("sudoedit", "-n", "/etc/shadow"))
    evil = {
        "HOSTKIT_FAULT": "fail@9999",
        "LD_PRELOAD": f"{shared}/evil.so",
        "LD_LIBRARY_PATH": shared,
        "PATH": f"{shared}:/usr/bin:/bin",
        "PYTHONPATH": shared,
        "BASH_ENV": f"{shared}/hostkit",
        "SUDO_UID": "0",
        "SUDO_USER": "root",
        "SUDO_COMMAND": "/bin/sh",
        "HOME": shared,
        "TERM": "../../../../etc",
        "LC_ALL": "../../evil",
        "RUST_BACKTRACE": "full",
        "NO_COLOR": "1",
        "TMPDIR": shared,
        "SSH_ORIGINAL_COMMAND": f"status {other}",
    }
    traces = ("evil", "changes passed", "cannot be preloaded", f"{other}.", "backtrace")
    for key, value in evil.items():
        if key not in ("TERM", "LC_ALL", "NO_COLOR", "HOME"):
            yield f"sudo {key}={value}", ask(("sudo", "-n", f"{key}={value}", *own))
        yield f"{key}={value} sudo", as_ever(("/usr/bin/sudo", "-n", *own), traces, env={key: value})
        if key != "LD_PRELOAD":
            # What is preloaded into its own half is its own.
            typed = (HOSTKIT, "status", name)
            yield f"{key}={value} hostkit", as_ever(typed, traces, env={key: value})
    yield "a claim to be root, for the neighbour", ask(
        (HOSTKIT, "status", other), 5, env={"SUDO_UID": "0", "SUDO_USER": "root"}
    )


@family
def typed(brief):
    """What the project's user types without sudo, and sends over SSH with a key for the gate."""
    me, it = brief["me"], brief["it"]
    name, other = me["name"], it["name"]

    def shown(*words):
        def attempt():
            ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if ran.returncode or name not in ran.stdout or other in ran.stdout:
                raise RuntimeError(f"{ran.returncode}: {ran.stdout}{ran.stderr}")
            return ran.stdout

        return attempt

    for words in (
        ("status",),
        ("status", name),
        ("status", "--json"),
        ("--json", "status", name),
        ("project", "info", name),
    ):
        yield Control(f"hostkit {' '.join(words)}"), shown("hostkit", *words)
    for words in (
        ("status", other),
        ("--json", "status", other),
        ("status", "--", other),
        ("project", "info", other),
        ("project", "restart", other),
        ("project", "start", name),
        ("project", "stop", name),
        ("project", "stop", other),
        ("project", "delete", name, "--yes"),
        ("project", "delete", other, "--yes"),
        ("project", "delete", name, "--dry-run"),
        ("project", "list"),
        ("project", "create", "mine-too"),
        ("project", "regenerate-sudoers", "--all"),
        ("provision", "mine-too"),
        ("provision", "mine-too", "--dry-run"),
        ("plan", "mine-too"),
        ("repair", name),
        ("repair", "--all"),
        ("drift",),
        ("drift", other),
        ("doctor",),
        ("events",),
        ("events", other),
        ("recover",),
        ("config",),
        ("init",),
        ("init", "--undo"),
    ):
        yield f"hostkit {' '.join(words)}", ask((HOSTKIT, *words), 5)
    yield "hostkit gate without a request", ask((HOSTKIT, "gate", name), 2)
    for text, code in (
        (f"status {other}", 5),
        (f"hostkit status {other}", 5),
        (f"sudo hostkit status {other}", 5),
        (f"sudo sudo hostkit status '{other}'", 5),
        (f"project delete {name} --yes", 5),
        ("hostkit repair --all", 5),
        ("bash", 2),
        ("", 2),
        ("hostkit", 2),
        (f"gate {other}", 2),
        ("scp -t /tmp", 2),
        ("rsync --server . /etc", 2),
        ("/usr/lib/openssh/sftp-server", 2),
        ("status; id", 2),
        ("status && id", 2),
        ("status | sh", 2),
        ("status $(id)", 2),
        ("status `id`", 2),
        ("status > /etc/mine", 2),
        (f"status\n{other}", 2),
        ("status 'open", 2),
        ("status \x1b[2J", 2),
    ):
        env = {"SSH_ORIGINAL_COMMAND": text}
        yield f"over SSH: {text!r}", ask((HOSTKIT, "gate", name), code, env=env)
        yield f"over SSH, by the neighbour's gate: {text!r}", ask((HOSTKIT, "gate", other), 5, env=env)
    yield Control("over SSH: its own status"), run(
        "env", "SSH_ORIGINAL_COMMAND=hostkit status", HOSTKIT, "gate", name
    )


@family
def gate(brief):
    """Requests that no hostkit would send, straight to the half that is root."""
    me, it = brief["me"], brief["it"]
    name, other = me["name"], it["name"]
    words = ("sudo", "-n", HOSTKIT, "gate", name)
    yield Control("the gate shows the project to itself"), run(*words, stdin=b'{"argv":["status"]}\n')
    into = f"{me['home']}/shared/pages"
    os.makedirs(into, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink("/etc/mine", f"{into}/hostkit.1")
    for request, code in (
        ({"argv": ["status", other]}, 5),
        ({"argv": ["--json", "status", other]}, 5),
        ({"argv": ["status", "--", other]}, 5),
        ({"argv": ["project", "info", other]}, 5),
        ({"argv": ["project", "restart", other]}, 5),
        ({"argv": ["project", "stop", name]}, 5),
        ({"argv": ["project", "delete", name, "--yes"]}, 5),
        ({"argv": ["project", "delete", other, "--yes", "--no-backup"]}, 5),
        ({"argv": ["project", "list"]}, 5),
        ({"argv": ["provision", "mine-too"]}, 5),
        ({"argv": ["repair"]}, 5),
        ({"argv": ["repair", "--all"]}, 5),
        ({"argv": ["drift"]}, 5),
        ({"argv": ["events"]}, 5),
        ({"argv": ["config", "set", "operators", name]}, 5),
        ({"argv": ["init", "--undo"]}, 5),
        ({"argv": ["recover"]}, 5),
        ({"argv": ["doctor"]}, 5),
        ({"argv": ["--wait", "1h", "status", other]}, 5),
        ({"argv": ["gate", name]}, 2),
        ({"argv": ["gate", other]}, 2),
        ({"argv": ["status", name.upper()]}, 2),
        ({"argv": ["status", f"{name}\n{other}"]}, 2),
        ({"argv": ["status", "\x00"]}, 2),
        ({"argv": ["status", "\x1b[2J"]}, 2),
        ({"argv": ["status", "../../etc/shadow"]}, 2),
        ({"argv": ["status", "'; drop table projects; --"]}, 2),
        ({"argv": ["status", name, other]}, 2),
        ({"argv": ["--help"]}, 2),
        ({"argv": ["no-such-verb"]}, 2),
        ({"argv": []}, 2),
        ({"argv": [""] * 9000}, 2),
        ({"argv": "status"}, 2),
        ({"argv": [["status"]]}, 2),
        ({"argv": [1]}, 2),
        ({"argv": None}, 2),
        ({"argv": ["status"], "as": "root"}, 2),
        ({"argv": ["status"], "line": "status"}, 2),
        ({"Argv": ["status"]}, 2),
        ({"line": f"status {other}"}, 5),
        ({"line": f"sudo hostkit project delete {other} --yes"}, 5),
        ({"line": "status; id"}, 2),
        ({"line": "x" * 65500}, 2),
        ({"line": ["status"]}, 2),
        ({}, 2),
        ([], 2),
        (["status"], 2),
        ("status", 2),
        (None, 2),
        (b"", 2),
        (b"\n", 2),
        (b"status\n", 2),
        (b"\x00" * 4096, 2),
        (b"\xff\xfe\n", 2),
        (b'{"argv":["status\xff"]}\n', 2),
        (b'{"argv":["status"]', 2),
        (b'{"argv":["status"]} {"argv":["status"]}\n', 2),
        (b'{"argv":["status"],"argv":["status"]}\n', 2),
        (b"[" * 60000, 2),
        (b'{"argv":' * 7000, 2),
        (b"x" * 70000, 2),
        (b'{"argv":["status"' + b" " * 70000 + b"]}\n", 2),
        (b'{"argv":["stat\\u0000us"]}\n', 2),
    ):
        stdin = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
        shown = stdin[:70].decode("latin-1").strip()
        yield f"gate: {shown}", ask(words, code, stdin=stdin)
    for target in ("/etc/cron.d", "/etc/sudoers.d", "/var/lib/hostkit", into):
        for verb in ({"argv": ["man", "--into", target]}, {"line": f"man --into {target}"}):
            stdin = json.dumps(verb).encode() + b"\n"
            yield f"gate: write into {target} by {next(iter(verb))}", ask(words, 2, 5, stdin=stdin)


# The sandbox of a unit


@family
def sandbox(brief):
    """What the hardened unit takes from an app."""
    me, it = brief["me"], brief["it"]
    shared = f"{me['home']}/shared"

    def others():
        seen = [pid for pid in os.listdir("/proc") if pid.isdigit() and owner(pid) != os.getuid()]
        if not seen:
            raise Refused("no process of anybody else's is to be seen")
        return seen

    def owner(pid):
        with contextlib.suppress(FileNotFoundError):
            return os.stat(f"/proc/{pid}").st_uid
        return os.getuid()

    def homes():
        seen = [name for name in os.listdir("/home") if name != me["name"]]
        if not seen:
            raise Refused("/home holds its own home and no other")
        return seen

    def private_tmp():
        """What a login of the same project leaves there is not to be seen."""
        return [open(f"{d}/of-the-login").read() for d in ("/tmp", "/var/tmp")]

    def setuid_bit():
        path = f"{shared}/suid"
        open(path, "w").close()
        os.chmod(path, 0o4755)
        return oct(os.stat(path).st_mode)

    def capabilities():
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        held = {key: status[key].strip() for key in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")}
        if all(int(value, 16) == 0 for value in held.values()):
            raise Refused("none is held, and none can be")
        return held

    def new_privileges():
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        if status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2":
            raise Refused("NoNewPrivs 1, Seccomp 2")
        return status["NoNewPrivs"]

    def bus():
        connection = socket.socket(socket.AF_UNIX)
        connection.connect("/run/dbus/system_bus_socket")
        return "connected"

    def core():
        limit = resource.getrlimit(resource.RLIMIT_CORE)
        if limit == (0, 0):
            raise Refused("RLIMIT_CORE 0")
        return limit

    yield Control("an app writes to `shared`"), lambda: own_file_back(me)
    yield Control("an app writes to `.cache`"), lambda: at(os.makedirs, f"{me['home']}/.cache/x", 0o700, True)()
    yield Control("an app has a /tmp of its own"), create(f"/tmp/{os.getpid()}")
    yield Control("an app reads its release"), read(f"{me['home']}/app/__main__.py")
    yield Control("an app knows its name"), lambda: os.environ["PROJECT_NAME"]
    yield Control("an app sees its own processes"), listing(f"/proc/{os.getppid()}/task")
    yield Control("an app makes sockets of the usual kinds"), lambda: [
        socket.socket(f).close() for f in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
    ]

    yield "speak on the message bus", bus
    yield "see other homes", homes
    yield "see other processes", others
    yield "see the /tmp of the login", private_tmp
    for path in (
        "/etc/hostkit",
        "/etc/hostkit/wall.d",
        "/var/lib/hostkit",
        "/srv/backups",
        "/srv/backups/hostkit",
        "/etc/letsencrypt",
        "/etc/ssh",
        "/etc/sudoers.d",
        "/run/hostkit/locks",
        f"/home/{it['name']}",
        "/root",
    ):
        yield f"list {path}", listing(path)
    for path in (
        "/etc/shadow",
        "/etc/hostkit/hostkit.toml",
        f"/etc/hostkit/wall.d/{me['name']}.nft",
        "/etc/ssh/sshd_config",
        f"/proc/{it['pid']}/cmdline",
        "/proc/1/cmdline",
        "/proc/kcore",
        "/dev/kmsg",
        "/dev/mem",
        "/dev/sda",
        "/dev/fuse",
    ):
        yield f"read {path}", read(path)
    for path in (
        "/mine",
        "/etc/mine",
        "/usr/mine",
        "/opt/mine",
        "/srv/mine",
        "/var/mine",
        "/var/lib/mine",
        "/var/log/mine",
        "/var/spool/mine",
        "/run/mine",
        "/run/lock/mine",
        "/run/user/mine",
        "/home/mine",
        f"{me['home']}/mine",
        f"{me['home']}/app/mine",
        "/dev/mine",
        "/sys/fs/cgroup/mine",
    ):
        yield f"create {path}", create(path)
    for path in (
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        f"{me['home']}/.env",
        f"{me['home']}/app/__main__.py",
    ):
        yield f"write to {path}", append(path)
    new_user, new_mount, new_pid, new_net = 0x10000000, 0x20000, 0x20000000, 0x40000000
    for what, name, *args in (
        ("make a user namespace", "unshare", new_user),
        ("make a mount namespace", "unshare", new_mount),
        ("make a PID namespace", "unshare", new_pid),
        ("make a network namespace", "unshare", new_net),
        ("enter the namespaces of PID 1", "setns", 0, new_mount),
        ("mount", "mount", b"none", b"/tmp", b"tmpfs", 0, None),
        ("unmount", "umount2", b"/home", 2),
        ("change its personality", "personality", 0x0040000),
        ("ask for real time", "sched_setscheduler", 0, 1, ctypes.byref(ctypes.c_int(1))),
        ("set the host's name", "sethostname", b"mine", 4),
        ("set the clock", "settimeofday", (ctypes.c_long * 2)(0, 0), None),
        ("load a module", "syscall", 175, b"", 0, b""),
        ("load a BPF program", "syscall", 321, 5, b"\0" * 120, 120),
        ("trace by perf", "syscall", 298, b"\0" * 120, 0, -1, -1, 0),
        ("swap", "swapon", b"/tmp/x", 0),
        ("reboot", "syscall", 169, 0xFEE1DEAD, 672274793, 0x89ABCDEF, 0),
        ("hang up the terminal", "syscall", 153),
    ):
        yield what, lambda name=name, args=args: in_a_child(name, *args)
    for what, *kind in (
        ("packets of the device", socket.AF_PACKET, socket.SOCK_RAW),
        ("raw packets", socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        ("the kernel's crypto", socket.AF_ALG, socket.SOCK_SEQPACKET),
        ("virtual machines", socket.AF_VSOCK, socket.SOCK_STREAM),
    ):
        yield f"open a socket for {what}", lambda kind=kind: socket.socket(*kind)
    yield "make a file that runs as its owner", setuid_bit
    yield "hold a capability", capabilities
    yield "gain privileges", new_privileges
    yield "leave a memory image", core
    for words in (
        ("sudo", "-n", "/usr/bin/hostkit", "status", me["name"]),
        ("sudo", "-n", "-l"),
        ("su", "-c", "id"),
        ("passwd",),
        ("hostkit", "status"),
    ):
        no = r"|no new privileges|effective uid|unable to|cannot set|could not reach|preserve"
        yield f"run {' '.join(words)}", run(*words, no=no)
    yield "make a job that outlives it with crontab", run(
        "crontab", "-", stdin=b"* * * * * true\n", no=r"|mkstemp|can't|cannot"
    )
    yield "make a job that outlives it with at", run(
        "at", "now", stdin=b"true\n", no=r"|cannot|can't"
    )


# As an app


def serve():
    """The app of a project: says who it is and what it heard, and attacks when it is asked to."""
    name, home = os.environ["PROJECT_NAME"], os.path.expanduser("~")
    secret = os.environ.get("SECRET")
    if secret:
        print(f"the secret is {secret}", flush=True)
        syslog.syslog(f"the secret is {secret}")
        session = subprocess.Popen(["psql", "-Xq", os.environ["DATABASE_URL"]], stdin=subprocess.PIPE)
        session.stdin.write(f"select '{secret}', pg_sleep(86400);\n".encode())
        session.stdin.flush()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"I am {name}\n{json.dumps(dict(self.headers))}\n".encode()
            if self.path.startswith("/attack/"):
                families = self.path.split("/")[2].split(",")
                with open(f"{home}/shared/brief.json") as brief:
                    body = subprocess.run(
                        [sys.executable, __file__, *families], stdin=brief, stdout=subprocess.PIPE
                    ).stdout
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            socketserver.TCPServer.server_bind(self)

    Server(("::", int(os.environ["PORT"])), Handler).serve_forever()


# Plants, and what clings


TARGETS = ("/etc/shadow", "/etc", "/root", "/root/.ssh/authorized_keys", "/etc/cron.d/mine", "/etc/sudoers.d/mine")


def plant(other, *places):
    """Leaves links, pipes and odd names wherever it may write, under names that somebody may use."""
    count = 0
    targets = (*TARGETS, f"/home/{other}/.env", f"/home/{other}", f"/var/log/projects/{other}/app.log")
    names = ["-rf", "--", "*", "a\nb", "\udcff", " ", "x" * 255, ".env", "..env.hostkit-new", "app"]
    names += ["app.log", ".app.log.hostkit-new", "uploads", "authorized_keys", "hostkit", "hostkit.1"]
    names += ["mallory", "hostkit-mallory", "hostkit-mallory.service", ".hostkit", "registry.db"]
    for place in places:
        for i, name in enumerate(names):
            with contextlib.suppress(FileExistsError):
                os.symlink(targets[i % len(targets)], f"{place}/{name}")
                count += 1
        for i, target in enumerate(targets):
            os.symlink(target, f"{place}/{os.getpid()}-{i}")
        tree = f"{place}/{os.getpid()}-tree"
        os.makedirs(tree + "/d" * 100)
        os.symlink("/etc", tree + "/d" * 100 + "/etc")
        os.symlink("/etc/shadow", f"{tree}/d/shadow")
        os.mkfifo(f"{tree}/pipe")
        os.mkfifo(f"{place}/{os.getpid()}-pipe")
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(f"{place}/{os.getpid()}-socket")
        with open(f"{tree}/suid", "w") as f:
            f.write("#!/bin/sh\n")
        os.chmod(f"{tree}/suid", 0o6755)
        os.link(f"{tree}/suid", f"{tree}/twin")
        with open(f"{tree}/sparse", "w") as f:
            f.truncate(1 << 24)
        os.chmod(f"{tree}/d", 0o2777)
        count += len(targets) + 8
    print(count)


def hand_over(place):
    """Lets the neighbour into a directory, past the home that keeps it out."""
    os.makedirs(place, exist_ok=True)
    os.chmod(place, 0o777)
    server = socket.socket(socket.AF_UNIX)
    server.bind(f"\0hand-over")
    server.listen()
    print("ready", flush=True)
    connection, _ = server.accept()
    socket.send_fds(connection, [b"x"], [os.open(place, os.O_RDONLY)])
    sys.stdin.read()


def race(target):
    """In a neighbour's directory, swaps a directory for a link and back, for as long as it can."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("\0hand-over")
    _, (directory,), _, _ = socket.recv_fds(connection, 1, 1)
    os.fchdir(directory)
    for i in range(60):
        os.makedirs(f"dir-{i}/a/b/c")
        os.symlink(target, f"link-{i}")
    print("ready", flush=True)
    exchange = 2
    while not select.select([sys.stdin], [], [], 0)[0]:
        for i in range(60):
            LIBC.renameat2(AT_FDCWD, b"dir-%d" % i, AT_FDCWD, b"link-%d" % i, exchange)


def cling(me, other):
    """Leaves all that could outlive a project: processes, jobs, files, memory."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock"):
        os.makedirs(f"{place}/{me}-dir/inner")
        os.chmod(f"{place}/{me}-dir", 0o1777)
        with open(f"{place}/{me}-file", "w") as f:
            f.write(me)
    os.close(LIBC.mq_open(f"/{me}".encode(), os.O_CREAT | os.O_RDWR, 0o600, None))
    LIBC.shmget(4242, 4096, 0o1600)
    LIBC.semget(4242, 1, 0o1600)
    LIBC.msgget(4242, 0o1600)
    run("crontab", "-", stdin=b"* * * * * sleep 1000\n")()
    run("at", "now + 1 day", stdin=b"sleep 1000\n")()
    run("at", "now", stdin=b"sleep 1000\n")()
    # Never comes to the end of its input, so what it has begun lies there.
    subprocess.Popen("sleep 1000 | crontab -", shell=True, start_new_session=True)
    subprocess.Popen(["unshare", "-Urpf", "sleep", "1000"], start_new_session=True)
    for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            # Each moment another number: whoever kills by a list of them comes too late.
            while os.fork():
                os._exit(0)
            while True:
                if os.fork():
                    os._exit(0)
    print("ready", flush=True)


def hold(redis_url, database_url):
    """Holds connections that were made with another's passwords, and tries them when told to."""
    connection = Redis(redis_url)
    connection.do("SET", "held", "1")
    pipe = subprocess.PIPE
    session = subprocess.Popen(["psql", "-XAtq", "-d", database_url], stdin=pipe, stdout=pipe, text=True)
    print("select 'held';", file=session.stdin, flush=True)
    assert session.stdout.readline() == "held\n"
    print("ready", flush=True)
    for _ in sys.stdin:
        try:
            print("redis lives", connection.do("GET", "held"), flush=True)
        except (OSError, Refused) as e:
            print("redis is dead:", e, flush=True)
        with contextlib.suppress(BrokenPipeError):
            print("select 'postgres lives';", file=session.stdin, flush=True)
        print(session.stdout.readline().strip() or "postgres is dead", flush=True)


def squat(ports):
    """Answers whoever comes, on every address."""

    def serve(server):
        while True:
            connection, _ = server.accept()
            print(f"caught {connection.getsockname()[1]}", flush=True)
            with contextlib.suppress(OSError):
                connection.settimeout(2)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nI am the squatter\r\n")
                connection.close()

    for port in ports:
        server = socket.socket(socket.AF_INET6)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", port))
        server.listen()
        threading.Thread(target=serve, args=(server,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def main():
    os.environ["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    if len(sys.argv) == 1:
        return serve()
    others = {"plant": plant, "hand-over": hand_over, "race": race, "cling": cling, "hold": hold}
    if sys.argv[1] in others:
        return others[sys.argv[1]](*sys.argv[2:])
    if sys.argv[1] == "squat":
        return squat([int(port) for port in sys.argv[2:]])
    brief = json.load(sys.stdin)
    for name in sys.argv[1:]:
        for what, how in FAMILIES[name](brief):
            if not brief["only"] or what in brief["only"]:
                carry_out(name, what, how, brief["sandboxed"])


if __name__ == "__main__":
    main()
