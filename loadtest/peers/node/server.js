// Socket.IO on Node as its documentation has it: rooms, an echo with an ack, nothing stored and nobody asked for a token.
// node server.js PORT
const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, { serveClient: false, pingInterval: 25000, pingTimeout: 20000 });

io.on("connection", (socket) => {
  socket.on("room.subscribe", ({ rooms }, ack) => {
    for (const { room } of rooms) socket.join(room);
    ack({ ok: true, rooms: rooms.map(({ room }) => ({ room, head_seq: 0, events: [] })) });
  });
  // The event has the fields of ours, so that as many bytes travel.
  socket.on("message.send", ({ room, client_id, seq, body }, ack) => {
    const at = new Date().toISOString();
    io.to(room).emit("message.created", {
      kind: "message.created", room, seq, at, actor: "01890a5d-ac96-774b-bcce-b302099a8057", client_id, body,
    });
    ack({ ok: true, seq, at });
  });
  socket.on("echo", ({ seq }, ack) => ack({ ok: true, seq, at: new Date().toISOString() }));
});

http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
