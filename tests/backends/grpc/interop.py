"""The interoperability cases of gRPC on grpcio, as a server and as a client that says `ok CASE` for each.

interop.py server ADDRESS [CERTIFICATE KEY]
interop.py client ADDRESS CASE,CASE,... [AUTHORITY]
"""

import concurrent.futures
import pathlib
import sys
import threading

import grpc
import testing_pb2 as messages
import testing_pb2_grpc as stubs

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
SIZES = [31415, 9, 2653, 58979]
SENT = [27182, 8, 1828, 45904]


class Service(stubs.TestServiceServicer):
    def EmptyCall(self, request, context):
        echo(context)
        return messages.Empty()

    def UnaryCall(self, request, context):
        echo(context)
        fail(request, context)
        return messages.SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, context):
        echo(context)
        yield from outputs(request)

    def StreamingInputCall(self, requests, context):
        size = sum(len(request.payload.body) for request in requests)
        return messages.StreamingInputCallResponse(aggregated_payload_size=size)

    def FullDuplexCall(self, requests, context):
        echo(context)
        for request in requests:
            fail(request, context)
            yield from outputs(request)


def payload(size):
    return messages.Payload(body=bytes(size))


def outputs(request):
    for parameters in request.response_parameters:
        yield messages.StreamingOutputCallResponse(payload=payload(parameters.size))


def echo(context):
    sent = dict(context.invocation_metadata())
    if INITIAL in sent:
        context.send_initial_metadata([(INITIAL, sent[INITIAL])])
    if TRAILING in sent:
        context.set_trailing_metadata([(TRAILING, sent[TRAILING])])


def fail(request, context):
    if request.HasField("response_status") and request.response_status.code:
        code = next(code for code in grpc.StatusCode if code.value[0] == request.response_status.code)
        context.abort(code, request.response_status.message)


def read(path):
    return pathlib.Path(path).read_bytes()


def serve(address, *files):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    stubs.add_TestServiceServicer_to_server(Service(), server)
    if files:
        certificate, key = map(read, files)
        server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
    else:
        server.add_insecure_port(address)
    server.start()
    threading.Event().wait()


def wants(sizes):
    return messages.StreamingOutputCallRequest(response_parameters=[messages.ResponseParameters(size=size) for size in sizes])


def code_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def equal(got, wanted):
    assert got == wanted, f"{got!r} and not {wanted!r}"


class Ping:
    """Requests of a duplex call, one at a time."""

    def __init__(self):
        self.ready, self.requests, self.ended = threading.Condition(), [], False

    def send(self, request):
        with self.ready:
            self.requests.append(request)
            self.ready.notify()

    def end(self):
        with self.ready:
            self.ended = True
            self.ready.notify()

    def __iter__(self):
        return self

    def __next__(self):
        with self.ready:
            self.ready.wait_for(lambda: self.requests or self.ended)
            if not self.requests:
                raise StopIteration
            return self.requests.pop(0)


def empty_unary(stub):
    equal(stub.EmptyCall(messages.Empty()), messages.Empty())


def large_unary(stub):
    answer = stub.UnaryCall(messages.SimpleRequest(response_size=314159, payload=payload(271828)))
    equal(answer.payload.body, bytes(314159))


def client_streaming(stub):
    requests = (messages.StreamingInputCallRequest(payload=payload(size)) for size in SENT)
    equal(stub.StreamingInputCall(requests).aggregated_payload_size, 74922)


def server_streaming(stub):
    equal([len(answer.payload.body) for answer in stub.StreamingOutputCall(wants(SIZES))], SIZES)


def ping_pong(stub):
    ping = Ping()
    call = stub.FullDuplexCall(ping)
    for size, sent in zip(SIZES, SENT):
        request = wants([size])
        request.payload.CopyFrom(payload(sent))
        ping.send(request)
        equal(len(next(call).payload.body), size)
    ping.end()
    equal(next(call, None), None)


def empty_stream(stub):
    equal(list(stub.FullDuplexCall(iter(()))), [])


def cancel_after_begin(stub):
    call = stub.StreamingInputCall.future(iter(Ping()))
    call.cancel()
    assert call.cancelled()
    equal(call.code(), grpc.StatusCode.CANCELLED)


def cancel_after_first_response(stub):
    ping = Ping()
    call = stub.FullDuplexCall(ping)
    ping.send(wants([31415]))
    equal(len(next(call).payload.body), 31415)
    call.cancel()
    equal(code_of(lambda: next(call))[0], grpc.StatusCode.CANCELLED)


def timeout_on_sleeping_server(stub):
    ping = Ping()
    call = stub.FullDuplexCall(ping, timeout=0.001)
    ping.send(wants([31415]))
    equal(code_of(lambda: list(call))[0], grpc.StatusCode.DEADLINE_EXCEEDED)


def custom_metadata(stub):
    sent = [(INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab")]
    request = messages.SimpleRequest(response_size=314159, payload=payload(271828))
    answer, call = stub.UnaryCall.with_call(request, metadata=sent)
    equal(len(answer.payload.body), 314159)
    equal(dict(call.initial_metadata())[INITIAL], sent[0][1])
    equal(dict(call.trailing_metadata())[TRAILING], sent[1][1])
    ping = Ping()
    ping.send(wants([314159]))
    ping.end()
    call = stub.FullDuplexCall(ping, metadata=sent)
    equal([len(answer.payload.body) for answer in call], [314159])
    equal(dict(call.initial_metadata())[INITIAL], sent[0][1])
    equal(dict(call.trailing_metadata())[TRAILING], sent[1][1])


def status(stub, message):
    wanted = messages.EchoStatus(code=2, message=message)
    unary = code_of(lambda: stub.UnaryCall(messages.SimpleRequest(response_status=wanted)))
    equal(unary, (grpc.StatusCode.UNKNOWN, message))
    request = messages.StreamingOutputCallRequest(response_status=wanted)
    equal(code_of(lambda: list(stub.FullDuplexCall(iter([request])))), (grpc.StatusCode.UNKNOWN, message))


def status_code_and_message(stub):
    status(stub, "test status message")


def special_status_message(stub):
    status(stub, SPECIAL)


def unimplemented_method(stub):
    equal(code_of(lambda: stub.UnimplementedCall(messages.Empty()))[0], grpc.StatusCode.UNIMPLEMENTED)


def ask(address, cases, *authority):
    options = [("grpc.max_receive_message_length", -1)]
    if authority:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(read(authority[0])), options)
    else:
        channel = grpc.insecure_channel(address, options)
    with channel:
        stub = stubs.TestServiceStub(channel)
        for case in cases.split(","):
            globals()[case](stub)
            print("ok", case, flush=True)


{"server": serve, "client": ask}[sys.argv[1]](*sys.argv[2:])
