// Official Socket.IO clients, driven by a test: commands come as JSON lines on stdin, what happens goes out as JSON lines.
"use strict";

const { createInterface } = require("node:readline");
const { io } = require("socket.io-client");

const sockets = new Map();
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// Bytes in JSON: {"$bytes": base64}, both ways.
const plain = (value) => {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
  return value;
};
const revive = (value) => {
  if (Array.isArray(value)) return value.map(revive);
  if (!value || typeof value !== "object") return value;
  if ("$bytes" in value) return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, revive(one)]));
};

const commands = {
  open({ socket: name, url, token, options, beside }) {
    const held = { token };
    // A function, as an app has it whose tokens get renewed: it is asked again at every reconnect.
    const auth = (give) => give(held.token === null ? {} : { token: held.token });
    // Beside another one: one more namespace on its connection.
    const socket = beside
      ? sockets.get(beside).socket.io.socket(new URL(url).pathname, { auth })
      : io(url, { ...options, forceNew: true, auth });
    sockets.set(name, { socket, held });
    const life = (what, more = {}) => tell({ socket: name, life: what, ...more });
    const transport = () => socket.io.engine.transport.name;
    socket.io.on("open", () => {
      life("open", { transport: transport() });
      socket.io.engine.once("upgrade", () => life("upgrade", { transport: transport() }));
    });
    socket.onAny((event, ...payload) => {
      const answer = typeof payload.at(-1) === "function" ? payload.pop() : () => {};
      tell({ socket: name, event, payload: plain(payload) });
      answer(...payload); // whoever asks gets back what it asked with
    });
    socket.on("connect", () => life("connect", { id: socket.id }));
    socket.on("connect_error", (error) => life("connect_error", { message: error.message, data: error.data, active: socket.active }));
    socket.on("disconnect", (reason) => life("disconnect", { reason, active: socket.active }));
    socket.io.on("reconnect", (attempt) => life("reconnect", { attempt }));
  },
  ask({ socket: name, id, event, payload }) {
    const args = payload === undefined ? [] : [payload];
    sockets.get(name).socket.emit(event, ...args, (answer) => tell({ socket: name, ack: id, answer }));
  },
  call({ socket: name, id, event, values }) {
    sockets.get(name).socket.emit(event, ...revive(values), (...answers) => tell({ socket: name, ack: id, answer: plain(answers) }));
  },
  // JSON cannot say this one.
  askWithBytes({ socket: name, id, event }) {
    const payload = { room: Buffer.from("a"), body: Buffer.from("b") };
    sockets.get(name).socket.emit(event, payload, (answer) => tell({ socket: name, ack: id, answer }));
  },
  renew({ socket: name, token }) {
    sockets.get(name).held.token = token;
  },
  reopen({ socket: name }) {
    sockets.get(name).socket.connect();
  },
  close({ socket: name }) {
    sockets.get(name).socket.disconnect();
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on("close", () => process.exit(0)); // the test is over
