"""For administrators: nodes, keys of providers, the state of the server."""

import os
import time

from fastapi import APIRouter, Depends, HTTPException
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError

from . import cache, gate, gateway, nodes
from .auth import get_current_admin_user
from .db import engine, now, session
from .models import ApiKey, Conversation, Node, Task, User
from .routes import added
from .schemas import Key, NewNode, NodeOut
from .settings import settings
from .version import VERSION

router = APIRouter(prefix="/api/admin", dependencies=[Depends(get_current_admin_user)])
STARTED = time.time()


@router.get("/ai-clients")
def list_nodes() -> list[NodeOut]:
    return nodes.listed()


@router.post("/ai-clients", status_code=201)
async def add_node(new: NewNode) -> NodeOut:
    try:
        node = await run_in_threadpool(added, Node(**new.model_dump(), models=[]))
    except IntegrityError:
        raise HTTPException(409, "There is a node with this name, or at this address")
    return await nodes.check(gateway.http, node) or node


def known(node_id: int) -> Node:
    with session() as db:
        if node := db.get(Node, node_id):
            return node
    raise HTTPException(404, "No such node")


@router.delete("/ai-clients/{node_id}", status_code=204)
def remove_node(node_id: int):
    with session() as db:
        db.delete(known(node_id))
        db.commit()


@router.post("/ai-clients/health-check-all")
async def check_all() -> list[NodeOut]:
    return await nodes.check_all(gateway.http)


@router.post("/ai-clients/{node_id}/test")
async def test_node(node_id: int) -> NodeOut:
    node = await run_in_threadpool(known, node_id)
    gateway.shunned.pop(node_id, None)
    return await nodes.check(gateway.http, node) or node


@router.get("/ai-clients/{node_id}/models")
def models_of_node(node_id: int) -> dict:
    return {"models": known(node_id).models}


@router.get("/api-keys")
def api_keys() -> list[dict]:
    """Which there are. The keys themselves are shown to nobody."""
    with session() as db:
        rows = db.scalars(select(ApiKey).order_by(ApiKey.provider)).all()
    return [{"provider": row.provider, "updated_at": row.updated_at} for row in rows]


@router.put("/api-keys/{provider}", status_code=204)
def put_api_key(provider: str, new: Key):
    if provider != "openwebui":
        raise HTTPException(404, "Only openwebui takes a key")
    encrypted = gateway.encrypt(new.key)
    with session() as db:
        db.merge(ApiKey(provider=provider, encrypted_key=encrypted, updated_at=now()))
        db.commit()


@router.delete("/api-keys/{provider}", status_code=204)
def delete_api_key(provider: str):
    with session() as db:
        db.execute(delete(ApiKey).where(ApiKey.provider == provider))
        db.commit()


def memory_mb() -> float | None:
    try:
        with open("/proc/self/statm") as statm:
            return round(int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
    except OSError:
        return None


def database() -> dict:
    with session() as db:
        begun = time.perf_counter()
        db.execute(text("SELECT 1"))
        ms = round((time.perf_counter() - begun) * 1000, 1)
        counts = {
            kind.__tablename__: db.scalar(select(func.count()).select_from(kind))
            for kind in (User, Task, Conversation, Node)
        }
    return {"database": {"kind": engine.dialect.name, "ms": ms}, "counts": counts}


@router.get("/server/status")
async def server_status() -> dict:
    return {
        "version": VERSION,
        "uptime_seconds": round(time.time() - STARTED),
        "memory_mb": memory_mb(),
        "load": round(os.getloadavg()[0], 2),
        "redis": await cache.state(),
        "provider": settings.provider,
        **await run_in_threadpool(database),
    }


@router.post("/rebuild-frontend", status_code=202)
async def rebuild_frontend() -> dict:
    return await gate.rebuild_frontend()
