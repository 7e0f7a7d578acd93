import { io } from "socket.io-client"; // node hello.mjs http://127.0.0.1:8000 anna "a good password"
const [url, username, password] = process.argv.slice(2);
const headers = { "Content-Type": "application/json" };
const post = async (path, body) => (await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) })).json();
const { access_token: token } = await post("/api/v1/auth/login", { username, password });
headers.Authorization = `Bearer ${token}`;
const { id: room } = await post("/api/v1/rooms", { kind: "public", name: "Lobby" });
const socket = io(url, { auth: { token } });
socket.onAny((name, payload) => console.log(name, payload));
socket.on("ready", async () => {
  await socket.emitWithAck("room.subscribe", { rooms: [{ room, since: 0 }] });
  await socket.emitWithAck("message.send", { room, client_id: crypto.randomUUID(), body: "hello" });
});
