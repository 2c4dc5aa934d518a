// An ordinary Node server: reads each request whole and says whose it was.
const http = require('http');
const [address, port] = process.argv.slice(2);
const server = http.createServer((request, response) => {
  let size = 0;
  request.on('data', (data) => { size += data.length; });
  request.on('end', () => {
    const id = request.headers['x-id'] || '-';
    response.setHeader('X-Id', id);
    response.end(`node ${id} ${size}\n`);
  });
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), address);
