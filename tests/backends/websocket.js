// A WebSocket echo server on npm `ws`; it also says which fields the handshake carried.
const { WebSocketServer } = require('ws');
const [address, port] = process.argv.slice(2);
const server = new WebSocketServer({ host: address, port: Number(port), perMessageDeflate: true });
server.on('connection', (socket, request) => {
  socket.send(`hello ${request.url} ${request.headers.baggage || '-'}`);
  socket.on('message', (data, binary) => socket.send(data, { binary }));
});
