// An ordinary Node server of HTTP/2 in the clear: reads each request whole and says whose it was.
const http2 = require('http2');
const [address, port] = process.argv.slice(2);
const server = http2.createServer();
server.on('stream', (stream, headers) => {
  let size = 0;
  stream.on('data', (data) => { size += data.length; });
  stream.on('error', () => {});
  stream.on('end', () => {
    if (stream.aborted || stream.destroyed) return;
    const id = headers['x-id'] || '-';
    stream.respond({ ':status': 200, 'x-id': id }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-size': `${size}` }));
    stream.end(`node ${id} ${size}\n`);
  });
});
server.listen(Number(port), address);
