import type { ReactElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { expect, test, vi } from "vitest";
import { App, Shell } from "../src/App";
import { Problem, Ready } from "../src/ui";

const html = (element: ReactElement) => renderToStaticMarkup(element);
const noop = () => {};

function openedAt(pathname: string, is_admin: boolean) {
  vi.stubGlobal("location", { pathname, origin: "http://halext.test" });
  return html(<Shell user={{ id: 1, username: "ann", is_admin }} onSignOut={noop} />);
}

// Rendered as on a server the router has no address, so it is given the first page.
vi.mock("../src/router", async (original) => ({
  ...(await original<typeof import("../src/router")>()),
  usePath: () => location.pathname,
}));

test("who is not signed in is asked for name, password and access code", () => {
  const page = html(<App />);
  for (const name of ["username", "password", "code"]) {
    const [, id] = page.match(new RegExp(`<input id="([^"]+)"[^>]* name="${name}"`)) ?? [];
    expect(page).toContain(`<label for="${id}">`);
  }
  expect(page).not.toContain("<nav");
});

test("only administrators see the admin page and the way to it", () => {
  expect(openedAt("/tasks", false)).not.toContain("/admin");
  expect(openedAt("/tasks", true)).toContain('href="/admin"');
  expect(openedAt("/admin", false)).toContain("This page is for administrators");
  expect(openedAt("/admin", false)).not.toContain("AI nodes");
  expect(openedAt("/admin", true)).toContain("AI nodes");
});

test.each(["tasks", "events", "chat", "admin"])("/%s says where one is, and all on it has a name", (page) => {
  const shown = openedAt(`/${page}`, true);
  expect(shown).toContain(`href="/${page}" aria-current="page"`);
  expect(shown.match(/<h1>/g)).toHaveLength(1);
  const buttons = [...shown.matchAll(/<button([^>]*)>(.*?)<\/button>/g)];
  expect(buttons.length).toBeGreaterThan(2);
  for (const [all, attributes, inside] of buttons) {
    const text = inside!.replace(/<[^>]*>/g, "").trim();
    expect(text || attributes!.includes("aria-label="), all).toBeTruthy();
  }
  for (const [all, id] of shown.matchAll(/<(?:input|select) id="([^"]+)"/g)) {
    expect(shown, all).toContain(`<label for="${id}"`);
  }
});

test("loading, failed and loaded are told apart", () => {
  const state = { reload: async () => {}, set: noop };
  const show = (data: string | null, error: string) =>
    html(<Ready of={{ ...state, data, error }}>{(text) => <b>{text}</b>}</Ready>);
  expect(show(null, "")).toContain('aria-label="Loading"');
  expect(show(null, "away")).toContain('role="alert"');
  expect(show(null, "away")).not.toContain("Loading");
  expect(show("old", "away")).toMatch(/away.*<b>old<\/b>/s);
  expect(show("new", "")).toBe("<b>new</b>");
  expect(html(<Problem>{""}</Problem>)).toBe("");
});
