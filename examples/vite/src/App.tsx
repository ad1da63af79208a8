import { useState } from "react";

export function App() {
  const [clicks, setClicks] = useState(0);
  return (
    <main>
      <h1>Hello from Vite</h1>
      <p>These are files, and the web server sends them: no program runs for this page.</p>
      <button onClick={() => setClicks(clicks + 1)}>clicked {clicks} ×</button>
    </main>
  );
}
