"""Who is asking: the access code of the house, passwords, and tokens."""

import asyncio
import base64
import hashlib
import hmac
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Annotated

import jwt
from fastapi import Depends, Header, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import select

from .db import now, session
from .models import User
from .settings import settings

ALGORITHM = "HS256"
bearer = OAuth2PasswordBearer(tokenUrl="/api/token")

# scrypt of the standard library: hard on memory, and nothing to install or to fall behind with.
# 16 MB a guess, which each thread that made one keeps: so these two make all of them.
COST = {"n": 2**14, "r": 8, "p": 5}
hashing = ThreadPoolExecutor(2, "hashing")


async def in_turn(work, *arguments):
    return await asyncio.get_running_loop().run_in_executor(hashing, work, *arguments)


def derive(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=2**26)


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    parts = (base64.b64encode(part).decode() for part in (salt, derive(password, salt, **COST)))
    return "$".join(["scrypt", *map(str, COST.values()), *parts])


def is_password(password: str, hashed: str) -> bool:
    try:
        _, n, r, p, salt, key = hashed.split("$")
    except ValueError:
        return False  # "!": imported, and no password was given yet
    given = derive(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(given, base64.b64decode(key))


NOBODY = hash_password(os.urandom(16).hex())


def access_code(x_halext_code: Annotated[str, Header()] = ""):
    """Both doors, register and sign in, want the code. It takes the same time right or wrong."""
    if not hmac.compare_digest(x_halext_code.encode(), settings.access_code.encode()):
        raise HTTPException(401, "The access code is wrong or missing")


def find(username: str) -> User | None:
    with session() as db:
        return db.scalar(select(User).where(User.username == username))


async def sign_in(username: str, password: str) -> User:
    user = await run_in_threadpool(find, username.strip().lower())
    # Also for a name that nobody has, so that the time does not tell which names exist.
    hashed = user.hashed_password if user else NOBODY
    is_right = await in_turn(is_password, password, hashed)
    if user is None or not is_right:
        raise HTTPException(
            401, "Incorrect username or password", {"WWW-Authenticate": "Bearer"}
        )
    return user


def make_token(user: User) -> str:
    until = now() + timedelta(minutes=settings.token_minutes)
    return jwt.encode({"sub": user.username, "exp": until}, settings.secret_key, ALGORITHM)


def user_of(token: str) -> User | None:
    try:
        claims = jwt.decode(
            token, settings.secret_key, [ALGORITHM], options={"require": ["exp", "sub"]}
        )
    except jwt.InvalidTokenError:
        return None
    return find(claims["sub"])


def get_current_user(token: Annotated[str, Depends(bearer)]) -> User:
    user = user_of(token)
    if user is None:
        raise HTTPException(
            401, "Not signed in, or not any more", {"WWW-Authenticate": "Bearer"}
        )
    return user


def is_admin(user: User) -> bool:
    return user.is_admin or user.username in settings.admins


CurrentUser = Annotated[User, Depends(get_current_user)]


def get_current_admin_user(user: CurrentUser) -> User:
    if not is_admin(user):
        raise HTTPException(403, "For administrators only")
    return user
