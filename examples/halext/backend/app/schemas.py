"""What may be sent to us and what we answer. Unknown fields, such as `is_admin`, are left alone."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Long = Annotated[str, StringConstraints(strip_whitespace=True, max_length=10_000)]
Username = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, to_lower=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,31}$"
    ),
]
Priority = Literal["low", "medium", "high"]
Status = Literal["todo", "in_progress", "done"]


class Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class NewUser(BaseModel):
    username: Username
    password: Annotated[str, StringConstraints(min_length=8, max_length=200)]
    email: Text | None = None
    full_name: Text | None = None


class UserOut(Row):
    id: int
    username: str
    email: str | None
    full_name: str | None
    is_admin: bool
    created_at: datetime


class NewTask(BaseModel):
    title: Text
    description: Long = ""
    priority: Priority = "medium"
    status: Status = "todo"
    due_date: datetime | None = None


class TaskChange(BaseModel):
    title: Text = None
    description: Long = None
    priority: Priority = None
    status: Status = None
    due_date: datetime | None = None


class TaskOut(Row, NewTask):
    id: int
    suggestion: str | None
    created_at: datetime


class NewEvent(BaseModel):
    title: Text
    location: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = ""
    start_time: datetime
    end_time: datetime

    @model_validator(mode="after")
    def ends_later(self):
        if self.end_time.timestamp() < self.start_time.timestamp():
            raise ValueError("the event ends before it begins")
        return self


class EventOut(Row):
    id: int
    title: str
    location: str
    start_time: datetime
    end_time: datetime


class Question(BaseModel):
    message: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]
    conversation_id: int | None = None
    model: Text | None = None


class ConversationOut(Row):
    id: int
    title: str
    updated_at: datetime


class MessageOut(Row):
    id: int
    role: str
    content: str
    model: str | None
    node: str | None
    created_at: datetime


class NewNode(BaseModel):
    name: Text
    hostname: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]
    port: int = Field(11434, ge=1, le=65535)


class NodeOut(Row):
    id: int
    name: str
    hostname: str
    port: int
    status: str
    models: list[str]
    last_response_time_ms: int | None
    last_seen_at: datetime | None
    last_error: str | None


class Key(BaseModel):
    key: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
