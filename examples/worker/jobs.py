"""The queue: a table in SQLite, in the directory that outlives a release."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

DATA = Path(__file__).parent / "data"
HEARTBEAT = DATA / "heartbeat"

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    result TEXT,
    added_at REAL NOT NULL,
    done_at REAL
)
"""


def prepare():
    with open_database() as database:
        database.execute("PRAGMA journal_mode = WAL")  # who reads does not wait for who writes
        database.execute(SCHEMA)


def add(text):
    with open_database() as database:
        row = database.execute(
            "INSERT INTO jobs (text, added_at) VALUES (?, ?) RETURNING id", [text, time.time()]
        ).fetchone()
        return row["id"]


def find(job):
    with open_database() as database:
        row = database.execute("SELECT * FROM jobs WHERE id = ?", [job]).fetchone()
        return dict(row) if row else None


def next_waiting():
    with open_database() as database:
        return database.execute(
            "SELECT id, text FROM jobs WHERE done_at IS NULL ORDER BY id LIMIT 1"
        ).fetchone()


def finish(job, result):
    with open_database() as database:
        database.execute(
            "UPDATE jobs SET result = ?, done_at = ? WHERE id = ?", [result, time.time(), job]
        )


def count():
    with open_database() as database:
        row = database.execute(
            "SELECT count(*) - count(done_at) AS waiting, count(done_at) AS done FROM jobs"
        ).fetchone()
        return dict(row)


def delete_done_before(moment):
    with open_database() as database:
        return database.execute("DELETE FROM jobs WHERE done_at < ?", [moment]).rowcount


def beat():
    HEARTBEAT.touch()


def silence():
    """Seconds since the worker was last heard of, or None if it never was."""
    try:
        return max(0, round(time.time() - HEARTBEAT.stat().st_mtime))
    except FileNotFoundError:
        return None


def open_database():
    # Autocommit: each statement is a transaction. The timeout is the wait for another writer.
    database = sqlite3.connect(DATA / "jobs.db", timeout=10, isolation_level=None)
    database.row_factory = sqlite3.Row
    return closing(database)
