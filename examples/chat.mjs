// npm install socket.io-client
// node chat.mjs http://127.0.0.1:8000 anna "a good password" [room]
import { io } from "socket.io-client";

const [url, username, password, given] = process.argv.slice(2);
const fail = (error) => {
  console.error(`${error.message}${error.cause ? ` (${error.cause.code ?? error.cause.message})` : ""}`);
  process.exit(1);
};
const post = async (path, body, token) => {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${url}/api/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.ok) return answer.json();
  throw Object.assign(new Error(await answer.text()), { status: answer.status });
};

// An access token lives for minutes; the refresh token of each answer brings the next pair, once.
let account = await post("auth/login", { username, password }).catch(fail);
const renew = async () => {
  try {
    account = await post("auth/refresh", { refresh_token: account.refresh_token });
    if (socket.connected) socket.emit("auth.refresh", { token: account.access_token });
    else if (!socket.active) socket.connect(); // refused for an expired token: the client does not come back by itself
    renewLater(account.expires_in * 600);
  } catch (error) {
    if (error.status === 401) fail(error); // the sign-in was ended: a person has to sign in again
    renewLater(2000); // the network, or a server that is busy: the old token stays good until a new one was used
  }
};
let renewal;
const renewLater = (ms) => {
  clearTimeout(renewal);
  renewal = setTimeout(renew, ms);
};

const join = given ? post(`rooms/${given}/join`, {}, account.access_token) : post("rooms", { kind: "public", name: "Lobby" }, account.access_token);
const { id: room } = await join.catch(fail);

let since = 0; // how far we hold the room
let epoch; // of the history in which we received it
const show = (name, payload) => {
  if (payload.room === room) since = payload.seq ?? payload.head_seq ?? since; // an event, or `room.reset`
  console.log(name, JSON.stringify(payload));
};
const socket = io(url, { auth: (send) => send({ token: account.access_token }) }); // a reconnect shows the newest token
renewLater(account.expires_in * 600);
let closing = {};
socket.onAny(show);
socket.on("closing", (said) => (closing = said));
socket.on("disconnect", (why) => {
  if (why !== "io server disconnect") return; // everything else: the client reconnects by itself
  if (closing.code === "token_expired") renew();
  else fail(new Error(closing.code ?? why));
});
socket.on("connect_error", (error) => {
  show("connect_error", error.data ?? { message: error.message });
  if (!error.data) return; // the network: the client tries again by itself
  if (error.data.code === "token_expired") renew();
  else if (error.data.retryable) setTimeout(() => socket.connect(), error.data.retry_after_ms ?? 1000);
  else fail(new Error(error.data.code));
});
socket.on("ready", () => {
  // After every reconnect too: first what we missed, then what comes.
  socket.emit("room.subscribe", { rooms: [{ room, since }], epoch }, ({ ok, error, epoch: now, rooms: [answer] = [{ error }] }) => {
    if (!ok || answer.error) return show("refused", answer.error);
    epoch = now;
    if (answer.reset) since = answer.head_seq; // too much missed: GET rooms/{room}/messages has the latest
    for (const event of answer.events ?? []) show(event.kind, event);
  });
});
socket.emit("message.send", { room, client_id: crypto.randomUUID(), body: "hello" }, (ack) => show(ack.ok ? "sent" : "refused", ack));
