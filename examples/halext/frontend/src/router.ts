import { type MouseEvent, useSyncExternalStore } from "react";

/** Paths are true addresses: the web server answers each of them with index.html. */
export const PAGES = ["tasks", "events", "chat", "admin"] as const;
export type Page = (typeof PAGES)[number];

export interface Place {
  page: Page;
  /** As in /chat/12. */
  id: number | null;
}

export function placeOf(path: string): Place {
  const [first, second, ...rest] = path.split("/").filter(Boolean);
  const page = PAGES.find((name) => name === first) ?? "tasks";
  const id = page === "chat" && rest.length === 0 && /^\d+$/.test(second ?? "") ? +second! : null;
  return { page, id };
}

const listeners = new Set<() => void>();
const notify = () => listeners.forEach((listener) => listener());

export function go(path: string, { replace = false } = {}) {
  if (path === location.pathname) return;
  history[replace ? "replaceState" : "pushState"](null, "", path);
  notify();
}

export function usePath(): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      addEventListener("popstate", listener);
      return () => {
        listeners.delete(listener);
        removeEventListener("popstate", listener);
      };
    },
    () => location.pathname,
    () => "/",
  );
}

/** For links: a plain click stays here, one for a new tab goes its way. */
export function follow(event: MouseEvent<HTMLAnchorElement>) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  go(new URL(event.currentTarget.href).pathname);
}
