"""Accounts, tasks and events."""

import os
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordRequestForm
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from . import auth, gateway, migrate
from .auth import CurrentUser
from .db import engine, session
from .models import Event, Task, User
from .schemas import EventOut, NewEvent, NewTask, NewUser, TaskChange, TaskOut, UserOut
from .settings import settings
from .version import VERSION

router = APIRouter(prefix="/api")
Form = Annotated[OAuth2PasswordRequestForm, Depends()]


@router.get("/health")
def health():
    """Healthy means that requests can be served: the database is there and has our tables."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        if missing := migrate.missing(connection):
            raise HTTPException(503, f"{len(missing)} migrations are not applied")
    return {"status": "ok", "version": VERSION}


@router.get("/version")
def version():
    return {"name": "halext", "version": VERSION, "release": os.environ.get("HOSTKIT_RELEASE")}


def shown(user: User) -> UserOut:
    return UserOut.model_validate(user).model_copy(update={"is_admin": auth.is_admin(user)})


@router.post("/users/", dependencies=[Depends(auth.access_code)])
async def register(new: NewUser) -> UserOut:
    # A name that makes an administrator is not for the first who comes.
    if new.username in settings.admins:
        raise HTTPException(403, "This name is kept for the administrator of this server")
    hashed = await auth.in_turn(auth.hash_password, new.password)
    user = User(**new.model_dump(exclude={"password"}), hashed_password=hashed, is_admin=False)
    try:
        return shown(await run_in_threadpool(added, user))
    except IntegrityError:
        raise HTTPException(409, "This name is taken")


@router.post("/token", dependencies=[Depends(auth.access_code)])
async def token(form: Form) -> dict:
    user = await auth.sign_in(form.username, form.password)
    return {"access_token": auth.make_token(user), "token_type": "bearer"}


@router.get("/users/me/")
def me(user: CurrentUser) -> UserOut:
    return shown(user)


@router.get("/auth/introspect")
def introspect(user: CurrentUser) -> dict:
    """For other sites that take our accounts: 200 or 401, as nginx's `auth_request` wants it."""
    return {"active": True, "username": user.username, "is_admin": auth.is_admin(user)}


def added(row):
    with session() as db:
        db.add(row)
        db.commit()
        return row


def mine(db, kind, row_id: int, user: User):
    row = db.get(kind, row_id)
    if row is None or row.owner_id != user.id:
        raise HTTPException(404, f"No such {kind.__name__.lower()}")
    return row


@router.get("/tasks/")
def tasks(user: CurrentUser) -> list[TaskOut]:
    of_mine = select(Task).where(Task.owner_id == user.id).order_by(Task.id.desc())
    with session() as db:
        return db.scalars(of_mine).all()


@router.post("/tasks/", status_code=201)
def add_task(new: NewTask, user: CurrentUser) -> TaskOut:
    return added(Task(**new.model_dump(), owner_id=user.id))


@router.put("/tasks/{task_id}")
def change_task(task_id: int, change: TaskChange, user: CurrentUser) -> TaskOut:
    with session() as db:
        task = mine(db, Task, task_id, user)
        for name, value in change.model_dump(exclude_unset=True).items():
            setattr(task, name, value)
        db.commit()
        return task


@router.delete("/tasks/{task_id}", status_code=204)
def delete_task(task_id: int, user: CurrentUser):
    with session() as db:
        db.delete(mine(db, Task, task_id, user))
        db.commit()


@router.post("/tasks/{task_id}/suggest")
async def suggest(task_id: int, user: CurrentUser) -> TaskOut:
    """Steps towards a task, by the AI. It may take a minute."""

    def find():
        with session() as db:
            return mine(db, Task, task_id, user)

    def write_down(suggestion: str):
        with session() as db:
            task = mine(db, Task, task_id, user)
            task.suggestion = suggestion
            db.commit()
            return task

    task = await run_in_threadpool(find)
    prompt = f"user: Name three short steps to get this done: {task.title}. {task.description}"
    answer = await gateway.whole(prompt)
    return await run_in_threadpool(write_down, answer["text"].strip())


@router.get("/events/")
def events(user: CurrentUser) -> list[EventOut]:
    of_mine = select(Event).where(Event.owner_id == user.id).order_by(Event.start_time)
    with session() as db:
        return db.scalars(of_mine).all()


@router.post("/events/", status_code=201)
def add_event(new: NewEvent, user: CurrentUser) -> EventOut:
    return added(Event(**new.model_dump(), owner_id=user.id))


@router.delete("/events/{event_id}", status_code=204)
def delete_event(event_id: int, user: CurrentUser):
    with session() as db:
        db.delete(mine(db, Event, event_id, user))
        db.commit()
