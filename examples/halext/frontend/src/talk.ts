import type { Message } from "./api";

/** What is seen of a conversation, and how each thing that happens changes it. */
export interface Talk {
  messages: Message[];
  /** The answer that is being written. */
  draft: { text: string; node: string; model: string } | null;
  /** Who was asked in vain, while the next one is. */
  notice: string;
  error: string;
}

export type Happening =
  | { type: "loaded"; messages: Message[] }
  | { type: "asked"; message: Message }
  | { type: "heard"; message: Message }
  | { type: "start"; message_id: number }
  | { type: "node"; node: string; model: string }
  | { type: "token"; text: string }
  | { type: "reset"; node: string; reason: string }
  | { type: "done"; message_id: number }
  | { type: "broken"; error: string };

export const SILENCE: Talk = { messages: [], draft: null, notice: "", error: "" };

/** What was asked has no number of its own until the server has it. */
export const UNSENT = 0;
/** An answer that broke off. The websocket tells which part of it the server kept. */
const CUT = -1;

const has = (talk: Talk, id: number) => talk.messages.some((message) => message.id === id);

export function talked(talk: Talk, now: Happening): Talk {
  const { messages, draft } = talk;
  switch (now.type) {
    case "loaded":
      return { ...SILENCE, messages: now.messages };
    case "asked":
      return {
        messages: [...messages, now.message],
        draft: { text: "", node: "", model: "" },
        notice: "",
        error: "",
      };
    case "heard":
      // Told by the websocket. What this page itself asks for, the stream tells it.
      if (draft || has(talk, now.message.id)) return talk;
      return { ...talk, messages: [...messages.filter((one) => one.id !== CUT), now.message] };
    case "start":
      return {
        ...talk,
        messages: messages.map((one) => (one.id === UNSENT ? { ...one, id: now.message_id } : one)),
      };
    case "node":
      return { ...talk, draft: { text: "", node: now.node, model: now.model } };
    case "token":
      return { ...talk, draft: draft && { ...draft, text: draft.text + now.text } };
    case "reset":
      return {
        ...talk,
        draft: draft && { ...draft, text: "" },
        notice: `${now.node} did not answer (${now.reason}). Asking the next one.`,
      };
    case "done":
      return { ...kept(talk, now.message_id), draft: null, notice: "" };
    case "broken":
      return { ...kept(sent(talk), CUT), draft: null, notice: "", error: now.error };
  }
}

const sent = (talk: Talk): Talk => ({
  ...talk,
  messages: talk.messages.filter((message) => message.id !== UNSENT),
});

/** The draft as a message. */
function kept(talk: Talk, id: number): Talk {
  const { draft } = talk;
  if (!draft?.text || has(talk, id)) return talk;
  const { text: content, node, model } = draft;
  return { ...talk, messages: [...talk.messages, { id, role: "assistant", content, node, model }] };
}
