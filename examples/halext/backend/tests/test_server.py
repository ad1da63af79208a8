import json
import logging
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy
from app import db, gate, log, migrate, models
from app.settings import settings
from conftest import drop_tables, stream
from sqlalchemy import text


def test_tasks_belong_to_their_owner(client, sign_in):
    ann, bob = sign_in("ann"), sign_in("bob")
    new = {"title": " Water the plants ", "priority": "high", "due_date": "2030-01-02T03:04:05Z"}
    task = client.post("/api/tasks/", json=new, headers=ann).json()
    assert (task["title"], task["priority"], task["status"]) == ("Water the plants", "high", "todo")
    assert task["due_date"] == "2030-01-02T03:04:05Z"
    path = f"/api/tasks/{task['id']}"
    assert client.get("/api/tasks/", headers=bob).json() == []
    for verb, body in [("PUT", {"status": "done"}), ("DELETE", None)]:
        assert client.request(verb, path, json=body, headers=bob).status_code == 404
    changed = client.put(path, json={"status": "done"}, headers=ann).json()
    assert (changed["status"], changed["priority"]) == ("done", "high")
    assert client.put(path, json={"status": "lost"}, headers=ann).status_code == 422
    assert client.delete(path, headers=ann).status_code == 204
    assert client.get("/api/tasks/", headers=ann).json() == []


def test_many_at_once_do_not_wait_for_each_other(client, sign_in):
    """There are fewer connections than requests: one that held its own while it waits for a
    thread would stop all others."""
    ann = sign_in()
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(client.get, "/api/tasks/", headers=ann) for _ in range(180)]
        assert {answer.result().status_code for answer in asked} == {200}


def test_a_task_gets_a_suggestion_and_keeps_it(client, sign_in, add_node):
    add_node("mac")
    ann = sign_in()
    task = client.post("/api/tasks/", json={"title": "Paint"}, headers=ann).json()
    client.post(f"/api/tasks/{task['id']}/suggest", headers=ann)
    [task] = client.get("/api/tasks/", headers=ann).json()
    assert task["suggestion"].startswith("mac with llama3 heard: Name three short steps")


def test_events_end_after_they_begin(client, sign_in):
    ann, bob = sign_in("ann"), sign_in("bob")
    new = {"title": "Tea", "start_time": "2030-01-01T10:00:00Z", "end_time": "2030-01-01T11:00:00Z"}
    event = client.post("/api/events/", json=new, headers=ann).json()
    assert client.get("/api/events/", headers=ann).json() == [event]
    backwards = {**new, "end_time": "2030-01-01T09:00:00Z"}
    assert client.post("/api/events/", json=backwards, headers=ann).status_code == 422
    path = f"/api/events/{event['id']}"
    assert client.delete(path, headers=bob).status_code == 404
    assert client.delete(path, headers=ann).status_code == 204


def test_a_second_migration_changes_nothing():
    assert migrate.migrate() == []


