"""Where all questions to an AI pass: home nodes first, then the provider, and mock at last."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
from cryptography.fernet import Fernet, InvalidToken
from fastapi.concurrency import run_in_threadpool

from . import cache, metrics, nodes
from .db import session
from .log import event
from .models import ApiKey, Node
from .settings import settings

LONGEST = 300  # seconds that one answer may take
SHUN = 300  # seconds in which a node that failed comes last
fernet = Fernet(settings.encryption_key)
shunned: dict[int, float] = {}



def new_client() -> httpx.AsyncClient:
    patience = httpx.Timeout(10, connect=3, read=settings.answer_seconds)
    return httpx.AsyncClient(timeout=patience, trust_env=False)


http = new_client()


class Failed(Exception):
    """Who was asked answered, but with nothing to show."""


@dataclass
class Source:
    kind: str  # node, ollama, openwebui, mock
    name: str
    model: str
    url: str = ""
    node_id: int | None = None


def select_best_node(
    all_nodes: list[Node], model: str | None, tried: set[int] = frozenset()
) -> Node | None:
    """The fastest that is online and has the model; one that failed lately only if no other has."""
    fit = [
        node
        for node in all_nodes
        if node.id not in tried
        and node.status == "online"
        and node.models
        and (model is None or model in node.models)
    ]
    late = time.monotonic()
    return min(
        fit,
        key=lambda node: (
            shunned.get(node.id, 0) > late,
            node.last_response_time_ms if node.last_response_time_ms is not None else 10**9,
            node.id,
        ),
        default=None,
    )


async def sources(model: str | None) -> AsyncIterator[Source]:
    """Whom to ask, one after the other. The last one always answers."""
    all_nodes, tried = await run_in_threadpool(nodes.listed), set()
    while node := select_best_node(all_nodes, model, tried):
        tried.add(node.id)
        yield Source("node", node.name, model or node.models[0], node.url, node.id)
    if settings.provider != "mock":
        models = await provider_models()
        if models and (model is None or model in models):
            url = settings.ollama_url if settings.provider == "ollama" else settings.openwebui_url
            yield Source(settings.provider, settings.provider, model or models[0], url)
    yield Source("mock", "mock", "mock")


async def lines(url: str, body: dict, headers: dict | None = None) -> AsyncIterator[str]:
    """The lines of a streamed answer. Gives up on one that drips or never ends a line."""
    deadline, rest = time.monotonic() + LONGEST, b""
    async with http.stream("POST", url, json=body, headers=headers) as response:
        if response.status_code != 200:
            raise Failed(f"status {response.status_code}")
        async for chunk in response.aiter_bytes():
            *whole, rest = (rest + chunk).split(b"\n")
            if time.monotonic() > deadline or len(rest) > 2**20:
                raise Failed("the answer has no end")
            for line in whole:
                yield line.decode(errors="replace").strip()
    yield rest.decode(errors="replace").strip()


async def ollama(source: Source, prompt: str) -> AsyncIterator[str]:
    body = {"model": source.model, "prompt": prompt, "stream": True}
    async for line in lines(f"{source.url}/api/generate", body):
        piece = json.loads(line or "{}")
        if piece.get("error"):
            raise Failed(str(piece["error"])[:200])
        if piece.get("response"):
            yield piece["response"]
        if piece.get("done"):
            return
    raise Failed("the answer broke off")


async def openwebui(source: Source, prompt: str) -> AsyncIterator[str]:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": source.model, "messages": messages, "stream": True}
    headers = await key_header("openwebui")
    async for line in lines(f"{source.url}/api/chat/completions", body, headers):
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        choices = json.loads(data or "{}").get("choices") or [{}]
        if token := choices[0].get("delta", {}).get("content"):
            yield token
    raise Failed("the answer broke off")


async def mock(_: Source, prompt: str) -> AsyncIterator[str]:
    asked = prompt.rsplit("user: ", 1)[-1].split("\n", 1)[0][:200]
    for word in f"No AI node can answer now, so this is the mock. You said: {asked}".split(" "):
        await asyncio.sleep(0.02)
        yield f"{word} "


ASK = {"node": ollama, "ollama": ollama, "openwebui": openwebui, "mock": mock}


async def ask(prompt: str, model: str | None) -> AsyncIterator[tuple[str, dict]]:
    """`node` (who is asked), `token`s, `reset` (that one failed, forget its tokens), `done`."""
    key = "answer:" + hashlib.sha256(json.dumps([model, prompt]).encode()).hexdigest()
    if kept := await cache.get(key):
        yield "node", {"node": kept["node"], "model": kept["model"]}
        yield "token", {"text": kept["text"]}
        yield "done", {**kept, "cached": True}
        return
    async for source in sources(model):
        text, begun = "", time.monotonic()
        yield "node", {"node": source.name, "model": source.model}
        try:
            async for token in ASK[source.kind](source, prompt):
                text += token
                yield "token", {"text": token}
            if not text.strip():
                raise Failed("the answer was empty")
        except (httpx.HTTPError, Failed, ValueError, AttributeError) as error:
            reason = str(error)[:200] or type(error).__name__
            if isinstance(error, httpx.ReadTimeout):
                reason = f"silent for {settings.answer_seconds:g} s"
            event("ai_failed", node=source.name, model=source.model, reason=reason)
            if source.node_id is not None:
                shunned[source.node_id] = time.monotonic() + SHUN
                # Not asked again until it passes its next check.
                if isinstance(error, httpx.TransportError):
                    await run_in_threadpool(nodes.write_down, source.node_id, None, reason, 0)
            yield "reset", {"node": source.name, "reason": reason}
            continue
        ms = round((time.monotonic() - begun) * 1000)
        metrics.MODELS.labels(source.kind, source.model).inc()
        event("ai_request", type=source.kind, node=source.name, model=source.model, ms=ms)
        done = {"node": source.name, "model": source.model, "ms": ms, "text": text}
        if source.kind != "mock":
            await cache.keep(key, done, cache.ANSWER)
        yield "done", {**done, "cached": False}
        return


async def whole(prompt: str, model: str | None = None) -> dict:
    return [data async for kind, data in ask(prompt, model) if kind == "done"][0]


def encrypt(key: str) -> str:
    return fernet.encrypt(key.encode()).decode()


async def key_header(provider: str) -> dict:
    def stored():
        with session() as db:
            row = db.get(ApiKey, provider)
            return row and row.encrypted_key

    encrypted = await run_in_threadpool(stored)
    try:
        key = fernet.decrypt(encrypted).decode() if encrypted else ""
    except InvalidToken:
        raise Failed(f"the key of {provider} was encrypted with another API_KEY_ENCRYPTION_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}


async def provider_models() -> list[str]:
    if settings.provider == "mock":
        return []
    key = f"models:{settings.provider}"
    if kept := await cache.get(key):
        return kept
    try:
        if settings.provider == "ollama":
            found = await nodes.models_of(http, settings.ollama_url)
        else:
            headers = await key_header("openwebui")
            answer = await http.get(f"{settings.openwebui_url}/api/models", headers=headers)
            found = [str(model["id"]) for model in answer.raise_for_status().json()["data"]]
    except (httpx.HTTPError, Failed, ValueError, KeyError, TypeError) as error:
        event("provider_away", provider=settings.provider, reason=str(error))
        return []
    await cache.keep(key, found, cache.MODELS)
    return found
