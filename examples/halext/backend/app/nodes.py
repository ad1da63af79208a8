"""The register of AI nodes, and the loop that looks after them."""

import asyncio
import time
from datetime import timedelta

import httpx
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from . import metrics
from .db import now, session
from .log import event
from .models import Node
from .settings import settings

PATIENCE = 5  # seconds for a node to say which models it has
ALERT_AFTER = timedelta(minutes=5)


def listed() -> list[Node]:
    with session() as db:
        return list(db.scalars(select(Node).order_by(Node.name)))


async def models_of(http: httpx.AsyncClient, url: str) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        answer = await http.get(f"{url}/api/tags")
    return [str(model["name"]) for model in answer.raise_for_status().json()["models"]]


async def check(http: httpx.AsyncClient, node: Node) -> Node | None:
    """Asks a node for its models and writes down how that went. None: it was removed meanwhile."""
    begun, models, error = time.monotonic(), None, None
    try:
        models = await models_of(http, node.url)
    except TimeoutError:
        error = f"no answer within {PATIENCE} s"
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as failure:
        error = str(failure)[:200] or type(failure).__name__
    ms = round((time.monotonic() - begun) * 1000)
    return await run_in_threadpool(write_down, node.id, models, error, ms)


def write_down(node_id: int, models: list[str] | None, error: str | None, ms: int) -> Node | None:
    with session() as db:
        node = db.get(Node, node_id, with_for_update=True)
        if node is None:
            return None
        before = node.status
        node.last_error = error
        if models is None:
            node.status = "offline"
            node.offline_since = node.offline_since or now()
        else:
            node.status, node.models = "online", models
            node.last_response_time_ms, node.last_seen_at = ms, now()
            node.offline_since, node.alerted = None, False
        db.commit()
    if node.status != before:
        event("node_status", node=node.name, status=node.status, reason=error)
    return node


def due_alerts() -> list[Node]:
    """Nodes that are offline for long and of which nobody was told: each is returned once."""
    with session() as db:
        due = db.scalars(
            select(Node)
            .where(Node.offline_since < now() - ALERT_AFTER, Node.alerted.is_(False))
            .with_for_update(skip_locked=True)
        ).all()
        for node in due:
            node.alerted = True
        db.commit()
        return list(due)


async def alert(http: httpx.AsyncClient):
    for node in await run_in_threadpool(due_alerts):
        text = f"Halext: node {node.name} is offline since {node.offline_since:%Y-%m-%d %H:%M} UTC"
        event("node_alert", node=node.name, since=node.offline_since)
        if settings.webhook:
            try:
                # Slack reads "text", Discord "content".
                await http.post(settings.webhook, json={"text": text, "content": text})
            except httpx.HTTPError as error:
                event("webhook_failed", reason=type(error).__name__)


async def check_all(http: httpx.AsyncClient) -> list[Node]:
    known = await run_in_threadpool(listed)
    checked = await asyncio.gather(*(check(http, node) for node in known))
    return [node for node in checked if node]


async def watch(http: httpx.AsyncClient):
    while True:
        try:
            await check_all(http)
            await alert(http)
        except SQLAlchemyError as error:
            event("watch_failed", reason=type(error).__name__)
        await asyncio.sleep(settings.check_seconds)


def measure():
    """For the scrape: a node that was removed leaves no figure behind."""
    metrics.NODES.clear()
    for node in listed():
        metrics.NODES.labels(node.name).set(node.status == "online")
