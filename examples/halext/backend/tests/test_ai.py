import asyncio
import json
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from app import cache, chat, db, gateway, nodes
from app.models import Node, User
from app.schemas import Question
from conftest import said, stream
from sqlalchemy import select, text
from starlette.websockets import WebSocketDisconnect


def node(id, ms, status="online", models=("llama3",)):
    return Node(id=id, status=status, models=list(models), last_response_time_ms=ms)


def test_the_fastest_node_that_is_online_and_has_the_model_is_best():
    known = [
        node(1, 90),
        node(2, 5, status="offline"),
        node(3, 20, models=["phi3"]),
        node(4, 40),
        node(5, None),
        node(6, 1, models=[]),
    ]
    best = gateway.select_best_node
    assert best(known, "llama3").id == 4
    assert best(known, "phi3").id == 3
    assert best(known, None).id == 3
    assert best(known, "llama3", {4}).id == 1
    assert best(known, "llama3", {4, 1}).id == 5
    assert best(known, "gpt") is None
    # One that failed lately is asked after those that did not, but before nobody is.
    gateway.shunned[4] = time.monotonic() + 60
    assert best(known, "llama3").id == 1
    assert best(known, "llama3", {1, 5}).id == 4


def test_an_answer_is_streamed_and_remembered(client, sign_in, add_node):
    add_node("slow", ms=500)
    add_node("fast", ms=10)
    ann, bob = sign_in("ann"), sign_in("bob")
    events = stream(client, ann, "good morning")
    kinds = [kind for kind, _ in events]
    assert kinds == ["start", "node", *["token"] * 6, "done"]
    assert said(events) == "fast with llama3 heard: good morning "
    done = events[-1][1]
    assert (done["node"], done["model"], done["cached"]) == ("fast", "llama3", False)
    id = events[0][1]["conversation_id"]
    path = f"/api/conversations/{id}/messages"
    rows = client.get(path, headers=ann).json()
    assert [(row["role"], row["node"]) for row in rows] == [("user", None), ("assistant", "fast")]
    assert client.get(path, headers=bob).status_code == 404
    intrusion = {"message": "x", "conversation_id": id}
    assert client.post("/api/chat", json=intrusion, headers=bob).status_code == 404
    [conversation] = client.get("/api/conversations/", headers=ann).json()
    assert conversation["title"] == "good morning"
    assert client.delete(f"/api/conversations/{id}", headers=bob).status_code == 404
    assert client.delete(f"/api/conversations/{id}", headers=ann).status_code == 204
    assert client.get(path, headers=ann).status_code == 404


def test_the_ai_is_told_what_was_said_before(client, sign_in, monkeypatch):
    prompts = []

    async def listen(prompt, model):
        prompts.append(prompt)
        yield "node", {"node": "x", "model": "m"}
        yield "token", {"text": "I see"}
        yield "done", {"node": "x", "model": "m"}

    monkeypatch.setattr(gateway, "ask", listen)
    ann = sign_in()
    id = stream(client, ann, "I am Ann")[0][1]["conversation_id"]
    stream(client, ann, "Who am I?", conversation_id=id)
    assert prompts[1] == "user: I am Ann\nassistant: I see\nuser: Who am I?\nassistant: "


@pytest.mark.parametrize("fault", [["--hang"], ["--breaks", "2"]])
def test_a_node_that_fails_is_followed_by_the_next(client, sign_in, add_node, fault):
    bad = add_node("bad", *fault, ms=1)
    add_node("good", ms=100)
    ann = sign_in()
    begun = time.monotonic()
    events = stream(client, ann, "anybody?")
    assert [data["node"] for kind, data in events if kind == "node"] == ["bad", "good"]
    assert ("reset", "bad") in [(kind, data.get("node")) for kind, data in events]
    assert said(events) == "good with llama3 heard: anybody? "
    assert time.monotonic() - begun < 5
    # What the first one had begun to say is not kept.
    path = f"/api/conversations/{events[0][1]['conversation_id']}/messages"
    assert client.get(path, headers=ann).json()[-1]["content"] == said(events)
    # And the next question does not wait for it again, also when its next check goes well.
    stream(client, ann, "and now?")
    client.post("/api/admin/ai-clients/health-check-all", headers=bad.headers)
    stream(client, ann, "and then?")
    assert bad.asked == 1


