"""Numbered migrations: `python -m app.migrate` applies those that the database lacks."""

from pathlib import Path

from sqlalchemy import text

from .db import SQLITE, engine, now

FILES = sorted((Path(__file__).parent / "migrations").glob("[0-9]*.sql"))
LOCK = 0x68616C65  # any number, as long as it is always this one


def statements(file: Path) -> list[str]:
    lines = [line for line in file.read_text().splitlines() if not line.startswith("--")]
    sql = "\n".join(lines)
    if SQLITE:
        sql = sql.replace("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "INTEGER PRIMARY KEY")
    return [part for part in sql.split(";") if part.strip()]


def missing(connection) -> list[Path]:
    done = set(connection.scalars(text("SELECT name FROM schema_migrations")))
    return [file for file in FILES if file.stem not in done]


def migrate() -> list[str]:
    """All in one transaction and one at a time. Returns the names of what was applied."""
    with engine.begin() as connection:
        if not SQLITE:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            # Behind a table that is in use, give up: those who wait behind us are visitors.
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS schema_migrations"
                " (name TEXT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL)"
            )
        )
        files = missing(connection)
        for file in files:
            for statement in statements(file):
                connection.exec_driver_sql(statement)
            connection.execute(
                text("INSERT INTO schema_migrations VALUES (:name, :at)"),
                {"name": file.stem, "at": now().isoformat()},
            )
    return [file.stem for file in files]


if __name__ == "__main__":
    print("applied:", ", ".join(migrate()) or "nothing, the database is up to date")
