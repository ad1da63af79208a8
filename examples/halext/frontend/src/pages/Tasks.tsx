import { type FormEvent, useState } from "react";
import { FiCheck, FiCheckSquare, FiClock, FiPlus, FiStar, FiTrash2 } from "react-icons/fi";
import { get, post, type Priority, put, remove, type Status, type Task } from "../api";
import { useAct, useLoad } from "../load";
import { Badge, Button, Card, Choice, Empty, Field, Problem, Ready } from "../ui";
import styles from "./Tasks.module.css";

const PRIORITIES = [
  ["high", "High"],
  ["medium", "Medium"],
  ["low", "Low"],
] as const;
const STATUSES = [
  ["todo", "To do"],
  ["in_progress", "In progress"],
  ["done", "Done"],
] as const;

const rank = { high: 0, medium: 1, low: 2 };
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export function inOrder(tasks: Task[]): Task[] {
  const late = (task: Task) => (task.due_date ? Date.parse(task.due_date) : Infinity);
  return [...tasks].sort(
    (a, b) =>
      Number(a.status === "done") - Number(b.status === "done") ||
      rank[a.priority] - rank[b.priority] ||
      (late(a) < late(b) ? -1 : late(a) > late(b) ? 1 : b.id - a.id),
  );
}

export function Tasks() {
  const tasks = useLoad(() => get<Task[]>("/tasks/"));
  const [priority, setPriority] = useState<Priority>("medium");
  const { act, busy, error } = useAct();
  const open = tasks.data?.filter((task) => task.status !== "done").length ?? 0;

  async function add(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const { title, due } = Object.fromEntries(new FormData(form)) as Record<string, string>;
    // The end of that day where we are.
    const due_date = due ? new Date(`${due}T23:59:59`).toISOString() : null;
    const added = await act("add", async () => {
      const task = await post<Task>("/tasks/", { title, priority, due_date });
      tasks.set((all) => [task, ...all]);
    });
    if (added) form.reset();
  }

  return (
    <>
      <div className="head">
        <h1>Tasks</h1>
        {tasks.data && <p>{open === 0 ? "Nothing left to do" : `${open} to do`}</p>}
      </div>
      <Card>
        <form className={styles.add} onSubmit={add}>
          <Field label="New task" name="title" required maxLength={200} placeholder="What is to be done?" />
          <Choice label="Priority" value={priority} options={PRIORITIES} onChange={setPriority} />
          <Field label="Due" name="due" type="date" />
          <Button type="submit" kind="primary" icon={<FiPlus aria-hidden />} busy={busy === "add"}>
            Add
          </Button>
        </form>
        <Problem>{error}</Problem>
      </Card>
      <Ready of={tasks}>
        {(all) =>
          all.length === 0 ? (
            <Empty icon={<FiCheckSquare aria-hidden />} title="No tasks yet">
              Add the first one above. The AI can suggest how to begin.
            </Empty>
          ) : (
            <ul className={styles.list}>
              {inOrder(all).map((task) => (
                <Row key={task.id} task={task} set={tasks.set} />
              ))}
            </ul>
          )
        }
      </Ready>
    </>
  );
}

interface RowProps {
  task: Task;
  set: (change: (all: Task[]) => Task[]) => void;
}

function Row({ task, set }: RowProps) {
  const { act, busy, error } = useAct();
  const isDone = task.status === "done";
  const isLate = !isDone && task.due_date !== null && Date.parse(task.due_date) < Date.now();

  const replace = (next: Task) => set((all) => all.map((one) => (one.id === next.id ? next : one)));
  const change = (status: Status) =>
    act("change", async () => replace(await put<Task>(`/tasks/${task.id}`, { status })));
  const suggest = () =>
    act("suggest", async () => replace(await post<Task>(`/tasks/${task.id}/suggest`)));
  const drop = () =>
    act("drop", async () => {
      await remove(`/tasks/${task.id}`);
      set((all) => all.filter((one) => one.id !== task.id));
    });

  return (
    <li className={styles.task} data-done={isDone} data-priority={task.priority}>
      <button
        type="button"
        role="checkbox"
        aria-checked={isDone}
        aria-label={`${task.title}: done`}
        className={styles.check}
        onClick={() => change(isDone ? "todo" : "done")}
      >
        {isDone && <FiCheck aria-hidden />}
      </button>
      <div className={styles.body}>
        <span className={styles.title}>{task.title}</span>
        <div className={styles.facts}>
          <Badge tone={task.priority}>{task.priority}</Badge>
          {task.due_date && (
            <Badge tone={isLate ? "high" : undefined}>
              <FiClock aria-hidden /> {isLate ? "late, " : ""}
              {day.format(new Date(task.due_date))}
            </Badge>
          )}
        </div>
        {task.suggestion && <p className={styles.suggestion}>{task.suggestion}</p>}
        <Problem>{error}</Problem>
      </div>
      <div className={styles.actions}>
        <Choice
          hidden
          label={`Status of ${task.title}`}
          value={task.status}
          options={STATUSES}
          onChange={change}
        />
        <Button icon={<FiStar aria-hidden />} busy={busy === "suggest"} onClick={suggest}>
          Suggest
        </Button>
        <Button
          kind="danger"
          icon={<FiTrash2 aria-hidden />}
          aria-label={`Delete ${task.title}`}
          busy={busy === "drop"}
          onClick={drop}
        />
      </div>
    </li>
  );
}
