// The peer Bun, whose server knows topics itself, as a program.
const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch(request, own) {
    const group = new URL(request.url).pathname;
    return own.upgrade(request, { data: { group } }) ? undefined : new Response(null, { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    open: (socket) => socket.subscribe(socket.data.group),
    message(socket, data) {
      const message = JSON.parse(data);
      if (message.type === 'ping') {
        socket.send('{"type":"pong","payload":null}');
        return;
      }
      const { to, type, payload } = message.payload;
      const text = JSON.stringify({ type, payload, from: { device_id: 1, instance: '0' } });
      const everybody = to !== 'others' || message.id;
      if (everybody) server.publish(socket.data.group, text);
      else socket.publish(socket.data.group, text);
    },
  },
});
console.log(server.port);
process.stdin.on('end', () => process.exit(0)).resume();
