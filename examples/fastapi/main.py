"""Notes in PostgreSQL, over HTTP."""

import os
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from psycopg import OperationalError
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, StringConstraints

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()

# Opened later, and without waiting: the project also starts while the database is away.
# Two releases run side by side while one replaces the other, so five connections can be ten.
pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    kwargs={"row_factory": dict_row, "connect_timeout": 3},
    open=False,
    min_size=1,
    max_size=5,
    timeout=3,
    reconnect_timeout=5,
    check=AsyncConnectionPool.check_connection,
)


@asynccontextmanager
async def lifespan(_):
    await pool.open()
    yield
    await pool.close()


app = FastAPI(title="Notes", version=VERSION, lifespan=lifespan)


@app.exception_handler(OperationalError)
async def database_is_away(*_):
    return JSONResponse({"detail": "the database is away"}, 503)


class NewNote(BaseModel):
    text: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class Note(BaseModel):
    id: int
    text: str
    created_at: datetime


@app.get("/")
async def index():
    return {"name": os.environ.get("PROJECT_NAME", "notes"), "version": VERSION}


@app.get("/health")
async def health():
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")
    return {"status": "ok", "version": VERSION}


@app.post("/notes", status_code=201)
async def add_note(note: NewNote) -> Note:
    async with pool.connection() as connection:
        rows = await connection.execute(
            "INSERT INTO notes (text) VALUES (%s) RETURNING id, text, created_at", [note.text]
        )
        return Note(**await rows.fetchone())


@app.get("/notes")
async def latest_notes() -> list[Note]:
    async with pool.connection() as connection:
        rows = await connection.execute(
            "SELECT id, text, created_at FROM notes ORDER BY id DESC LIMIT 50"
        )
        return [Note(**row) for row in await rows.fetchall()]
