"""Stores the traces that it receives by OTLP over HTTP, for trace_picture.py.

usage: trace_record.py PORT FILE [ENDPOINT]

FILE gets one ExportTraceServiceRequest of OTLP/JSON a line, as the OpenTelemetry Collector's file exporter writes
them. With ENDPOINT every request is forwarded unchanged to a viewer. SIGTERM or Ctrl-C ends it.

Our programs send protobuf. Run it where `pip install opentelemetry-proto==1.45.2` was done.
"""

import base64
import http.server
import json
import signal
import sys
import urllib.request

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

# More than one of our batches ever needs.
LARGEST_BYTES = 64 * 1024 * 1024
# As long as our programs wait for the answer.
TIME_OUT_SECONDS = 5
# OTLP/JSON writes these in hexadecimal digits, unlike all other bytes.
IDS = {"traceId", "spanId", "parentSpanId"}


def with_hexadecimal_ids(value):
    """Converts MessageToDict's result to OTLP/JSON."""
    if isinstance(value, list):
        return [with_hexadecimal_ids(item) for item in value]
    if isinstance(value, dict):
        return {
            name: base64.b64decode(item).hex() if name in IDS else with_hexadecimal_ids(item)
            for name, item in value.items()
        }
    return value


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers POST /v1/traces."""

    file = None
    endpoint = None

    def do_POST(self):  # noqa: N802, as http.server names it
        length = int(self.headers.get("Content-Length", 0))
        if self.path != "/v1/traces" or not 0 < length <= LARGEST_BYTES:
            self.send_error(400)
            return
        body = self.rfile.read(length)
        request = ExportTraceServiceRequest.FromString(body)
        line = with_hexadecimal_ids(MessageToDict(request, use_integers_for_enums=True))
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        status = self.pass_on(body) if self.endpoint else 200
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def pass_on(self, body):
        """Forwards a request; returns the viewer's status, or 502 if it is unreachable."""
        headers = {"Content-Type": "application/x-protobuf"}
        request = urllib.request.Request(f"{self.endpoint}/v1/traces", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIME_OUT_SECONDS) as answer:
                return answer.status
        except OSError as error:
            print(f"not forwarded: {error}", file=sys.stderr, flush=True)
            return 502

    def log_message(self, *_):
        """Logs nothing: the file has every request."""


def main():
    port, path, *endpoint = sys.argv[1:]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with open(path, "a", encoding="utf-8") as file:
        Recorder.file = file
        Recorder.endpoint = endpoint[0].rstrip("/") if endpoint else None
        # One at a time, so that lines do not mix.
        with http.server.HTTPServer(("127.0.0.1", int(port)), Recorder) as server:
            server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
