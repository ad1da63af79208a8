"""The tables, as the newest migration leaves them."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from .db import Base, Moment, now


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None]
    full_name: Mapped[str | None]
    hashed_password: Mapped[str]
    is_admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    priority: Mapped[str] = mapped_column(default="medium")
    status: Mapped[str] = mapped_column(default="todo")
    suggestion: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    due_date: Mapped[datetime | None] = mapped_column(Moment)


class Event(Base):
    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    location: Mapped[str] = mapped_column(default="")
    start_time: Mapped[datetime] = mapped_column(Moment)
    end_time: Mapped[datetime] = mapped_column(Moment)


class Conversation(Base):
    __tablename__ = "conversations"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now)


class ChatMessage(Base):
    __tablename__ = "chat_messages"
    id: Mapped[int] = mapped_column(primary_key=True)
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversations.id"))
    role: Mapped[str]
    content: Mapped[str]
    model: Mapped[str | None]
    node: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)


class Node(Base):
    """A machine at somebody's home that runs Ollama."""

    __tablename__ = "ai_client_nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    hostname: Mapped[str]
    port: Mapped[int]
    status: Mapped[str] = mapped_column(default="unknown")
    models: Mapped[list[str]] = mapped_column(JSON, default=list)
    last_response_time_ms: Mapped[int | None]
    last_seen_at: Mapped[datetime | None] = mapped_column(Moment)
    last_error: Mapped[str | None]
    offline_since: Mapped[datetime | None] = mapped_column(Moment)
    alerted: Mapped[bool] = mapped_column(default=False)

    @property
    def url(self) -> str:
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"http://{host}:{self.port}"


class ApiKey(Base):
    __tablename__ = "api_keys"
    provider: Mapped[str] = mapped_column(primary_key=True)
    encrypted_key: Mapped[str]
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now)
