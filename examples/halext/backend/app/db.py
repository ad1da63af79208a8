"""The connection to PostgreSQL (in development also SQLite)."""

from datetime import UTC, datetime

from sqlalchemy import DateTime, TypeDecorator, create_engine, event
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from .settings import settings

SQLITE = settings.database_url.startswith("sqlite")


def options() -> dict:
    if SQLITE:
        return {"connect_args": {"check_same_thread": False}}
    # Two releases run side by side during a deploy, so ten connections can be twenty.
    size = {"pool_size": 5, "max_overflow": 5, "pool_timeout": 10, "pool_pre_ping": True}
    return size | {"connect_args": {"connect_timeout": 3, "application_name": "halext"}}


engine = create_engine(settings.database_url, **options())
# Opened and closed within one function, so that nobody holds a connection while waiting for
# something else: for a thread, for a node, or for a reader of a stream.
session = sessionmaker(engine, expire_on_commit=False)

if SQLITE:

    @event.listens_for(engine, "connect")
    def keep_foreign_keys(connection, _):
        connection.execute("PRAGMA foreign_keys = ON")


class Base(DeclarativeBase):
    pass


class Moment(TypeDecorator):
    """A time in UTC. SQLite forgets the zone, so it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect):
        if value is not None and value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        return value and value.astimezone(UTC)

    def process_result_value(self, value, dialect):
        if value is not None and value.tzinfo is None:
            value = value.replace(tzinfo=UTC)
        return value and value.astimezone(UTC)


def now() -> datetime:
    return datetime.now(UTC)
