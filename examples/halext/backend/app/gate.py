"""Asks hostkit to rebuild the frontend.

The app may not run hostkit itself. Its operator grants it exactly one request:
`hostkit permissions grant halext --app "deploy --only web"`. hostkit knows who asks by the
socket's credentials, so there is no password here.
"""

import asyncio
import json

from fastapi import HTTPException

from .settings import settings

REQUEST = {"verb": "deploy", "arguments": ["--only", "web"]}
PATIENCE = 280  # seconds: below what the web server waits for us


async def rebuild_frontend() -> dict:
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await ask(REQUEST)
    except (FileNotFoundError, ConnectionRefusedError):
        raise HTTPException(
            501, "This server has no app gate: rebuild with `hostkit deploy --only web`"
        )
    except TimeoutError:
        raise HTTPException(504, "The rebuild takes long; hostkit goes on with it")
    except (OSError, ValueError) as error:
        raise HTTPException(502, f"The app gate gave no answer to read: {error}")
    if not answer.get("ok"):
        error = answer.get("error") or {}
        denied = error.get("code") == "not_permitted"
        raise HTTPException(403 if denied else 502, error.get("message") or "The rebuild failed")
    return answer


async def ask(request: dict) -> dict:
    """A line of JSON there, a document of JSON back."""
    reader, writer = await asyncio.open_unix_connection(settings.gate)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        writer.write_eof()
        answer = json.loads(await reader.read(2**20))
    finally:
        writer.close()
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    return answer
