import time

import jwt
import pytest
from app import auth, ctl, settings
from app.db import session
from app.models import User
from conftest import CODE
from sqlalchemy import select

ANN = {"username": "ann", "password": "long enough"}
RIGHT = {"X-Halext-Code": CODE}


@pytest.mark.parametrize("headers", [{}, {"X-Halext-Code": "wrong"}, {"X-Halext-Code": ""}])
def test_both_doors_want_the_access_code(client, headers):
    assert client.post("/api/users/", json=ANN, headers=headers).status_code == 401
    assert client.post("/api/users/", json=ANN, headers=RIGHT).status_code == 200
    assert client.post("/api/token", data=ANN, headers=headers).status_code == 401
    assert client.post("/api/token", data=ANN, headers=RIGHT).status_code == 200


def test_a_code_that_is_not_ascii_is_just_wrong(client):
    headers = {"X-Halext-Code": "ü".encode("latin-1")}
    assert client.post("/api/users/", json=ANN, headers=headers).status_code == 401


def test_nobody_registers_himself_as_an_administrator(client, sign_in):
    sly = {**ANN, "is_admin": True, "id": 1, "hashed_password": "x"}
    answer = client.post("/api/users/", json=sly, headers=RIGHT)
    assert answer.json()["is_admin"] is False
    token = client.post("/api/token", data=ANN, headers=RIGHT).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/admin/ai-clients", headers=headers).status_code == 403
    # `boss` is in ADMIN_USERNAMES: free for the operator, not for the first who asks.
    for name in ("boss", "BOSS", " boss "):
        taken = client.post("/api/users/", json={**ANN, "username": name}, headers=RIGHT)
        assert taken.status_code == 403, name


def test_admin_routes_are_closed_to_all_but_administrators(client, sign_in):
    paths = [route for route in client.get("/api/openapi.json").json()["paths"].items()]
    admin = [(path, verbs) for path, verbs in paths if path.startswith("/api/admin/")]
    assert len(admin) >= 9
    ann = sign_in()
    for path, verbs in admin:
        for verb in verbs:
            path = path.replace("{node_id}", "1").replace("{provider}", "openwebui")
            assert client.request(verb, path).status_code == 401, path
            assert client.request(verb, path, headers=ann).status_code == 403, path


def test_ctl_makes_an_administrator_with_the_password_from_stdin(client, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.readline", lambda: "from a pipe\n", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    ctl.main(["create-admin", "boss"])
    assert "from a pipe" not in capsys.readouterr().out
    boss = {"username": "Boss", "password": "from a pipe"}
    token = client.post("/api/token", data=boss, headers=RIGHT).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/admin/ai-clients", headers=headers).status_code == 200
    monkeypatch.setattr("sys.stdin.readline", lambda: "short\n", raising=False)
    with pytest.raises(SystemExit, match="password: .*8 characters"):
        ctl.main(["create-admin", "other"])


def test_imported_users_wait_for_a_password(client, tmp_path, monkeypatch):
    (tmp_path / "old.csv").write_text("username,email\nOld.Hand,old@example.com\n")
    ctl.main(["import-users", str(tmp_path / "old.csv")])
    ctl.main(["import-users", str(tmp_path / "old.csv")])
    old = {"username": "old.hand", "password": "!"}
    assert client.post("/api/token", data=old, headers=RIGHT).status_code == 401
    monkeypatch.setattr("sys.stdin.readline", lambda: "now I have one\n", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    ctl.main(["set-password", "old.hand"])
    old["password"] = "now I have one"
    assert client.post("/api/token", data=old, headers=RIGHT).status_code == 200


def test_wrong_passwords_and_unknown_names_look_the_same(client, sign_in):
    sign_in()
    wrong = {"username": "ann", "password": "wrong"}
    nobody = {"username": "nobody", "password": "wrong"}
    answers = [client.post("/api/token", data=data, headers=RIGHT) for data in (wrong, nobody)]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].text == answers[1].text


def test_tokens_end_and_must_be_ours(client, sign_in):
    headers = sign_in()
    assert client.get("/api/users/me/", headers=headers).json()["username"] == "ann"
    assert client.get("/api/auth/introspect", headers=headers).json()["active"] is True
    key = settings.settings.secret_key
    bad = [
        jwt.encode({"sub": "ann", "exp": time.time() - 1}, key, "HS256"),
        jwt.encode({"sub": "ann"}, key, "HS256"),
        jwt.encode({"sub": "ann", "exp": time.time() + 60}, "x" * 64, "HS256"),
        jwt.encode({"sub": "ann", "exp": time.time() + 60}, None, "none"),
        "nonsense",
    ]
    for token in bad:
        answer = client.get("/api/auth/introspect", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401, token


def test_passwords_are_stored_as_salted_hashes(client, sign_in):
    sign_in("ann")
    assert auth.hash_password("same") != auth.hash_password("same")
    with session() as db:
        stored = db.scalar(select(User.hashed_password).where(User.username == "ann"))
    assert stored.startswith("scrypt$") and "secret" not in stored
    assert auth.is_password("ann has a secret", stored)
    assert not auth.is_password("ann has a secre", stored)


def test_a_name_is_given_once(client):
    assert client.post("/api/users/", json=ANN, headers=RIGHT).status_code == 200
    again = {**ANN, "username": "ANN"}
    assert client.post("/api/users/", json=again, headers=RIGHT).status_code == 409


GOOD = {
    "DATABASE_URL": "postgresql://halext:pw@localhost/halext_db",
    "ACCESS_CODE": "a code",
    "SECRET_KEY": "s" * 32,
    "API_KEY_ENCRYPTION_KEY": "x" * 43 + "=",
}


def test_plain_postgresql_gets_our_driver():
    assert settings.load(GOOD).database_url.startswith("postgresql+psycopg://halext:pw@")
    kept = {**GOOD, "DATABASE_URL": "postgresql+psycopg://elsewhere/db"}
    assert settings.load(kept).database_url == "postgresql+psycopg://elsewhere/db"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ACCESS_CODE": ""}, "ACCESS_CODE is not set"),
        ({"ACCESS_CODE": "change-me"}, "value of an example"),
        ({"SECRET_KEY": settings.DEV["SECRET_KEY"]}, "value of an example"),
        ({"SECRET_KEY": "short"}, "32 characters"),
        ({"API_KEY_ENCRYPTION_KEY": "no key"}, "Fernet"),
        ({"DATABASE_URL": "sqlite:///x.db"}, "DEV_MODE only"),
        ({"AI_PROVIDER": "ollama"}, "needs OLLAMA_URL"),
        ({"TOKEN_MINUTES": "soon"}, "TOKEN_MINUTES must be a number"),
    ],
)
def test_unsafe_settings_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        settings.load({**GOOD, **change})


def test_development_needs_no_settings():
    assert settings.load({"DEV_MODE": "1"}).access_code == "dev"
