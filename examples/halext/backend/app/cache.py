"""Answers and lists that may be used again, in Redis. Without Redis nothing is kept."""

import json
import time

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .settings import settings

ANSWER, MODELS = 3600, 300
PAUSE = 10  # seconds in which a Redis that failed is not asked again

redis = (
    Redis.from_url(settings.redis_url, socket_connect_timeout=0.5, socket_timeout=0.5)
    if settings.redis_url
    else None
)
resting_until = 0.0


async def ask(name: str, *arguments):
    global resting_until
    if redis is None or time.monotonic() < resting_until:
        return None
    try:
        return await getattr(redis, name)(*arguments)
    except (RedisError, OSError):
        resting_until = time.monotonic() + PAUSE
        return None


async def get(key: str):
    found = await ask("get", f"halext:{key}")
    return None if found is None else json.loads(found)


async def keep(key: str, value, seconds: int):
    await ask("setex", f"halext:{key}", seconds, json.dumps(value))


async def state() -> str:
    if redis is None:
        return "not used"
    return "ok" if await ask("ping") else "away"
