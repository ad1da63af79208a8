import { createServer } from "node:http";
import express from "express";
import { dismiss, echo } from "./echo.js";
import { router as notes } from "./notes.js";

const { HOST = "127.0.0.1", PORT = "3000", PROJECT_NAME = "express" } = process.env;
const PATIENCE = 20_000;

const app = express();
app.disable("x-powered-by");
app.set("trust proxy", "loopback");
app.use(express.json({ limit: "64kb" }));

app.get("/", (_request, response) => {
  response.json({ name: PROJECT_NAME, node: process.version });
});
app.get("/health", (_request, response) => {
  response.json({ status: "ok" });
});
app.use("/notes", notes);

const server = createServer(app);
const sockets = echo(server);

server.listen(Number(PORT), HOST, () => console.log(`listening on ${HOST}:${PORT}`));

process.once("SIGTERM", stop);
process.once("SIGINT", stop);

/** Hears nobody new, answers whom it has heard, and then ends by itself. */
function stop() {
  server.close();
  server.closeIdleConnections();
  dismiss(sockets);
  setTimeout(() => server.closeAllConnections(), PATIENCE).unref();
}
