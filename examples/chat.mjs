// npm install socket.io-client
// node chat.mjs http://127.0.0.1:8000 anna "a good password" [room]
import { io } from "socket.io-client";

const [url, username, password, given] = process.argv.slice(2);
const headers = { "Content-Type": "application/json" };
const post = async (path, body) => {
  const answer = await fetch(`${url}/api/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return answer.ok ? answer.json() : Promise.reject(new Error(await answer.text()));
};
const account = await post("auth/login", { username, password });
headers.Authorization = `Bearer ${account.access_token}`;
const { id: room } = given ? await post(`rooms/${given}/join`, {}) : await post("rooms", { kind: "public", name: "Lobby" });

let since = 0; // how far we hold the room
const show = (name, payload) => {
  if (payload.room === room && payload.seq) since = payload.seq;
  console.log(name, JSON.stringify(payload));
};
const socket = io(url, { auth: { token: account.access_token } });
socket.onAny(show);
socket.on("connect_error", (error) => show("connect_error", error.data ?? { message: error.message }));
socket.on("ready", () => {
  // After every reconnect too: first what we missed, then what comes.
  socket.emit("room.subscribe", { rooms: [{ room, since }] }, ({ rooms: [{ events = [] }] }) => {
    for (const event of events) show(event.kind, event);
  });
});
socket.emit("message.send", { room, client_id: crypto.randomUUID(), body: "hello" }, (ack) => show("sent", ack));
