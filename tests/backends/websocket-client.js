// A WebSocket client on npm `ws`: sends texts and binaries of many sizes, checks every echo, prints the greeting.
const { WebSocket } = require('ws');
const [url, key] = process.argv.slice(2);
const headers = key ? { 'sd-routing-key': key } : {};
const socket = new WebSocket(url, { headers, perMessageDeflate: false });
const sizes = [0, 1, 125, 126, 127, 65535, 65536, 1000000];
const sent = [];
let greeting;
let pongs = 0;

const fail = (why) => { console.error(why); process.exit(1); };
socket.on('error', (error) => fail(`error ${error.message}`));
socket.on('unexpected-response', (_, response) => fail(`status ${response.statusCode}`));
socket.on('pong', () => { pongs += 1; });
socket.on('message', (data, binary) => {
  if (greeting === undefined) {
    greeting = data.toString();
    for (const size of sizes) {
      const content = Buffer.alloc(size, size % 251);
      sent.push({ content, binary: true }, { content: Buffer.from('é'.repeat(size % 1000)), binary: false });
    }
    for (const one of sent) socket.send(one.content, { binary: one.binary });
    socket.ping('are you there');
    return;
  }
  const wanted = sent.shift();
  if (binary !== wanted.binary || !data.equals(wanted.content)) fail(`an echo of ${data.length} bytes differs`);
  if (sent.length === 0) socket.close(4001, 'enough');
});
socket.on('close', (code, reason) => {
  if (sent.length || pongs !== 1) fail(`closed with ${sent.length} echoes missing, ${pongs} pongs`);
  console.log(JSON.stringify({ greeting, code, reason: reason.toString() }));
});
