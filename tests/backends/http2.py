"""A server of HTTP/2 in the clear on python-hyper's h2, which is strict: reads each request whole and says whose it was."""

import socketserver
import sys

import h2.config
import h2.connection
import h2.events


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        self.streams = {}
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.request.sendall(self.h2.data_to_send())
        while data := self.request.recv(65536):
            try:
                for event in self.h2.receive_data(data):
                    self.take(event)
            finally:
                # What it objects to is said before it is raised.
                self.request.sendall(self.h2.data_to_send())

    def take(self, event):
        match event:
            case h2.events.RequestReceived():
                self.streams[event.stream_id] = [dict(event.headers).get("x-id", "-"), 0]
            case h2.events.DataReceived():
                self.streams[event.stream_id][1] += len(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                identity, size = self.streams.pop(event.stream_id)
                self.h2.send_headers(event.stream_id, [(":status", "200"), ("x-id", identity)])
                self.h2.send_data(event.stream_id, f"python {identity} {size}\n".encode())
                self.h2.send_headers(event.stream_id, [("x-size", str(size))], end_stream=True)
            case h2.events.StreamReset():
                self.streams.pop(event.stream_id, None)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


Server((sys.argv[1], int(sys.argv[2])), Connection).serve_forever()
