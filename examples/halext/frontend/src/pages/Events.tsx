import type { FormEvent } from "react";
import { FiCalendar, FiMapPin, FiPlus, FiTrash2 } from "react-icons/fi";
import { type Event, get, post, remove } from "../api";
import { useAct, useLoad } from "../load";
import { Button, Card, Empty, Field, Problem, Ready } from "../ui";
import styles from "./Events.module.css";

const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const month = new Intl.DateTimeFormat(undefined, { month: "short" });
const shortDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** In the order of time, the days with their events. */
export function byDay(events: Event[]): [string, Event[]][] {
  const days = new Map<string, Event[]>();
  for (const event of [...events].sort((a, b) => Date.parse(a.start_time) - Date.parse(b.start_time))) {
    const day = new Date(event.start_time).toDateString();
    days.set(day, [...(days.get(day) ?? []), event]);
  }
  return [...days];
}

/** From when to when; the end with its day if that is another one. */
export function span({ start_time, end_time }: Event): string {
  const [start, end] = [new Date(start_time), new Date(end_time)];
  if (+start === +end) return time.format(start);
  const isSameDay = start.toDateString() === end.toDateString();
  return `${time.format(start)} – ${isSameDay ? "" : `${shortDay.format(end)}, `}${time.format(end)}`;
}

export function Events() {
  const events = useLoad(() => get<Event[]>("/events/"));
  const { act, busy, error } = useAct();
  const today = Date.parse(new Date().toDateString());

  async function add(submitted: FormEvent<HTMLFormElement>) {
    submitted.preventDefault();
    const form = submitted.currentTarget;
    const { title, location, start, end } = Object.fromEntries(new FormData(form)) as Record<string, string>;
    const added = await act("add", async () => {
      const event = await post<Event>("/events/", {
        title,
        location,
        start_time: new Date(start!).toISOString(),
        end_time: new Date(end || start!).toISOString(),
      });
      events.set((all) => [...all, event]);
    });
    if (added) form.reset();
  }

  const drop = (event: Event) =>
    act(`drop ${event.id}`, async () => {
      await remove(`/events/${event.id}`);
      events.set((all) => all.filter((one) => one.id !== event.id));
    });

  return (
    <>
      <div className="head">
        <h1>Events</h1>
      </div>
      <Card>
        <form className={styles.add} onSubmit={add}>
          <Field label="New event" name="title" required maxLength={200} placeholder="What happens?" />
          <Field label="Place" name="location" maxLength={200} />
          <Field label="Begins" name="start" type="datetime-local" required />
          <Field label="Ends" name="end" type="datetime-local" />
          <Button type="submit" kind="primary" icon={<FiPlus aria-hidden />} busy={busy === "add"}>
            Add
          </Button>
        </form>
        <Problem>{error}</Problem>
      </Card>
      <Ready of={events}>
        {(all) =>
          all.length === 0 ? (
            <Empty icon={<FiCalendar aria-hidden />} title="Nothing planned">
              Events that you add stand here, day by day.
            </Empty>
          ) : (
            byDay(all).map(([day, those]) => (
              <section key={day} className={styles.day} data-past={Date.parse(day) < today}>
                <div className={styles.date} aria-hidden>
                  <b>{new Date(day).getDate()}</b>
                  {month.format(new Date(day))}
                </div>
                <div>
                  <h2>{dayName.format(new Date(day))}</h2>
                  <ul>
                    {those.map((event) => (
                      <li key={event.id}>
                        <span className={styles.time}>{span(event)}</span>
                        <span className={styles.title}>{event.title}</span>
                        {event.location && (
                          <span className={styles.place}>
                            <FiMapPin aria-hidden /> {event.location}
                          </span>
                        )}
                        <Button
                          kind="danger"
                          icon={<FiTrash2 aria-hidden />}
                          aria-label={`Delete ${event.title}`}
                          busy={busy === `drop ${event.id}`}
                          onClick={() => drop(event)}
                        />
                      </li>
                    ))}
                  </ul>
                </div>
              </section>
            ))
          )
        }
      </Ready>
    </>
  );
}
