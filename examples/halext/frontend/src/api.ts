export type Priority = "low" | "medium" | "high";
export type Status = "todo" | "in_progress" | "done";

export interface User {
  id: number;
  username: string;
  is_admin: boolean;
}

export interface Task {
  id: number;
  title: string;
  description: string;
  priority: Priority;
  status: Status;
  due_date: string | null;
  suggestion: string | null;
}

export interface Event {
  id: number;
  title: string;
  location: string;
  start_time: string;
  end_time: string;
}

export interface Conversation {
  id: number;
  title: string;
}

export interface Message {
  id: number;
  role: "user" | "assistant";
  content: string;
  model: string | null;
  node: string | null;
}

export interface Node {
  id: number;
  name: string;
  hostname: string;
  port: number;
  status: "online" | "offline" | "unknown";
  models: string[];
  last_response_time_ms: number | null;
  last_seen_at: string | null;
  last_error: string | null;
}

export interface Server {
  version: string;
  uptime_seconds: number;
  memory_mb: number | null;
  load: number;
  database: { kind: string; ms: number };
  redis: string;
  provider: string;
  counts: Record<"users" | "tasks" | "conversations" | "ai_client_nodes", number>;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const TOKEN = "halext.token";
const CODE = "halext.code";

export const token = () => localStorage.getItem(TOKEN);
export const accessCode = () => localStorage.getItem(CODE) ?? "";

let whenSignedOut = () => {};

/** Called when the server does not know us any more. */
export function onSignedOut(listener: () => void) {
  whenSignedOut = listener;
}

export function forget() {
  localStorage.removeItem(TOKEN);
}

/** FastAPI says what is wrong as a text, or as a list with a place for each mistake. */
function detail(body: unknown, status: number): string {
  const found = (body as { detail?: unknown } | null)?.detail;
  if (typeof found === "string") return found;
  if (Array.isArray(found) && found[0]) {
    const { loc, msg } = found[0] as { loc?: unknown[]; msg?: string };
    return `${String(loc?.at(-1) ?? "input")}: ${msg ?? "is not right"}`;
  }
  if (status >= 502 && status <= 504) return "The server is away. Try again in a moment.";
  return `The server answered ${status}`;
}

export async function request(method: string, path: string, body?: unknown, init: RequestInit = {}) {
  const headers = new Headers(init.headers);
  if (token()) headers.set("Authorization", `Bearer ${token()}`);
  if (body !== undefined && !(body instanceof URLSearchParams)) {
    headers.set("Content-Type", "application/json");
    body = JSON.stringify(body);
  }
  const send = { ...init, method, headers, body: body as BodyInit | undefined };
  const response = await fetch(`/api${path}`, send).catch((error: Error) => {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached. Are you online?");
  });
  if (response.ok) return response;
  if (response.status === 401 && token()) {
    forget();
    whenSignedOut();
  }
  throw new ApiError(response.status, detail(await response.json().catch(() => null), response.status));
}

async function json<T>(method: string, path: string, body?: unknown, init?: RequestInit): Promise<T> {
  const response = await request(method, path, body, init);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

export const get = <T>(path: string) => json<T>("GET", path);
export const post = <T>(path: string, body?: unknown) => json<T>("POST", path, body);
export const put = <T>(path: string, body: unknown) => json<T>("PUT", path, body);
export const remove = (path: string) => json<void>("DELETE", path);

/** Both doors want the access code of the house. A right one is kept for the next time. */
export async function signIn(username: string, password: string, code: string, isNew: boolean) {
  forget();
  const init = { headers: { "X-Halext-Code": code } };
  if (isNew) await json("POST", "/users/", { username, password }, init);
  const form = new URLSearchParams({ grant_type: "password", username, password });
  const { access_token } = await json<{ access_token: string }>("POST", "/token", form, init);
  localStorage.setItem(TOKEN, access_token);
  localStorage.setItem(CODE, code);
}
