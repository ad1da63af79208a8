import { type FormEvent, type KeyboardEvent, useEffect, useReducer, useRef, useState } from "react";
import { FiMessageCircle, FiPlus, FiSend, FiSquare, FiTrash2 } from "react-icons/fi";
import { type Conversation, get, type Message, remove, request, token } from "../api";
import { useAct, useLoad } from "../load";
import { follow, go } from "../router";
import { events } from "../sse";
import { type Happening, SILENCE, talked, UNSENT } from "../talk";
import { Button, Choice, Empty, Problem } from "../ui";
import styles from "./Chat.module.css";

export function Chat({ id }: { id: number | null }) {
  const list = useLoad(() => get<Conversation[]>("/conversations/"));
  const models = useLoad(() => get<{ models: string[] }>("/ai/models"), 15);
  const [talk, tell] = useReducer(talked, SILENCE);
  const [model, setModel] = useState("");
  const [text, setText] = useState("");
  const { act, busy, error } = useAct();
  // The answer that this page is streaming, and of which conversation.
  const running = useRef<{ id: number | null; abort: AbortController } | null>(null);
  const end = useRef<HTMLDivElement>(null);

  useEffect(() => {
    // A new conversation gets its number while its first answer is streamed: that one goes on.
    if (running.current?.id !== id || id === null) {
      leave();
      tell({ type: "loaded", messages: [] });
    }
    return id === null ? undefined : listen(id, tell, () => running.current !== null);
  }, [id]);

  useEffect(() => leave, []);
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [talk.messages.length, talk.draft?.text]);

  function leave() {
    running.current?.abort.abort();
    running.current = null;
  }

  async function ask(event?: FormEvent) {
    event?.preventDefault();
    const message = text.trim();
    if (!message || running.current) return;
    const mine = { id, abort: new AbortController() };
    running.current = mine;
    setText("");
    const asked = { id: UNSENT, role: "user", content: message, model: null, node: null } as const;
    tell({ type: "asked", message: asked });
    let isSent = false;
    try {
      const question = { message, conversation_id: id, model: model || null };
      const { body } = await request("POST", "/chat", question, { signal: mine.abort.signal });
      let isDone = false;
      for await (const { event, data } of events(body!)) {
        if (running.current !== mine) return;
        tell({ type: event, ...(data as object) } as Happening);
        if (event === "start") {
          isSent = true;
          mine.id = (data as { conversation_id: number }).conversation_id;
          go(`/chat/${mine.id}`);
        }
        isDone ||= event === "done";
      }
      if (!isDone) throw new Error("The answer broke off.");
    } catch (error) {
      if (running.current !== mine) return;
      const isStopped = mine.abort.signal.aborted;
      tell({ type: "broken", error: isStopped ? "" : (error as Error).message });
      if (!isSent) setText(message);
    } finally {
      if (running.current === mine) running.current = null;
      void list.reload();
    }
  }

  function onKey(event: KeyboardEvent) {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) void ask(event);
  }

  const drop = (gone: Conversation) =>
    act(`drop ${gone.id}`, async () => {
      await remove(`/conversations/${gone.id}`);
      list.set((all) => all.filter((one) => one.id !== gone.id));
      if (gone.id === id) go("/chat");
    });

  const names = models.data?.models ?? [];
  return (
    <div className={styles.chat}>
      <aside className={styles.list} aria-label="Conversations">
        <h1>Chat</h1>
        <Button icon={<FiPlus aria-hidden />} onClick={() => go("/chat")}>
          New
        </Button>
        <Problem>{error || list.error}</Problem>
        <ul>
          {list.data?.map((one) => (
            <li key={one.id}>
              <a href={`/chat/${one.id}`} onClick={follow} aria-current={one.id === id ? "page" : undefined}>
                {one.title}
              </a>
              <Button
                kind="danger"
                icon={<FiTrash2 aria-hidden />}
                aria-label={`Delete ${one.title}`}
                busy={busy === `drop ${one.id}`}
                onClick={() => drop(one)}
              />
            </li>
          ))}
        </ul>
      </aside>
      <section className={styles.talk} aria-label="Messages">
        <div className={styles.messages} role="log" aria-live="polite" aria-busy={talk.draft !== null}>
          {talk.messages.length === 0 && (
            <Empty icon={<FiMessageCircle aria-hidden />} title="Ask anything">
              The fastest machine at home that is awake will answer.
            </Empty>
          )}
          {talk.messages.map((message) => (
            <Bubble key={message.id} message={message} />
          ))}
          {talk.draft && (
            <article className={styles.bubble} data-role="assistant" data-writing>
              {talk.draft.text ? (
                <p>{talk.draft.text}</p>
              ) : (
                <p className={styles.asking}>{talk.draft.node ? `Asking ${talk.draft.node}…` : "Sending…"}</p>
              )}
              {talk.notice && <small>{talk.notice}</small>}
            </article>
          )}
          <Problem>{talk.error}</Problem>
          <div ref={end} />
        </div>
        <form className={styles.composer} onSubmit={ask}>
          <textarea
            aria-label="Message"
            placeholder="Write a message"
            rows={2}
            maxLength={8000}
            value={text}
            onChange={(event) => setText(event.target.value)}
            onKeyDown={onKey}
          />
          <Choice
            hidden
            label="Model"
            value={model}
            options={[["", "Any model"], ...names.map((name) => [name, name] as const)]}
            onChange={setModel}
          />
          {talk.draft ? (
            <Button icon={<FiSquare aria-hidden />} onClick={() => running.current?.abort.abort()}>
              Stop
            </Button>
          ) : (
            <Button type="submit" kind="primary" icon={<FiSend aria-hidden />} disabled={!text.trim()}>
              Send
            </Button>
          )}
        </form>
      </section>
    </div>
  );
}

function Bubble({ message }: { message: Message }) {
  return (
    <article className={styles.bubble} data-role={message.role}>
      <p>{message.content}</p>
      {message.node && (
        <small>
          {message.node}
          {message.model && message.model !== message.node && ` · ${message.model}`}
        </small>
      )}
    </article>
  );
}

/** What is said in a conversation, also from another window. Connects again after a deploy. */
function listen(id: number, tell: (now: Happening) => void, isBusy: () => boolean): () => void {
  let socket: WebSocket | null = null;
  let timer = 0;
  let isOver = false;

  const load = () =>
    get<Message[]>(`/conversations/${id}/messages`).then(
      (messages) => isOver || isBusy() || tell({ type: "loaded", messages }),
      (error: Error) => isOver || isBusy() || tell({ type: "broken", error: error.message }),
    );

  function connect() {
    socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws/${id}`, ["bearer", token() ?? ""]);
    // Only now: what is said from here on is heard, what was said before is loaded.
    socket.onopen = () => void load();
    socket.onmessage = ({ data }) => {
      const heard = JSON.parse(String(data)) as { type: string; message: Message };
      if (heard.type === "message") tell({ type: "heard", message: heard.message });
    };
    socket.onclose = () => {
      if (!isOver) timer = window.setTimeout(connect, 2000);
    };
  }
  void load();
  connect();
  return () => {
    isOver = true;
    clearTimeout(timer);
    socket?.close();
  };
}
