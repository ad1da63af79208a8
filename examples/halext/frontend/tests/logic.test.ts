import { expect, test, vi } from "vitest";
import { accessCode, ApiError, get, onSignedOut, post, signIn, type Message, type Task, token } from "../src/api";
import { ago } from "../src/pages/Admin";
import { byDay } from "../src/pages/Events";
import { inOrder } from "../src/pages/Tasks";
import { placeOf } from "../src/router";
import { events } from "../src/sse";
import { type Happening, SILENCE, type Talk, talked, UNSENT } from "../src/talk";

function answers(...all: [number, unknown][]) {
  const fetch = vi.fn(async (_path: string, _init: RequestInit) => {
    const [status, body] = all.shift()!;
    return new Response(status === 204 ? null : JSON.stringify(body), { status });
  });
  vi.stubGlobal("fetch", fetch);
  return fetch;
}

test("both doors are sent the access code, and the token opens the rest", async () => {
  const fetch = answers([200, { id: 1 }], [200, { access_token: "t0ken" }], [200, []]);
  await signIn("ann", "a password", "sesame", true);
  await get("/tasks/");
  const [register, enter, tasks] = fetch.mock.calls.map(([path, init]) => ({
    path,
    headers: init.headers as Headers,
    body: init.body,
  }));
  expect([register!.path, enter!.path, tasks!.path]).toEqual(["/api/users/", "/api/token", "/api/tasks/"]);
  expect(register!.headers.get("X-Halext-Code")).toBe("sesame");
  expect(enter!.headers.get("X-Halext-Code")).toBe("sesame");
  expect(String(enter!.body)).toBe("grant_type=password&username=ann&password=a+password");
  expect(tasks!.headers.get("Authorization")).toBe("Bearer t0ken");
  expect(tasks!.headers.get("X-Halext-Code")).toBeNull();
  expect(accessCode()).toBe("sesame");
});

test("a wrong access code is not kept and signs nobody out", async () => {
  answers([401, { detail: "The access code is wrong or missing" }]);
  const out = vi.fn();
  onSignedOut(out);
  await expect(signIn("ann", "pw", "wrong", false)).rejects.toThrow("The access code is wrong");
  expect(accessCode()).toBe("");
  expect(out).not.toHaveBeenCalled();
});

test("who is not known any more is signed out", async () => {
  localStorage.setItem("halext.token", "old");
  answers([401, { detail: "Not signed in, or not any more" }]);
  const out = vi.fn();
  onSignedOut(out);
  await expect(get("/tasks/")).rejects.toBeInstanceOf(ApiError);
  expect(out).toHaveBeenCalledOnce();
  expect(token()).toBeNull();
});

test.each([
  [422, { detail: [{ loc: ["body", "title"], msg: "too short" }] }, "title: too short"],
  [409, { detail: "This name is taken" }, "This name is taken"],
  [502, null, "The server is away. Try again in a moment."],
  [500, null, "The server answered 500"],
])("what went wrong is said in words (%i)", async (status, body, words) => {
  answers([status, body]);
  await expect(post("/tasks/", {})).rejects.toThrow(words);
});

test("paths are places", () => {
  expect(placeOf("/")).toEqual({ page: "tasks", id: null });
  expect(placeOf("/admin")).toEqual({ page: "admin", id: null });
  expect(placeOf("/chat/12")).toEqual({ page: "chat", id: 12 });
  expect(placeOf("/chat/12x")).toEqual({ page: "chat", id: null });
  expect(placeOf("/nowhere/else")).toEqual({ page: "tasks", id: null });
});

test.each([1, 2, 3, 7, 1000])("a stream is read the same in pieces of %i bytes", async (size) => {
  const text = 'event: token\ndata: {"text":"Grüße 🐈"}\n\n: beat\n\nevent: done\ndata: {"message_id":7}\n\nevent: cut';
  const bytes = new TextEncoder().encode(text);
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      controller.close();
    },
  });
  const found = [];
  for await (const event of events(stream)) found.push(event);
  expect(found).toEqual([
    { event: "token", data: { text: "Grüße 🐈" } },
    { event: "done", data: { message_id: 7 } },
  ]);
});

const message = (id: number, role: Message["role"], content: string): Message => ({
  id,
  role,
  content,
  model: null,
  node: null,
});
const after = (...all: Happening[]): Talk => all.reduce(talked, SILENCE);
const asked: Happening = { type: "asked", message: message(UNSENT, "user", "hello") };
const begun: Happening[] = [
  asked,
  { type: "start", message_id: 4 },
  { type: "node", node: "mac", model: "llama3" },
  { type: "token", text: "Good " },
];

test("an answer grows and becomes a message", () => {
  const growing = after(...begun, { type: "token", text: "day" });
  expect(growing.draft).toEqual({ text: "Good day", node: "mac", model: "llama3" });
  const done = talked(growing, { type: "done", message_id: 5 });
  expect(done.draft).toBeNull();
  expect(done.messages.map(({ id, content }) => [id, content])).toEqual([
    [4, "hello"],
    [5, "Good day"],
  ]);
  // The websocket tells the same again.
  expect(talked(done, { type: "heard", message: message(5, "assistant", "Good day") })).toBe(done);
});

test("a node that fails takes its words with it", () => {
  const talk = after(...begun, { type: "reset", node: "mac", reason: "broke off" });
  expect(talk.draft?.text).toBe("");
  expect(talk.notice).toContain("mac did not answer (broke off)");
  const next = talked(talk, { type: "node", node: "win", model: "llama3" });
  expect(talked(next, { type: "token", text: "Hi" }).draft).toMatchObject({ text: "Hi", node: "win" });
});

test("an answer that was cut stays until the server tells what it kept", () => {
  const cut = after(...begun, { type: "broken", error: "" });
  expect(cut.messages.map(({ content }) => content)).toEqual(["hello", "Good "]);
  const told = talked(cut, { type: "heard", message: message(5, "assistant", "Good d") });
  expect(told.messages.map(({ content }) => content)).toEqual(["hello", "Good d"]);
});

test("what was never sent is taken back", () => {
  expect(after(asked, { type: "broken", error: "The server is away." })).toMatchObject({
    messages: [],
    error: "The server is away.",
  });
});

test("open tasks come first, then by priority, then by date", () => {
  const task = (id: number, rest: Partial<Task>): Task => ({
    id,
    title: "",
    description: "",
    priority: "medium",
    status: "todo",
    due_date: null,
    suggestion: null,
    ...rest,
  });
  const all = [
    task(1, { status: "done", priority: "high" }),
    task(2, {}),
    task(3, { due_date: "2030-01-02T00:00:00Z" }),
    task(4, { due_date: "2030-01-01T00:00:00Z" }),
    task(5, { priority: "high" }),
    task(6, {}),
  ];
  expect(inOrder(all).map(({ id }) => id)).toEqual([5, 4, 3, 6, 2, 1]);
});

test("events stand under their days", () => {
  const event = (id: number, start_time: string) => ({ id, title: "", location: "", start_time, end_time: start_time });
  const days = byDay([event(1, "2030-01-02T12:00:00"), event(2, "2030-01-01T12:00:00"), event(3, "2030-01-02T09:00:00")]);
  expect(days.map(([, those]) => those.map(({ id }) => id))).toEqual([[2], [3, 1]]);
});

test("a while ago", () => {
  expect([0, 59, 60, 7200, 200000].map(ago)).toEqual(["0 s", "59 s", "1 min", "2 h", "2 d"]);
});
