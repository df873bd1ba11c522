#!/usr/bin/env python3
"""A receiver of webhooks that checks every signature.

    pip install standardwebhooks
    POSTHORN_SIGNING_SECRET=whsec_… python3 examples/receiver.py --port 9000

Register http://127.0.0.1:9000/hook as an endpoint; a server that may call this
machine needs POSTHORN_ALLOW_TARGETS=127.0.0.1 and POSTHORN_ALLOW_HTTP=true.
"""

import argparse
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

try:
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
except ImportError:
    sys.exit("the library of Standard Webhooks is missing: pip install standardwebhooks")

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
    secret = os.environ.get("POSTHORN_SIGNING_SECRET")
    if not secret:
        sys.exit("no secret: set POSTHORN_SIGNING_SECRET to the endpoint's, whsec_…")
    try:
        webhook = Webhook(secret)
    except Exception as error:  # the library has no common class for these
        sys.exit(f"POSTHORN_SIGNING_SECRET is not the secret of an endpoint, whsec_…: {error}")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", arguments.port), Receiver)
    except OSError as error:
        sys.exit(f"cannot listen on port {arguments.port}: {error.strerror}; choose another with --port")
    server.webhook = webhook
    print(f"listening on http://127.0.0.1:{server.server_port}/hook", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
