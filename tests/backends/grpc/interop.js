// The interoperability cases of gRPC on @grpc/grpc-js, as a server and as a client that says `ok CASE` for each.
//
//	interop.js server ADDRESS [CERTIFICATE KEY]
//	interop.js client ADDRESS CASE,CASE,... [AUTHORITY]
const assert = require('assert');
const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const { TestService } = grpc.loadPackageDefinition(loader.loadSync(path.join(__dirname, 'testing.proto'))).grpc.testing;
const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';
const SPECIAL = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
const SIZES = [31415, 9, 2653, 58979];
const SENT = [27182, 8, 1828, 45904];
const payload = (size) => ({ body: Buffer.alloc(size) });

// What a call asks to be sent back: the first at once, the second is returned.
function echo(call) {
  const trailing = new grpc.Metadata();
  const initial = call.metadata.get(INITIAL);
  if (initial.length) {
    const metadata = new grpc.Metadata();
    metadata.set(INITIAL, initial[0]);
    call.sendMetadata(metadata);
  }
  const echoed = call.metadata.get(TRAILING);
  if (echoed.length) trailing.set(TRAILING, echoed[0]);
  return trailing;
}

const failure = ({ responseStatus }) => responseStatus && responseStatus.code
  && { code: responseStatus.code, details: responseStatus.message };

const service = {
  emptyCall(call, reply) { reply(null, {}, echo(call)); },
  unaryCall(call, reply) {
    const trailing = echo(call);
    const failed = failure(call.request);
    if (failed) return reply(failed);
    return reply(null, { payload: payload(call.request.responseSize) }, trailing);
  },
  streamingOutputCall(call) {
    const trailing = echo(call);
    for (const { size } of call.request.responseParameters || []) call.write({ payload: payload(size) });
    call.end(trailing);
  },
  streamingInputCall(call, reply) {
    let size = 0;
    call.on('data', (request) => { size += request.payload.body.length; });
    call.on('end', () => reply(null, { aggregatedPayloadSize: size }));
  },
  fullDuplexCall(call) {
    const trailing = echo(call);
    call.on('data', (request) => {
      const failed = failure(request);
      if (failed) return call.emit('error', failed);
      for (const { size } of request.responseParameters || []) call.write({ payload: payload(size) });
    });
    call.on('end', () => call.end(trailing));
  },
};

const limits = { 'grpc.max_receive_message_length': -1 };

function serve(address, certificate, key) {
  const server = new grpc.Server(limits);
  server.addService(TestService.service, service);
  const credentials = certificate
    ? grpc.ServerCredentials.createSsl(null, [{ cert_chain: fs.readFileSync(certificate), private_key: fs.readFileSync(key) }])
    : grpc.ServerCredentials.createInsecure();
  server.bindAsync(address, credentials, (error) => { if (error) throw error; });
}

const wants = (...sizes) => ({ responseParameters: sizes.map((size) => ({ size })) });
const unary = (stub, method, request, metadata = new grpc.Metadata()) => new Promise((resolve, reject) => {
  const told = {};
  const call = stub[method](request, metadata, (error, answer) => {
    if (error) return reject(error);
    told.answer = answer;
    return told.trailing && resolve(told);
  });
  call.on('metadata', (initial) => { told.initial = initial; });
  call.on('status', ({ metadata: trailing }) => { told.trailing = trailing; if (told.answer) resolve(told); });
});

// All that comes of a call, or its error.
const all = (call) => new Promise((resolve, reject) => {
  const told = { sizes: [] };
  call.on('metadata', (initial) => { told.initial = initial; });
  call.on('data', (answer) => { told.sizes.push(answer.payload.body.length); });
  call.on('status', ({ metadata }) => { told.trailing = metadata; });
  call.on('error', reject);
  call.on('end', () => setImmediate(resolve, told));
});

async function refused(promise, code, details) {
  const error = await promise.then(() => ({ code: grpc.status.OK }), (failed) => failed);
  assert.strictEqual(error.code, code, `${error}`);
  if (details !== undefined) assert.strictEqual(error.details, details);
}

