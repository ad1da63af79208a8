import { useEffect, useState } from "react";
import { FiCalendar, FiCheckSquare, FiCpu, FiLogOut, FiMessageCircle } from "react-icons/fi";
import { forget, get, onSignedOut, token, type User } from "./api";
import styles from "./App.module.css";
import { Admin } from "./pages/Admin";
import { Chat } from "./pages/Chat";
import { Events } from "./pages/Events";
import { SignIn } from "./pages/SignIn";
import { Tasks } from "./pages/Tasks";
import { follow, go, placeOf, usePath } from "./router";
import { ThemeButton } from "./theme";
import { Button, Problem } from "./ui";

const LINKS = [
  { page: "tasks", name: "Tasks", icon: FiCheckSquare },
  { page: "events", name: "Events", icon: FiCalendar },
  { page: "chat", name: "Chat", icon: FiMessageCircle },
  { page: "admin", name: "Admin", icon: FiCpu },
] as const;

export function App() {
  const [user, setUser] = useState<User | null>(null);
  const [isKnown, setKnown] = useState(() => token() !== null);
  const [notice, setNotice] = useState("");
  const [error, setError] = useState("");

  useEffect(() => {
    onSignedOut(() => {
      setUser(null);
      setKnown(false);
      setNotice("Your session has ended. Sign in again.");
    });
  }, []);

  useEffect(() => {
    if (!isKnown) return;
    setError("");
    get<User>("/users/me/").then(setUser, (error: Error) => setError(error.message));
  }, [isKnown]);

  if (!isKnown) {
    const signedIn = () => {
      setNotice("");
      setKnown(true);
    };
    return <SignIn notice={notice} onSignedIn={signedIn} />;
  }
  if (!user) {
    return (
      <main className={styles.waiting}>
        {error ? <Problem>{error}</Problem> : <p role="status">One moment…</p>}
        {error && <Button onClick={() => location.reload()}>Try again</Button>}
      </main>
    );
  }
  const signOut = () => {
    forget();
    setUser(null);
    setKnown(false);
    go("/");
  };
  return <Shell user={user} onSignOut={signOut} />;
}

export function Shell({ user, onSignOut }: { user: User; onSignOut: () => void }) {
  const { page, id } = placeOf(usePath());
  const links = LINKS.filter((link) => link.page !== "admin" || user.is_admin);
  const isAllowed = links.some((link) => link.page === page);

  useEffect(() => {
    document.title = `${LINKS.find((link) => link.page === page)!.name} · Halext`;
  }, [page]);

  return (
    <div className={styles.shell}>
      <a className={styles.skip} href="#main">
        Skip to the page
      </a>
      <header className={styles.side}>
        <a className={styles.brand} href="/tasks" onClick={follow}>
          <img src="/icon.svg" alt="" width="30" height="30" /> Halext
        </a>
        <nav className={styles.nav} aria-label="Pages">
          {links.map(({ page: target, name, icon: Icon }) => (
            <a
              key={target}
              href={`/${target}`}
              onClick={follow}
              aria-current={page === target ? "page" : undefined}
            >
              <Icon aria-hidden /> {name}
            </a>
          ))}
        </nav>
        <div className={styles.person}>
          <span className={styles.face} aria-hidden>
            {user.username[0]}
          </span>
          <span className={styles.name}>{user.username}</span>
          <ThemeButton />
          <Button icon={<FiLogOut aria-hidden />} aria-label="Sign out" onClick={onSignOut} />
        </div>
      </header>
      <main id="main" className={styles.main} tabIndex={-1}>
        {!isAllowed && <Problem>This page is for administrators.</Problem>}
        {page === "tasks" && <Tasks />}
        {page === "events" && <Events />}
        {page === "chat" && <Chat id={id} />}
        {page === "admin" && isAllowed && <Admin />}
      </main>
    </div>
  );
}
