"""Malformed HTTP/2 and floods of it, frame by frame on python-hyper's hyperframe and hpack.

usage: http2_frames.py HOST PORT. Each row has a connection of its own. Says what became of each, a line a row, and ends with 1 if
one was not as it has to be, or if after it a request on a new connection is not served.
"""

import socket
import struct
import sys

from hpack import Decoder, Encoder
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = [(":method", "POST"), (":scheme", "http"), (":path", "/row"), (":authority", "app.test")]
# What a row may end with. An answer of 4xx or 501, a reset and the end of the connection all refuse.
REFUSED = {"refused", "reset", "ended"}
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, ENHANCE_YOUR_CALM = 1, 3, 6, 11
TIMEOUT_SECONDS = 20


class Client:
    """One connection; reads until a stream is over or the connection is."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, TIMEOUT_SECONDS)
        self.encoder = Encoder()
        self.buffer = b""
        self.send(PREFACE, SettingsFrame(0))

    def send(self, *frames):
        raw = b"".join(one if isinstance(one, bytes) else one.serialize() for one in frames)
        try:
            self.socket.sendall(raw)
        except ConnectionError:
            pass  # It has ended; why is still to be read.

    def head(self, fields, stream=1, flags=("END_HEADERS", "END_STREAM")):
        return HeadersFrame(stream, self.encoder.encode(fields), flags=flags)

    def frames(self):
        while True:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                try:
                    piece = self.socket.recv(65536)
                except ConnectionError:
                    return
                if not piece:
                    return
                self.buffer += piece
            length = int.from_bytes(self.buffer[:3], "big")
            raw, self.buffer = self.buffer[: 9 + length], self.buffer[9 + length :]
            frame, _ = Frame.parse_frame_header(memoryview(raw[:9]))
            frame.parse_body(memoryview(raw[9:]))
            yield frame

    def outcome(self, stream=1):
        """What became of a stream, and the code of a reset or of the end."""
        status, code = None, None
        for frame in self.frames():
            match frame:
                case SettingsFrame() if "ACK" not in frame.flags:
                    self.send(SettingsFrame(0, flags=["ACK"]))
                case GoAwayFrame():
                    code = frame.error_code
                case RstStreamFrame(stream_id=of) if of == stream:
                    return "reset", frame.error_code
                case HeadersFrame(stream_id=of) if of == stream and status is None:
                    # Nothing of the answer's block refers to what an earlier one has put into the table.
                    status = dict(Decoder().decode(frame.data))[":status"]
                    if "END_STREAM" in frame.flags:
                        return self.answered(status), None
                case DataFrame(stream_id=of) if of == stream and "END_STREAM" in frame.flags:
                    return self.answered(status), None
        return "ended", code

    @staticmethod
    def answered(status):
        if status == "200":
            return "served"
        return "refused" if status == "501" or status.startswith("4") else f"status {status}"


def field(name, value):
    """A request with one more field, or with another value in its place."""
    if not name.startswith(":"):
        return [*REQUEST, (name, value)]
    return [(known, value if known == name else was) for known, was in REQUEST]


def heads():
    """Heads that are refused: wrong as HTTP, right as frames (RFC 9113 sections 8.2 and 8.3)."""
    for value in ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", " a", "a ", "\ta"]:
        yield f"G01 {value!r}", field("x-row", value)
    for name in ["x:row", "x row", "X-Row", "", "x\r\ny", "x\0y", "x\x7f"]:
        yield f"G02 {name!r}", field(name, "v")
    for name, value in [(":method", "GET / HTTP/1.1\r\nx-evil: 1"), (":path", "/ HTTP/1.1\r\nx-evil: 1"),
                        (":authority", "a\r\nx-evil: 1"), (":scheme", "http\r\nx-evil: 1"), (":path", "/a b")]:
        yield f"G03 {name} {value!r}", field(name, value)
    for name, value in [("transfer-encoding", "chunked"), ("connection", "close"), ("upgrade", "h2c"),
                        ("keep-alive", "timeout=5"), ("proxy-connection", "close"), ("te", "gzip")]:
        yield f"G04 {name}", field(name, value)
    yield "G05 on a head that ends", field("content-length", "5")
    yield "G05 +5", field("content-length", "+5")
    yield "G05 two", [*REQUEST, ("content-length", "0"), ("content-length", "1")]
    for one in REQUEST[:3]:
        yield f"G06 no {one[0]}", [known for known in REQUEST if known != one]
        yield f"G06 {one[0]} twice", [*REQUEST, one]
    yield "G06 unknown", [(":row", "x"), *REQUEST]
    yield "G06 :status", [(":status", "200"), *REQUEST]
    yield "G06 late", [("x-row", "1"), *REQUEST]
    for value in ["", "user@app.test", "a b"]:
        yield f"G07 {value!r}", field(":authority", value)
    yield "G07 another host", field("host", "other.test")
    for value in ["", "row", "*", "/#row", "http://evil.test/"]:
        yield f"G08 {value!r}", field(":path", value)
    yield "G10 5,000 crumbs", [*REQUEST, *[("cookie", "a=b")] * 5000]


def connections():
    """Frames that are wrong by themselves (sections 4 to 6), and the code that the connection or the stream ends with."""
    over = struct.pack(">I", 0x7FFFFFFF)
    yield "G12 an even stream", lambda c: [c.head(REQUEST, 2)], 2, PROTOCOL_ERROR
    yield "G12 a stream that goes back", lambda c: [c.head(REQUEST, 5), c.head(REQUEST, 3)], 3, PROTOCOL_ERROR
    yield "G12 a promise", lambda c: [PushPromiseFrame(1, 2, b"", flags=["END_HEADERS"])], 1, PROTOCOL_ERROR
    yield "G12 a priority on itself", lambda c: [PriorityFrame(1, depends_on=1)], 1, PROTOCOL_ERROR
    yield "G12 padding beyond the frame", lambda c: [
        c.head(REQUEST, flags=["END_HEADERS"]), b"\0\0\2\0\x08\0\0\0\1\xff\0"], 1, PROTOCOL_ERROR
    yield "G12 SETTINGS of 5 bytes", lambda c: [b"\0\0\5\4\0\0\0\0\0" + bytes(5)], 1, FRAME_SIZE_ERROR
    yield "G12 a window beyond its limit", lambda c: [b"\0\0\6\4\0\0\0\0\0\0\4\xff\xff\xff\xff"], 1, FLOW_CONTROL_ERROR
    yield "G12 a window that overflows", lambda c: [b"\0\0\4\x08\0\0\0\0\0" + over], 1, FLOW_CONTROL_ERROR
    yield "G12 a frame that is too large", lambda c: [b"\1\0\0\0\0\0\0\0\1"], 1, FRAME_SIZE_ERROR
    yield "G12 content before a head", lambda c: [DataFrame(1, b"x")], 1, PROTOCOL_ERROR
    yield "G12 another stream within a block", lambda c: [
        c.head(REQUEST, flags=["END_STREAM"]), DataFrame(3, b"x")], 1, PROTOCOL_ERROR
    yield "G12 unknown frames", lambda c: [b"\0\0\x09\xfe\0\0\0\0\0" + b"x" * 9, c.head(REQUEST)], 1, None
    yield "G05 less than told", lambda c: [
        c.head(field("content-length", "9"), flags=["END_HEADERS"]), DataFrame(1, b"12345", flags=["END_STREAM"])
    ], 1, PROTOCOL_ERROR
    yield "G11 content without a length", lambda c: [
        c.head(REQUEST, flags=["END_HEADERS"]), DataFrame(1, b"12345", flags=["END_STREAM"])], 1, None


def floods():
    """Batches that are sent until the connection ends (CVE-2023-44487 and its kin)."""
    def resets(c, turn):
        streams = range(200 * turn + 1, 200 * turn + 101, 2)
        return [one for id in streams for one in (c.head(REQUEST, id), RstStreamFrame(id, 8))]

    def made_resets(c, turn):
        streams = range(200 * turn + 1, 200 * turn + 101, 2)
        return [one for id in streams for one in (c.head(REQUEST, id), b"\0\0\4\x08\0" + struct.pack(">II", id, 0))]

    def opened(c, turn, *frames):
        return [c.head(REQUEST, flags=["END_HEADERS"]) if turn == 0 else b"", *frames]

    yield "H01 rapid resets", resets
    yield "H02 resets that it is made to send", made_resets
    yield "H03 a block that does not end", lambda c, turn: [
        *([c.head(REQUEST, flags=["END_STREAM"])] if turn == 0 else []), *[ContinuationFrame(1, b"")] * 50]
    yield "H06 SETTINGS", lambda c, turn: [SettingsFrame(0)] * 100
    yield "H06 table sizes", lambda c, turn: [
        SettingsFrame(0, {SettingsFrame.HEADER_TABLE_SIZE: 4096 * (n % 2)}) for n in range(100)]
    yield "H07 PING", lambda c, turn: [PingFrame(0, b"12345678")] * 100
    yield "H08 empty frames", lambda c, turn: opened(c, turn, *[DataFrame(1, b"")] * 100)
    yield "H10 PRIORITY", lambda c, turn: [PriorityFrame(3, depends_on=0)] * 100
    yield "H10 unknown frames", lambda c, turn: [ExtensionFrame(0xFE, 0, body=b"")] * 100
    yield "H10 windows", lambda c, turn: [WindowUpdateFrame(0, 1)] * 100


def play_head(address, fields):
    client = Client(address)
    client.send(client.head(fields))
    got = client.outcome()
    return got, got[0] in REFUSED


def play_connection(address, frames, stream, code):
    client = Client(address)
    client.send(*frames(client))
    got = client.outcome(stream)
    return got, got == ("served", None) if code is None else got[0] in REFUSED and got[1] in (code, None)


def play_flood(address, batch, turns=2000):
    client = Client(address)
    client.socket.settimeout(0.001)
    for turn in range(turns):
        try:
            client.send(*batch(client, turn))
            got = client.outcome(0)
        except TimeoutError:
            continue
        return got, got[0] == "ended" and got[1] in (ENHANCE_YOUR_CALM, None)
    return ("open", None), False


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    rows = [(name, play_head, [fields]) for name, fields in heads()]
    rows += [(name, play_connection, more) for name, *more in connections()]
    rows += [(name, play_flood, more) for name, *more in floods()]
    failed = 0
    for name, play, more in rows:
        try:
            got, right = play(address, *more)
        except (TimeoutError, HyperframeError) as error:
            got, right = (f"{type(error).__name__}: {error}", None), False
        # Whoever has done nothing is served, whatever the others do.
        innocent = Client(address)
        innocent.send(innocent.head([(n, "/innocent" if n == ":path" else v) for n, v in REQUEST]))
        right = right and innocent.outcome()[0] == "served"
        failed += not right
        print(f"{'ok' if right else 'NOT OK'}: {name!r}: {got[0]}, code {got[1]}")
    print(f"{len(rows)} rows, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