async function status(stub, message) {
  const responseStatus = { code: grpc.status.UNKNOWN, message };
  await refused(unary(stub, 'unaryCall', { responseStatus }), grpc.status.UNKNOWN, message);
  const call = stub.fullDuplexCall();
  call.write({ responseStatus });
  await refused(all(call), grpc.status.UNKNOWN, message);
}

const cases = {
  async empty_unary(stub) { await unary(stub, 'emptyCall', {}); },
  async large_unary(stub) {
    const { answer } = await unary(stub, 'unaryCall', { responseSize: 314159, payload: payload(271828) });
    assert.strictEqual(answer.payload.body.length, 314159);
  },
  async client_streaming(stub) {
    const answer = await new Promise((resolve, reject) => {
      const call = stub.streamingInputCall((error, told) => (error ? reject(error) : resolve(told)));
      for (const size of SENT) call.write({ payload: payload(size) });
      call.end();
    });
    assert.strictEqual(answer.aggregatedPayloadSize, 74922);
  },
  async server_streaming(stub) {
    assert.deepStrictEqual((await all(stub.streamingOutputCall(wants(...SIZES)))).sizes, SIZES);
  },
  async ping_pong(stub) {
    const call = stub.fullDuplexCall();
    const ended = all(call);
    for (const [index, size] of SIZES.entries()) {
      const answered = new Promise((resolve) => { call.once('data', resolve); });
      call.write({ ...wants(size), payload: payload(SENT[index]) });
      assert.strictEqual((await answered).payload.body.length, size);
    }
    call.end();
    assert.deepStrictEqual((await ended).sizes, SIZES);
  },
  async empty_stream(stub) {
    const call = stub.fullDuplexCall();
    call.end();
    assert.deepStrictEqual((await all(call)).sizes, []);
  },
  async cancel_after_begin(stub) {
    await refused(new Promise((resolve, reject) => {
      const call = stub.streamingInputCall((error, told) => (error ? reject(error) : resolve(told)));
      setImmediate(() => call.cancel());
    }), grpc.status.CANCELLED);
  },
  async cancel_after_first_response(stub) {
    const call = stub.fullDuplexCall();
    const ended = all(call);
    call.once('data', () => call.cancel());
    call.write(wants(31415));
    await refused(ended, grpc.status.CANCELLED);
  },
  async timeout_on_sleeping_server(stub) {
    const call = stub.fullDuplexCall(new grpc.Metadata(), { deadline: Date.now() + 1 });
    call.write(wants(31415));
    await refused(all(call), grpc.status.DEADLINE_EXCEEDED);
  },
  async custom_metadata(stub) {
    const sent = new grpc.Metadata();
    sent.set(INITIAL, 'test_initial_metadata_value');
    sent.set(TRAILING, Buffer.from([0xab, 0xab, 0xab]));
    const check = ({ initial, trailing }) => {
      assert.deepStrictEqual(initial.get(INITIAL), sent.get(INITIAL));
      assert.deepStrictEqual(trailing.get(TRAILING), sent.get(TRAILING));
    };
    const request = { responseSize: 314159, payload: payload(271828) };
    check(await unary(stub, 'unaryCall', request, sent));
    const call = stub.fullDuplexCall(sent);
    call.write(wants(314159));
    call.end();
    const told = await all(call);
    assert.deepStrictEqual(told.sizes, [314159]);
    check(told);
  },
  async status_code_and_message(stub) { await status(stub, 'test status message'); },
  async special_status_message(stub) { await status(stub, SPECIAL); },
  async unimplemented_method(stub) {
    await refused(unary(stub, 'unimplementedCall', {}), grpc.status.UNIMPLEMENTED);
  },
};

async function ask(address, names, authority) {
  const credentials = authority
    ? grpc.credentials.createSsl(fs.readFileSync(authority))
    : grpc.credentials.createInsecure();
  const stub = new TestService(address, credentials, limits);
  for (const name of names.split(',')) {
    await cases[name](stub);
    console.log(`ok ${name}`);
  }
  stub.close();
}

const [what, ...rest] = process.argv.slice(2);
if (what === 'server') serve(...rest);
else ask(...rest).catch((error) => { console.error(error); process.exit(1); });
