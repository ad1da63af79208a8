"""Halext: `uvicorn app.main:app`."""

import asyncio
from contextlib import asynccontextmanager, suppress

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolIsEmpty

from . import admin, chat, gateway, log, metrics, nodes, routes
from .auth import CurrentUser
from .settings import settings
from .version import VERSION

log.set_up()


@asynccontextmanager
async def lifespan(_):
    # As many as there are connections: more would only wait for one, and for each other.
    to_thread.current_default_thread_limiter().total_tokens = 10
    watch = asyncio.create_task(nodes.watch(gateway.http))
    log.event("started", version=VERSION, provider=settings.provider)
    yield
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    await chat.settle(3)
    await gateway.http.aclose()
    log.event("stopped")


app = FastAPI(
    title="Halext",
    version=VERSION,
    lifespan=lifespan,
    docs_url="/api/docs",
    openapi_url="/api/openapi.json",
)
app.add_middleware(metrics.Measure)
app.include_router(routes.router)
app.include_router(chat.router)
app.include_router(chat.sockets)
app.include_router(admin.router)


@app.exception_handler(OperationalError)
@app.exception_handler(InterfaceError)
@app.exception_handler(PoolIsEmpty)
def database_is_away(_: Request, error: SQLAlchemyError):
    log.event("database_away", reason=type(error).__name__)
    return JSONResponse({"detail": "The database is away"}, 503)


@app.get("/api/integrations/openwebui")
def openwebui(_: CurrentUser) -> dict:
    return {"enabled": settings.provider == "openwebui", "url": settings.openwebui_url or None}


@app.get("/metrics")
def prometheus(request: Request) -> Response:
    """For a scraper on this machine. What comes through the web server has been forwarded."""
    is_local = request.client and request.client.host in ("127.0.0.1", "::1", "testclient")
    if not is_local or "x-forwarded-for" in request.headers:
        return Response("loopback only\n", 403)
    with suppress(SQLAlchemyError):
        nodes.measure()
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
