"""A fresh database for each test: SQLite, or a schema of its own where DATABASE_URL is given."""

import json
import os
import tempfile

import pytest
from cryptography.fernet import Fernet

CODE = "open sesame"
SCHEMA = "halext_tests"

given = os.environ.get("DATABASE_URL", "")
os.environ |= {
    "ACCESS_CODE": CODE,
    "SECRET_KEY": "0123456789abcdef" * 4,
    "API_KEY_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    "ADMIN_USERNAMES": "boss",
    "DATABASE_URL": given
    and f"{given}{'&' if '?' in given else '?'}options=-csearch_path%3D{SCHEMA}",
    "NODE_CHECK_SECONDS": "3600",
    "NODE_ANSWER_SECONDS": "0.5",
    "HOSTKIT_GATE": os.path.join(tempfile.mkdtemp(), "gate.sock"),
}
if not given:
    os.environ |= {"DEV_MODE": "1", "DATABASE_URL": f"sqlite:///{tempfile.mkdtemp()}/test.db"}

import fake_node
from app import auth, cache, db, gateway, migrate, models
from app.main import app
from fastapi.testclient import TestClient
from sqlalchemy import text

auth.COST["n"] = 2**4  # a good price for a guess makes slow tests


if not db.SQLITE:
    with db.engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))


def drop_tables():
    models.Base.metadata.drop_all(db.engine)
    with db.engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS schema_migrations"))


@pytest.fixture(autouse=True)
def database():
    drop_tables()
    assert migrate.migrate() == [file.stem for file in migrate.FILES]
    gateway.shunned.clear()


@pytest.fixture
def client():
    gateway.http = gateway.new_client()
    with TestClient(app) as client:
        yield client


@pytest.fixture
def sign_in(client):
    """Registers and signs in: the headers to send from then on."""

    def sign_in(username="ann", is_admin=False):
        code, password = {"X-Halext-Code": CODE}, f"{username} has a secret"
        person = {"username": username, "password": password}
        assert client.post("/api/users/", json=person, headers=code).status_code == 200
        if is_admin:
            with db.engine.begin() as connection:
                raised = text("UPDATE users SET is_admin = TRUE WHERE username = :name")
                connection.execute(raised, {"name": username})
        answer = client.post("/api/token", data=person, headers=code)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    return sign_in


@pytest.fixture
def start_node():
    servers = []

    def start(*arguments):
        servers.append(fake_node.start(["--port", "0", *arguments]))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def add_node(client, sign_in, start_node):
    """Starts a fake node and adds it as an administrator would."""
    admin = {}

    def add(name, *arguments, ms=None):
        admin.update(admin or sign_in("root-of-tests", is_admin=True))
        server = start_node("--name", name, *arguments)
        new = {"name": name, "hostname": "127.0.0.1", "port": server.server_port}
        node = client.post("/api/admin/ai-clients", json=new, headers=admin).json()
        if ms is not None:
            with db.engine.begin() as connection:
                fast = text("UPDATE ai_client_nodes SET last_response_time_ms = :ms WHERE id = :id")
                connection.execute(fast, {"ms": ms, "id": node["id"]})
        server.node, server.headers = node, admin
        return server

    return add


def stream(client, headers, message, **more) -> list[tuple[str, dict]]:
    """The events of an answer."""
    answer = client.post("/api/chat", json={"message": message, **more}, headers=headers)
    assert answer.status_code == 200, answer.text
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    return [
        (event.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for event, data in blocks
    ]


def said(events) -> str:
    words = []
    for kind, data in events:
        words = [*words, data["text"]] if kind == "token" else [] if kind == "reset" else words
    return "".join(words)
