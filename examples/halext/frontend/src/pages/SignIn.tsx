import { type FormEvent, useState } from "react";
import { accessCode, signIn } from "../api";
import { useAct } from "../load";
import { ThemeButton } from "../theme";
import { Button, Field, Problem } from "../ui";
import styles from "./SignIn.module.css";

export function SignIn({ notice, onSignedIn }: { notice: string; onSignedIn: () => void }) {
  const [isNew, setNew] = useState(false);
  const { act, busy, error } = useAct();

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const [username, password, code] = ["username", "password", "code"].map((name) =>
      String(form.get(name)),
    ) as [string, string, string];
    if (await act("enter", () => signIn(username, password, code, isNew))) onSignedIn();
  }

  return (
    <main className={styles.page}>
      <div className={styles.theme}>
        <ThemeButton />
      </div>
      <div className={styles.panel}>
        <img src="/icon.svg" alt="" width="48" height="48" />
        <h1>{isNew ? "Join Halext" : "Welcome back"}</h1>
        <p className={styles.lead}>Tasks, events, and a chat with the machines at home.</p>
        {notice && !error && <p role="status">{notice}</p>}
        <form onSubmit={submit}>
          <Field
            label="Username"
            name="username"
            autoComplete="username"
            autoCapitalize="none"
            required
            minLength={2}
            maxLength={32}
            autoFocus
          />
          <Field
            label="Password"
            name="password"
            type="password"
            autoComplete={isNew ? "new-password" : "current-password"}
            required
            minLength={isNew ? 8 : 1}
            hint={isNew ? "Eight characters or more" : undefined}
          />
          <Field
            label="Access code"
            name="code"
            type="password"
            autoComplete="off"
            required
            defaultValue={accessCode()}
            hint="The one that everybody in the house knows"
          />
          <Problem>{error}</Problem>
          <Button type="submit" kind="primary" busy={busy !== ""}>
            {isNew ? "Create account" : "Sign in"}
          </Button>
        </form>
        <p className={styles.other}>
          {isNew ? "You have an account?" : "No account yet?"}{" "}
          <button type="button" onClick={() => setNew(!isNew)}>
            {isNew ? "Sign in" : "Create one"}
          </button>
        </p>
      </div>
    </main>
  );
}
