// The peer `ws` of Node, as a program: the text is made once, and sent to each.
import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const groups = new Map();
const http = createServer();
const server = new WebSocketServer({ server: http, perMessageDeflate: false });

function answer(own, members, message) {
  if (message.type === 'ping') {
    own.send('{"type":"pong","payload":null}');
    return;
  }
  const { to, type, payload } = message.payload;
  const text = JSON.stringify({ type, payload, from: { device_id: 1, instance: '0' } });
  const leftOut = to === 'others' && !message.id ? own : null;
  for (const member of members) {
    if (member !== leftOut) member.send(text);
  }
}

server.on('connection', (socket, request) => {
  const members = groups.get(request.url) ?? new Set();
  groups.set(request.url, members);
  members.add(socket);
  socket.on('message', (data) => answer(socket, members, JSON.parse(data.toString())));
  socket.on('close', () => members.delete(socket));
});
http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(http.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
