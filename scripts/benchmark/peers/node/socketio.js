// The peer Socket.IO of Node, with rooms, as a program.
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer();
// The clients of the benchmark answer no pings while they measure.
const io = new Server(http, { transports: ['websocket'], pingInterval: 3_600_000 });

io.on('connection', (socket) => {
  const { group } = socket.handshake.query;
  socket.join(group);
  socket.on('ping', () => socket.emit('pong', null));
  socket.on('device.send', ({ to, type, payload }) => {
    const receivers = to === 'others' ? socket.to(group) : io.to(group);
    receivers.emit(type, { payload, from: { device_id: 1, instance: '0' } });
  });
});
http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(http.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
