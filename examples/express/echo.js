import { WebSocket, WebSocketServer } from "ws";

const GOING_AWAY = 1001;

/** Sends back what it hears at /ws. */
export function echo(server) {
  const sockets = new WebSocketServer({ server, path: "/ws", maxPayload: 64 * 1024 });
  sockets.on("connection", (socket) => {
    socket.on("error", console.error);
    socket.on("message", (data, binary) => {
      if (socket.readyState === WebSocket.OPEN) {
        socket.send(data, { binary });
      }
    });
  });
  return sockets;
}

/** Tells every client that the server goes away; a good one then connects again. */
export function dismiss(sockets) {
  sockets.clients.forEach((socket) => socket.close(GOING_AWAY));
}
