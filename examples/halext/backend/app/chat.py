"""Conversations: the answer is streamed to who asked, and told to all who look at the same one."""

import asyncio
import json
import time
from collections import defaultdict

import anyio
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from . import auth, gateway, nodes
from .auth import CurrentUser
from .db import now, session
from .models import ChatMessage, Conversation, User
from .routes import mine
from .schemas import ConversationOut, MessageOut, Question

router = APIRouter(prefix="/api")
sockets = APIRouter()

REMEMBERED = 20  # messages of a conversation that the AI is told
BEAT = 25  # seconds of silence after which a websocket is told that we are there

# In this process only: a deploy closes the sockets, and browsers connect to the next release.
listeners: dict[int, set[asyncio.Queue]] = defaultdict(set)
# Answers that are being streamed, and partial ones that are being written down.
unfinished: set[object] = set()


def tell(message: ChatMessage):
    row = MessageOut.model_validate(message).model_dump(mode="json")
    for queue in listeners.get(message.conversation_id, ()):
        queue.put_nowait({"type": "message", "message": row})


def write_down(conversation_id: int, role: str, content: str, model=None, node=None) -> ChatMessage:
    with session() as db:
        message = ChatMessage(
            conversation_id=conversation_id, role=role, content=content, model=model, node=node
        )
        db.add(message)
        db.get(Conversation, conversation_id).updated_at = now()
        db.commit()
        return message


async def finish(conversation_id: int, said: dict) -> ChatMessage | None:
    """Also when the reader has left: then there is a partial answer, and a task to write it."""

    async def write():
        message = await run_in_threadpool(write_down, conversation_id, "assistant", **said)
        tell(message)
        return message

    if not said["content"].strip():
        return None
    task = asyncio.create_task(write())
    unfinished.add(task)
    task.add_done_callback(unfinished.discard)
    return await asyncio.shield(task)


def begin(question: Question, user: User) -> tuple[ChatMessage, str]:
    with session() as db:
        if question.conversation_id is None:
            conversation = Conversation(owner_id=user.id, title=question.message[:60])
            db.add(conversation)
            db.commit()
        else:
            conversation = mine(db, Conversation, question.conversation_id, user)
        of_this = select(ChatMessage).where(ChatMessage.conversation_id == conversation.id)
        last = db.scalars(of_this.order_by(ChatMessage.id.desc()).limit(REMEMBERED)).all()
    said = [f"{message.role}: {message.content}" for message in reversed(last)]
    prompt = "\n".join([*said, f"user: {question.message}", "assistant: "])
    return write_down(conversation.id, "user", question.message), prompt


async def settle(seconds: float):
    """Answers that were cut when the time to drain was over have what they said written down."""
    deadline = time.monotonic() + seconds
    while unfinished and time.monotonic() < deadline:
        await asyncio.sleep(0.02)


def sse(event: str, data: dict) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"


async def answer(asked: ChatMessage, prompt: str, model: str | None):
    conversation_id = asked.conversation_id
    said = {"content": "", "model": None, "node": None}
    is_written, mark = False, object()
    unfinished.add(mark)
    yield sse("start", {"conversation_id": conversation_id, "message_id": asked.id})
    try:
        async for kind, data in gateway.ask(prompt, model):
            if kind == "node":
                said |= {"content": "", **data}
            elif kind == "token":
                said["content"] += data["text"]
            elif kind == "done":
                is_written = True
                message = await finish(conversation_id, said)
                rest = {name: value for name, value in data.items() if name != "text"}
                data = {"message_id": message.id, **rest}
            yield sse(kind, data)
    finally:
        try:
            if not is_written:
                await finish(conversation_id, said)
        finally:
            unfinished.discard(mark)


@router.post("/chat")
async def chat(question: Question, user: CurrentUser):
    asked, prompt = await run_in_threadpool(begin, question, user)
    tell(asked)
    return StreamingResponse(
        answer(asked, prompt, question.model),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


@router.get("/conversations/")
def conversations(user: CurrentUser) -> list[ConversationOut]:
    of_mine = select(Conversation).where(Conversation.owner_id == user.id)
    with session() as db:
        return db.scalars(of_mine.order_by(Conversation.updated_at.desc()).limit(100)).all()


@router.delete("/conversations/{conversation_id}", status_code=204)
def delete_conversation(conversation_id: int, user: CurrentUser):
    with session() as db:
        db.delete(mine(db, Conversation, conversation_id, user))
        db.commit()


@router.get("/conversations/{conversation_id}/messages")
def messages(conversation_id: int, user: CurrentUser) -> list[MessageOut]:
    of_this = select(ChatMessage).where(ChatMessage.conversation_id == conversation_id)
    with session() as db:
        mine(db, Conversation, conversation_id, user)
        return db.scalars(of_this.order_by(ChatMessage.id)).all()


@router.get("/ai/models")
async def models(_: CurrentUser) -> dict:
    """What can be asked for: models of nodes that are online, then the provider's."""
    of_nodes = [
        model
        for node in await run_in_threadpool(nodes.listed)
        if node.status == "online"
        for model in node.models
    ]
    found = sorted({*of_nodes, *await gateway.provider_models()})
    return {"models": [*found, "mock"]}


def may_listen(token: str, conversation_id: int) -> bool:
    user = auth.user_of(token)
    with session() as db:
        conversation = db.get(Conversation, conversation_id)
    return bool(user and conversation and conversation.owner_id == user.id)


@sockets.websocket("/ws/{conversation_id}")
async def listen(socket: WebSocket, conversation_id: int):
    """The token comes as a subprotocol, `bearer, TOKEN`: addresses are kept in logs."""
    name, _, token = socket.headers.get("sec-websocket-protocol", "").partition(",")
    is_allowed = name == "bearer" and await run_in_threadpool(
        may_listen, token.strip(), conversation_id
    )
    if not is_allowed:
        return await socket.close(1008)
    await socket.accept(subprotocol="bearer")
    queue = asyncio.Queue()
    listeners[conversation_id].add(queue)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_all, socket, queue)
            tasks.start_soon(answer_pings, socket)
    except* WebSocketDisconnect:
        pass
    finally:
        listeners[conversation_id].discard(queue)
        if not listeners[conversation_id]:
            del listeners[conversation_id]


async def send_all(socket: WebSocket, queue: asyncio.Queue):
    while True:
        try:
            message = await asyncio.wait_for(queue.get(), BEAT)
        except TimeoutError:
            message = {"type": "beat"}
        await socket.send_json(message)


async def answer_pings(socket: WebSocket):
    while True:
        if await socket.receive_text() == "ping":
            await socket.send_json({"type": "pong"})
