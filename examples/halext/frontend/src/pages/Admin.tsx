import type { FormEvent } from "react";
import { FiActivity, FiKey, FiPlus, FiRefreshCw, FiServer, FiTrash2 } from "react-icons/fi";
import { get, type Node, post, put, remove, type Server } from "../api";
import { useAct, useLoad } from "../load";
import { Badge, Button, Card, Empty, Field, Problem, Ready } from "../ui";
import styles from "./Admin.module.css";

export function ago(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function Admin() {
  return (
    <>
      <div className="head">
        <h1>Admin</h1>
      </div>
      <Nodes />
      <div className={styles.two}>
        <ServerCard />
        <div>
          <Rebuild />
          <Keys />
        </div>
      </div>
    </>
  );
}

function Nodes() {
  const nodes = useLoad(() => get<Node[]>("/admin/ai-clients"), 5);
  const { act, busy, error } = useAct();

  async function add(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const { name, hostname, port } = Object.fromEntries(new FormData(form)) as Record<string, string>;
    const added = await act("add", () => post("/admin/ai-clients", { name, hostname, port: Number(port) }));
    if (added) form.reset();
    await nodes.reload();
  }

  const testAll = () =>
    act("all", async () => {
      const all = await post<Node[]>("/admin/ai-clients/health-check-all");
      nodes.set(() => all);
    });

  return (
    <Card
      title="AI nodes"
      actions={
        <Button icon={<FiRefreshCw aria-hidden />} busy={busy === "all"} onClick={testAll}>
          Check all
        </Button>
      }
    >
      <Ready of={nodes}>
        {(all) =>
          all.length === 0 ? (
            <Empty icon={<FiServer aria-hidden />} title="No nodes yet">
              Add a machine that runs Ollama. Until then the mock answers.
            </Empty>
          ) : (
            <div className={styles.scroll}>
              <table>
                <thead>
                  <tr>
                    <th scope="col">Node</th>
                    <th scope="col">Status</th>
                    <th scope="col">Latency</th>
                    <th scope="col">Models</th>
                    <th scope="col">
                      <span className="unseen">Actions</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {all.map((node) => (
                    <NodeRow key={node.id} node={node} set={nodes.set} />
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Ready>
      <form className={styles.add} onSubmit={add}>
        <Field label="Name" name="name" required placeholder="mac-studio" />
        <Field label="Host" name="hostname" required placeholder="203.0.113.7" pattern="[A-Za-z0-9.:\-]+" />
        <Field label="Port" name="port" type="number" min={1} max={65535} defaultValue={11434} required />
        <Button type="submit" kind="primary" icon={<FiPlus aria-hidden />} busy={busy === "add"}>
          Add node
        </Button>
      </form>
      <Problem>{error}</Problem>
    </Card>
  );
}

interface NodeRowProps {
  node: Node;
  set: (change: (all: Node[]) => Node[]) => void;
}

function NodeRow({ node, set }: NodeRowProps) {
  const { act, busy, error } = useAct();
  const test = () =>
    act("test", async () => {
      const next = await post<Node>(`/admin/ai-clients/${node.id}/test`);
      set((all) => all.map((one) => (one.id === next.id ? next : one)));
    });
  const drop = () =>
    act("drop", async () => {
      await remove(`/admin/ai-clients/${node.id}`);
      set((all) => all.filter((one) => one.id !== node.id));
    });
  const seen = node.last_seen_at && (Date.now() - Date.parse(node.last_seen_at)) / 1000;
  const isOnline = node.status === "online";
  return (
    <tr>
      <th scope="row">
        {node.name}
        <small>
          {node.hostname}:{node.port}
        </small>
      </th>
      <td>
        <span className={styles.status} data-status={node.status}>
          {node.status}
        </span>
        <small title={node.last_error ?? undefined}>
          {error || (isOnline || !node.last_error ? (seen ? `seen ${ago(seen)} ago` : "never seen") : node.last_error)}
        </small>
      </td>
      <td className={styles.number}>{isOnline ? `${node.last_response_time_ms} ms` : "–"}</td>
      <td>
        <span className={styles.models}>
          {node.models.length ? node.models.map((model) => <Badge key={model}>{model}</Badge>) : "–"}
        </span>
      </td>
      <td>
        <span className={styles.actions}>
          <Button
            icon={<FiActivity aria-hidden />}
            aria-label={`Test ${node.name}`}
            busy={busy === "test"}
            onClick={test}
          >
            Test
          </Button>
          <Button
            kind="danger"
            icon={<FiTrash2 aria-hidden />}
            aria-label={`Remove ${node.name}`}
            busy={busy === "drop"}
            onClick={drop}
          />
        </span>
      </td>
    </tr>
  );
}

function ServerCard() {
  const server = useLoad(() => get<Server>("/admin/server/status"), 5);
  return (
    <Card title="Server">
      <Ready of={server}>
        {(now) => (
          <dl className={styles.facts}>
            {Object.entries({
              Version: now.version,
              "Up for": ago(now.uptime_seconds),
              Memory: now.memory_mb === null ? "–" : `${now.memory_mb} MB`,
              Load: now.load,
              Database: `${now.database.kind}, ${now.database.ms} ms`,
              Redis: now.redis,
              "AI provider": now.provider,
              Users: now.counts.users,
              Tasks: now.counts.tasks,
              Conversations: now.counts.conversations,
            }).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        )}
      </Ready>
    </Card>
  );
}

/** Until another release answers: that one has the new pages. */
async function nextRelease() {
  const release = () => get<{ release: string | null }>("/version").then((now) => now.release);
  const before = await release();
  for (let tries = 0; tries < 100; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    // In between nothing may answer for a moment.
    const now = await release().catch(() => before);
    if (now !== before) return;
  }
  throw new Error("It takes long; hostkit goes on with it.");
}

async function rebuild() {
  await post("/admin/rebuild-frontend");
  await nextRelease();
  location.reload();
}

function Rebuild() {
  const { act, busy, error } = useAct();
  return (
    <Card title="Frontend">
      <p>Builds these pages anew from their source. The running ones stay until the new ones are ready.</p>
      <Button
        icon={<FiRefreshCw aria-hidden />}
        busy={busy === "rebuild"}
        onClick={() => act("rebuild", rebuild)}
      >
        Rebuild frontend
      </Button>
      <Problem>{error}</Problem>
    </Card>
  );
}

function Keys() {
  const keys = useLoad(() => get<{ provider: string }[]>("/admin/api-keys"));
  const { act, busy, error } = useAct();
  const isKept = keys.data?.some((key) => key.provider === "openwebui");

  async function keep(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const key = String(new FormData(form).get("key"));
    if (await act("keep", () => put("/admin/api-keys/openwebui", { key }))) form.reset();
    await keys.reload();
  }

  const drop = () => act("drop", () => remove("/admin/api-keys/openwebui").then(keys.reload));
  return (
    <Card title="OpenWebUI key">
      <form className={styles.key} onSubmit={keep}>
        <Field
          label="API key"
          name="key"
          type="password"
          autoComplete="off"
          required
          hint={isKept ? "One is kept, encrypted. It is shown to nobody." : "Kept encrypted, and shown to nobody."}
        />
        <Button type="submit" icon={<FiKey aria-hidden />} busy={busy === "keep"}>
          Keep
        </Button>
        {isKept && (
          <Button kind="danger" icon={<FiTrash2 aria-hidden />} aria-label="Delete the key" busy={busy === "drop"} onClick={drop} />
        )}
      </form>
      <Problem>{error || keys.error}</Problem>
    </Card>
  );
}
