#!/usr/bin/env python3
"""Publishes an event from Python's standard library alone, safely.

    POSTHORN_API_KEY=phk_… python3 examples/publisher.py acme ord_1

What matters: the idempotency key comes from the caller's own outbox, so that
a request that got no answer can be sent again without making two events. It
begins with the service and the table: two services that both use the numbers
of their rows would otherwise meet.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

URL = os.environ.get("POSTHORN_URL", "http://127.0.0.1:8400")
KEY = os.environ.get("POSTHORN_API_KEY")
TRIES = 5


def publish(event, idempotency_key):
    """Gives Posthorn's answer, once the event is on durable storage there."""
    request = urllib.request.Request(
        f"{URL}/v1/events",
        data=json.dumps(event).encode(),
        headers={
            "Authorization": f"Bearer {KEY}",
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key,
        },
    )
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            # 4xx: the request itself is wrong, and the problem says how.
            if error.code < 500 or attempt == TRIES:
                sys.exit(f"refused: {error.read().decode()}")
            time.sleep(float(error.headers.get("Retry-After", 1)))
        except urllib.error.URLError as error:
            # No answer: it may or may not have arrived. The key makes it safe to repeat.
            if attempt == TRIES:
                sys.exit(f"cannot reach {URL}: {error.reason}")
            time.sleep(1)


def main():
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} TENANT SUBJECT")
    if not KEY:
        sys.exit("no API key: set POSTHORN_API_KEY to one that may publish (scope events:write)")
    tenant, subject = sys.argv[1:]
    event = {"tenant": tenant, "type": "order.paid", "subject": subject, "data": {"currency": "EUR"}}
    answer = publish(event, idempotency_key=f"shop-orders-{subject}-paid")
    print(answer["status"], answer["id"])


if __name__ == "__main__":
    main()