def test_a_node_that_hangs_is_offline_until_its_next_check(client, sign_in, add_node):
    bad, ann = add_node("bad", "--hang"), sign_in()
    assert stream(client, ann, "hello?")[-1][1]["node"] == "mock"
    [seen] = client.get("/api/admin/ai-clients", headers=bad.headers).json()
    assert (seen["status"], seen["last_error"]) == ("offline", "silent for 0.5 s")
    stream(client, ann, "hello again?")
    assert bad.asked == 1


def test_a_stopped_node_goes_offline_and_the_mock_answers(client, sign_in, add_node):
    mac = add_node("mac")
    mac.shutdown()
    mac.server_close()
    ann = sign_in()
    assert client.get("/api/ai/models", headers=ann).json() == {"models": ["llama3", "mock"]}
    events = stream(client, ann, "hello?")
    assert [data["node"] for kind, data in events if kind == "node"] == ["mac", "mock"]
    assert said(events).endswith("this is the mock. You said: hello? ")
    [seen] = client.get("/api/admin/ai-clients", headers=mac.headers).json()
    assert seen["status"] == "offline"
    assert client.get("/api/ai/models", headers=ann).json() == {"models": ["mock"]}


def test_only_the_mock_has_an_unknown_model(client, sign_in, add_node):
    mac = add_node("mac")
    events = stream(client, sign_in(), "hi", model="gpt-9")
    assert events[-1][1]["node"] == "mock" and mac.asked == 0


def test_nodes_are_added_tested_and_removed(client, add_node, start_node):
    mac = add_node("mac", "--models", "llama3,phi3")
    admin, path = mac.headers, f"/api/admin/ai-clients/{mac.node['id']}"
    assert (mac.node["status"], mac.node["models"]) == ("online", ["llama3", "phi3"])
    twice = {"name": "mac", "hostname": "127.0.0.1", "port": 9}
    assert client.post("/api/admin/ai-clients", json=twice, headers=admin).status_code == 409
    wrong = {"name": "w", "hostname": "a/b@c", "port": 9}
    assert client.post("/api/admin/ai-clients", json=wrong, headers=admin).status_code == 422
    mac.how.allow = "203.0.113.9"
    tested = client.post(f"{path}/test", headers=admin).json()
    assert tested["status"] == "offline" and "403" in tested["last_error"]
    mac.how.allow, mac.how.models = "", "phi3"
    [checked] = client.post("/api/admin/ai-clients/health-check-all", headers=admin).json()
    assert (checked["status"], checked["models"]) == ("online", ["phi3"])
    assert client.get(f"{path}/models", headers=admin).json() == {"models": ["phi3"]}
    assert client.delete(path, headers=admin).status_code == 204
    assert client.post(f"{path}/test", headers=admin).status_code == 404


def test_a_node_that_lists_no_models_in_time_is_offline(client, add_node, monkeypatch):
    monkeypatch.setattr(nodes, "PATIENCE", 0.2)
    assert add_node("sleepy", "--slow", "2").node["status"] == "offline"


def test_an_alert_is_sent_once(client, add_node):
    mac, told = add_node("mac"), []

    class Http:
        async def post(self, url, json):
            told.append(json["text"])

    object.__setattr__(nodes.settings, "webhook", "http://example/hook")
    for minutes, expected in [(4, 0), (6, 1), (7, 1)]:
        with db.session() as session:
            row = session.get(Node, mac.node["id"])
            row.offline_since = db.now() - timedelta(minutes=minutes)
            session.commit()
        asyncio.run(nodes.alert(Http()))
        assert len(told) == expected
    assert "node mac is offline" in told[0]
    object.__setattr__(nodes.settings, "webhook", "")


def test_api_keys_are_encrypted_and_never_shown(client, sign_in):
    admin, key = sign_in("adm", is_admin=True), "sk-very-secret"
    path = "/api/admin/api-keys/openwebui"
    assert client.put(path, json={"key": key}, headers=admin).status_code == 204
    assert key not in client.get("/api/admin/api-keys", headers=admin).text
    with db.engine.connect() as connection:
        [row] = connection.execute(text("SELECT * FROM api_keys")).mappings()
    assert key not in str(dict(row))
    assert gateway.fernet.decrypt(row["encrypted_key"]).decode() == key
    header = asyncio.run(gateway.key_header("openwebui"))
    assert header == {"Authorization": f"Bearer {key}"}
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get("/api/admin/api-keys", headers=admin).json() == []


