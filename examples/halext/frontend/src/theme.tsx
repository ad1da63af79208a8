import { useEffect, useState } from "react";
import { FiMoon, FiSun } from "react-icons/fi";
import { Button } from "./ui";

type Theme = "light" | "dark";

const KEY = "halext.theme";

/** What was chosen here, else what the system prefers. */
function theme(): Theme {
  const chosen = localStorage.getItem(KEY);
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Without a choice the style sheet follows the system by itself. */
export function applyTheme() {
  if (localStorage.getItem(KEY)) document.documentElement.dataset.theme = theme();
}

function useTheme(): [Theme, () => void] {
  const [now, set] = useState(theme);
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => set(theme());
    system.addEventListener("change", follow);
    return () => system.removeEventListener("change", follow);
  }, []);
  function toggle() {
    const next = now === "dark" ? "light" : "dark";
    localStorage.setItem(KEY, next);
    applyTheme();
    set(next);
  }
  return [now, toggle];
}

export function ThemeButton() {
  const [theme, toggle] = useTheme();
  return (
    <Button
      icon={theme === "dark" ? <FiSun aria-hidden /> : <FiMoon aria-hidden />}
      aria-label={theme === "dark" ? "Switch to light" : "Switch to dark"}
      onClick={toggle}
    />
  );
}
