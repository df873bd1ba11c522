#!/usr/bin/env python3
"""A receiver of webhooks that checks every signature.

    pip install standardwebhooks
    POSTHORN_SIGNING_SECRET=whsec_… python3 examples/receiver.py --port 9000

Register http://127.0.0.1:9000/hook as an endpoint; a server that may call this
machine needs POSTHORN_ALLOW_TARGETS=127.0.0.1/32 and POSTHORN_ALLOW_HTTP=true.
"""

import argparse
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MAX_BODY = 1024 * 1024


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what was signed with our secret, and 401 to all else."""

    protocol_version = "HTTP/1.1"
    # Ids that were handled. A real receiver keeps them in its database for as
    # long as replays may come (30 days), and writes them with its own changes.
    handled = set()

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > MAX_BODY:
            self.answer(413)
            return
        # The signature is over these very bytes: check them before parsing.
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            self.server.webhook.verify(body, headers)
        except WebhookVerificationError as error:
            print("refused:", error, flush=True)
            self.answer(401)
            return
        event = headers["webhook-id"]
        if event in self.handled:
            print("again", event, flush=True)
        else:
            self.handled.add(event)
            print("verified", body.decode(), flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """What matters is printed above."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9000)
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Receiver)
    server.webhook = Webhook(os.environ["POSTHORN_SIGNING_SECRET"])
    print(f"listening on http://127.0.0.1:{server.server_port}/hook", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
