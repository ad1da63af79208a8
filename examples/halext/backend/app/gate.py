"""Asks hostkit to build the frontend anew.

The app may not run hostkit itself. An operator grants it exactly one command:
`hostkit permissions grant halext --app "deploy --only frontend"`. hostkit knows who asks by the socket's
credentials, so there is no password here. It answers with what the command says, and with
`exit N` as the last line.
"""

import asyncio
import re

from fastapi import HTTPException

from .settings import settings

# A refusal comes at once. A deploy waits until the requests of this process have ended, so the
# one that asked for it must not wait for the deploy.
PATIENCE = 3  # seconds
NOT_GRANTED = 5


async def rebuild_frontend() -> dict:
    try:
        said = await ask(settings.gate_command)
    except (FileNotFoundError, ConnectionRefusedError):
        raise HTTPException(501, "This server has no app gate: rebuild with `hostkit deploy --only frontend`")
    except (OSError, ValueError) as error:
        raise HTTPException(502, f"The app gate gave no answer to read: {error}")
    ended = re.search(r"^exit (\d+)$", said, re.MULTILINE)
    code = int(ended[1]) if ended else 0
    if code == NOT_GRANTED:
        raise HTTPException(403, "An operator has not granted this to the app")
    if code:
        why = re.search(r"^error: (.+)$", said, re.MULTILINE)
        raise HTTPException(502, why[1] if why else "The rebuild failed")
    return {"state": "done" if ended else "started"}


async def ask(line: str) -> str:
    """A line there; what has come back by the time that we stop listening."""
    reader, writer = await asyncio.open_unix_connection(settings.gate)
    said = b""
    try:
        writer.write(line.encode() + b"\n")
        async with asyncio.timeout(PATIENCE):
            while part := await reader.read(4096):
                said += part
    except TimeoutError:
        pass
    finally:
        writer.close()
    return said.decode()