def test_migrations_at_the_same_time_wait_for_each_other():
    if db.SQLITE:
        return  # one writer at a time anyway
    drop_tables()
    done = []
    threads = [threading.Thread(target=lambda: done.append(migrate.migrate())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [file.stem for file in migrate.FILES]
    assert sorted(done) == [[], [], [], names]


def test_the_tables_are_those_of_the_models():
    tables = sqlalchemy.inspect(db.engine)
    assert set(models.Base.metadata.tables) | {"schema_migrations"} == set(tables.get_table_names())
    for name, table in models.Base.metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in tables.get_columns(name)}
        wanted = {column.name: column.nullable for column in table.columns}
        ours = {"id", "provider"}  # SQLite calls its keys nullable
        assert columns.keys() == wanted.keys()
        assert {k: v for k, v in columns.items() if k not in ours} == {
            k: v for k, v in wanted.items() if k not in ours
        }, name


def test_health_is_503_without_the_database_and_200_again_with_it(client, monkeypatch):
    assert client.get("/api/health").json()["status"] == "ok"
    nowhere = sqlalchemy.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    monkeypatch.setattr("app.routes.engine", nowhere)
    answer = client.get("/api/health")
    assert (answer.status_code, answer.json()) == (503, {"detail": "The database is away"})
    monkeypatch.undo()
    assert client.get("/api/health").status_code == 200


def test_health_is_503_before_the_migrations_and_200_after_a_rollback(client):
    with db.engine.begin() as connection:
        connection.execute(text("DELETE FROM schema_migrations WHERE name LIKE '0002%'"))
    assert client.get("/api/health").status_code == 503
    with db.engine.begin() as connection:
        for name in ("0002_task_due_date", "9999_from_a_newer_release"):
            insert = text("INSERT INTO schema_migrations VALUES (:name, '2030-01-01')")
            connection.execute(insert, {"name": name})
    assert client.get("/api/health").status_code == 200
    assert migrate.migrate() == []


def test_metrics_are_for_this_machine_only(client, sign_in, add_node):
    add_node("mac", "--models", "llama3")
    stream(client, sign_in(), "hello")
    assert client.get("/metrics", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 403
    text = client.get("/metrics").text
    for line in [
        'halext_requests_total{method="POST",route="/api/chat",status="200"}',
        'halext_response_seconds_bucket{le="0.05",route="/api/users/"}',
        'halext_active_connections{type="http"} 1.0',
        'halext_model_usage_total{model="llama3",type="node"}',
        'halext_node_availability{node="mac"} 1.0',
    ]:
        assert line in text, line


def test_log_lines_are_json_and_hold_no_secret(client, sign_in, capsys):
    log.set_up()
    headers = sign_in()
    client.get("/api/tasks/?token=hidden", headers=headers)
    logging.getLogger("uvicorn.error").info("from elsewhere")
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    paths = [line["path"] for line in lines if line["event"] == "request"]
    assert paths == ["/api/users/", "/api/token", "/api/tasks/"]
    assert lines[-1]["event"] == "from elsewhere"
    for secret in ("has a secret", "open sesame", "hidden", headers["Authorization"][7:]):
        assert secret not in out


def test_rebuild_says_that_there_is_no_gate(client, sign_in):
    answer = client.post("/api/admin/rebuild-frontend", headers=sign_in("adm", is_admin=True))
    assert answer.status_code == 501
    assert "hostkit deploy --only frontend" in answer.json()["detail"]


def test_rebuild_asks_the_gate_and_does_not_wait_for_the_deploy(client, sign_in, monkeypatch):
    admin = sign_in("adm", is_admin=True)
    monkeypatch.setattr(gate, "PATIENCE", 0.3)
    answers = [
        b"20300101-000000 is live\nexit 0\n",
        b"error: this is not granted\nexit 5\n",
        b"error: deploys of halext are paused\nexit 4\n",
        None,
    ]
    asked, done = [], threading.Event()

    def answer_all():
        for answer in answers:
            connection, _ = listener.accept()
            asked.append(connection.makefile("rb").readline())
            if answer is None:
                # A deploy says nothing until long after the app has stopped listening.
                done.wait(10)
                connection.close()
                continue
            with connection:
                connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(settings.gate)
        listener.listen()
        thread = threading.Thread(target=answer_all, daemon=True)
        thread.start()
        results = [client.post("/api/admin/rebuild-frontend", headers=admin) for _ in answers]
        done.set()
        thread.join()
    os.unlink(settings.gate)
    assert [result.status_code for result in results] == [202, 403, 502, 202]
    assert results[2].json()["detail"] == "deploys of halext are paused"
    assert [result.json()["state"] for result in (results[0], results[3])] == ["done", "started"]
    assert asked == [b"deploy --only frontend\n"] * 4


def test_server_status(client, sign_in):
    status = client.get("/api/admin/server/status", headers=sign_in("adm", is_admin=True)).json()
    assert status["counts"] == {"users": 1, "tasks": 0, "conversations": 0, "ai_client_nodes": 0}
    assert status["redis"] == "not used" and status["memory_mb"] > 10