class OpenWebUi(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, body: bytes):
        status = 200 if self.headers["Authorization"] == "Bearer sk-1" else 401
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(json.dumps({"data": [{"id": "qwen"}]}).encode())

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        parts = [{"choices": [{"delta": {"content": word}}]} for word in ("from ", "the web")]
        lines = [f"data: {json.dumps(part)}\n\n".encode() for part in parts]
        self.reply(b"".join(lines) + b"data: [DONE]\n\n")


@pytest.mark.parametrize("provider", ["ollama", "openwebui"])
def test_the_provider_answers_when_no_node_does(client, sign_in, start_node, provider):
    admin = sign_in("adm", is_admin=True)
    webui = HTTPServer(("127.0.0.1", 0), OpenWebUi)
    threading.Thread(target=webui.serve_forever, daemon=True).start()
    server = webui if provider == "openwebui" else start_node("--name", "box")
    url = f"http://127.0.0.1:{server.server_port}"
    object.__setattr__(gateway.settings, "provider", provider)
    object.__setattr__(gateway.settings, f"{provider}_url", url)
    try:
        put = client.put("/api/admin/api-keys/openwebui", json={"key": "sk-1"}, headers=admin)
        assert put.status_code == 204
        assert len(client.get("/api/ai/models", headers=admin).json()["models"]) == 2
        events = stream(client, admin, "hi")
        assert events[-1][1]["node"] == provider
        assert said(events) in ("from the web", "box with llama3 heard: hi ")
    finally:
        object.__setattr__(gateway.settings, "provider", "mock")
        webui.shutdown()
        webui.server_close()


class KeptInADict:
    def __init__(self):
        self.rows = {}

    async def get(self, key):
        return self.rows.get(key)

    async def setex(self, key, seconds, value):
        self.rows[key] = value


def test_the_same_question_is_answered_from_the_cache(client, sign_in, add_node, monkeypatch):
    monkeypatch.setattr(cache, "redis", KeptInADict())
    mac, ann = add_node("mac"), sign_in()
    answers = [stream(client, ann, "twice") for _ in range(2)]
    assert [said(events) for events in answers] == ["mac with llama3 heard: twice "] * 2
    assert [events[-1][1]["cached"] for events in answers] == [False, True]
    assert mac.asked == 1


def test_all_works_while_redis_is_away(client, sign_in, monkeypatch):
    away = cache.Redis.from_url("redis://127.0.0.1:1/1", socket_connect_timeout=0.2)
    monkeypatch.setattr(cache, "redis", away)
    monkeypatch.setattr(cache, "resting_until", 0.0)
    admin = sign_in("adm", is_admin=True)
    assert stream(client, admin, "hi")[-1][1]["node"] == "mock"
    status = client.get("/api/admin/server/status", headers=admin).json()
    assert status["redis"] == "away"


def test_a_websocket_hears_what_is_said_in_its_conversation(client, sign_in, add_node):
    add_node("mac")
    ann, bob = sign_in("ann"), sign_in("bob")
    id = stream(client, ann, "first")[0][1]["conversation_id"]

    def connect(headers):
        token = headers.get("Authorization", "Bearer ")[7:]
        return client.websocket_connect(f"/ws/{id}", subprotocols=["bearer", token])

    for stranger in (bob, {}, {"Authorization": "Bearer nonsense"}):
        with pytest.raises(WebSocketDisconnect), connect(stranger):
            pass
    with connect(ann) as socket:
        assert socket.accepted_subprotocol == "bearer"
        socket.send_text("ping")
        assert socket.receive_json() == {"type": "pong"}
        stream(client, ann, "second", conversation_id=id)
        heard = [socket.receive_json()["message"] for _ in range(2)]
    assert [message["content"] for message in heard] == ["second", "mac with llama3 heard: second "]


def test_what_was_said_before_a_stream_was_cut_is_kept(client, sign_in, monkeypatch):
    async def endless(prompt, model):
        yield "node", {"node": "mac", "model": "llama3"}
        while True:
            yield "token", {"text": "on and "}
            await asyncio.sleep(0.01)

    async def cut():
        async def read():
            async for _ in chat.answer(asked, prompt, None):
                pass

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        reader.cancel()
        await chat.settle(5)

    ann = sign_in()
    monkeypatch.setattr(gateway, "ask", endless)
    with db.session() as session:
        user = session.scalar(select(User).where(User.username == "ann"))
    asked, prompt = chat.begin(Question(message="go on"), user)
    asyncio.run(cut())
    path = f"/api/conversations/{asked.conversation_id}/messages"
    [_, kept] = client.get(path, headers=ann).json()
    assert kept["content"].startswith("on and on and ") and kept["node"] == "mac"
    assert not chat.unfinished
