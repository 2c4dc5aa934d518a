"""An ordinary server of Python's standard library, which reads only what Content-Length tells it."""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        size = int(self.headers.get("content-length", 0))
        self.rfile.read(size)
        name = self.headers.get("x-id", "-")
        text = f"python {name} {size}\n".encode()
        self.send_response(200)
        self.send_header("X-Id", name)
        self.send_header("Content-Length", str(len(text)))
        if "transfer-encoding" in self.headers:
            # It does not understand chunks, and is honest enough to say that it stops here.
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Echo)
server.daemon_threads = True
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
