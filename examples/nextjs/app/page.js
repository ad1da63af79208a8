import Counter from "./counter";

// Made anew for each request: the environment is that of the server, not that of the build.
export const dynamic = "force-dynamic";

export default function Page() {
  return (
    <main>
      <h1>Hello from {process.env.PROJECT_NAME ?? "Next.js"}</h1>
      <p>Made at {new Date().toISOString()}, by Node {process.version}.</p>
      <Counter />
    </main>
  );
}
