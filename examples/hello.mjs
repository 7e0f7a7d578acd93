import { io } from "socket.io-client"; // node hello.mjs http://127.0.0.1:8000 anna "a good password"
const [url, username, password] = process.argv.slice(2);
const fail = (error) => { console.error(error.data?.code ?? error.cause?.code ?? "failed", error.message); process.exit(1); };
const post = async (path, body, token) => {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${url}/api/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) }).catch(fail);
  return answer.ok ? answer.json() : fail(new Error(await answer.text()));
};
const { access_token: token } = await post("auth/login", { username, password });
const { id: room } = await post("rooms", { kind: "public", name: "Lobby" }, token);
const socket = io(url, { auth: { token } });
const ask = async (...request) => ((ack) => ack.ok || fail(new Error(JSON.stringify(ack))))(await socket.emitWithAck(...request));
socket.on("connect_error", (error) => console.error("connect_error", error.data?.code ?? error.message));
socket.onAny((name, payload) => console.log(name, payload));
socket.once("ready", async () => {
  await ask("room.subscribe", { rooms: [{ room, since: 0 }] });
  await ask("message.send", { room, client_id: crypto.randomUUID(), body: "hello" });
});
