// Official Socket.IO clients, driven by a test: commands come as JSON lines on stdin, what happens goes out as JSON lines.
"use strict";

const { createInterface } = require("node:readline");
const { io } = require("socket.io-client");

const sockets = new Map();
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const commands = {
  open({ socket: name, url, token, options }) {
    const held = { token };
    // A function, as an app has it whose tokens get renewed: it is asked again at every reconnect.
    const socket = io(url, { ...options, forceNew: true, auth: (give) => give({ token: held.token }) });
    sockets.set(name, { socket, held });
    const life = (what, more = {}) => tell({ socket: name, life: what, ...more });
    const transport = () => socket.io.engine.transport.name;
    socket.io.on("open", () => {
      life("open", { transport: transport() });
      socket.io.engine.once("upgrade", () => life("upgrade", { transport: transport() }));
    });
    socket.onAny((event, ...payload) => tell({ socket: name, event, payload }));
    socket.on("connect", () => life("connect", { id: socket.id }));
    socket.on("connect_error", (error) => life("connect_error", { message: error.message, data: error.data, active: socket.active }));
    socket.on("disconnect", (reason) => life("disconnect", { reason, active: socket.active }));
    socket.io.on("reconnect", (attempt) => life("reconnect", { attempt }));
  },
  ask({ socket: name, id, event, payload }) {
    const args = payload === undefined ? [] : [payload];
    sockets.get(name).socket.emit(event, ...args, (answer) => tell({ socket: name, ack: id, answer }));
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
