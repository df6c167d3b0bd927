"""The customers of `make containers`: they place orders and look them up later.

usage: container_orders.py BASE_URL FILE place COUNT   places orders
       container_orders.py BASE_URL FILE keep-placing  places orders until SIGTERM; reports the longest wait
       container_orders.py BASE_URL FILE settle        waits until every order of FILE has shipped

FILE has one order per line, as JSON. A request that fails is repeated with the same idempotency key.
Uses only the standard library, because nothing else may be installed.
"""

import http.client
import json
import signal
import sys
import time
import urllib.error
import urllib.request
import uuid

from demo_orders import SHIPPED, order_body

# The slowest case is a restart of every container, of up to a minute.
DEADLINE_SECONDS = 180
PAUSE_SECONDS = 0.1

# No proxy: the address is local.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(url, body=None, headers=None):
    """Returns the answer's JSON, or None if there is no answer or the server reports that it is unavailable."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with OPENER.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code < 500:
            answer = error.read().decode(errors="replace")
            sys.exit(f"{request.get_method()} {url} was answered with {error.code}: {answer}")
    except (OSError, ValueError, http.client.HTTPException):
        # Refused, reset, timed out, or cut in the middle of the answer.
        pass
    return None


def place(base, file):
    """Places one order and adds it to FILE; returns the number of seconds until the shop accepted it."""
    body = order_body("MUG-BLUE", 1, "pm_card_visa", f"{uuid.uuid4().hex}@example.com")
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    began = time.monotonic()
    while (order := call(f"{base}/orders", body, headers)) is None:
        if time.monotonic() - began > DEADLINE_SECONDS:
            sys.exit(f"The shop accepted no order for {DEADLINE_SECONDS} s.")
        time.sleep(PAUSE_SECONDS)
    with open(file, "a", encoding="utf-8") as orders:
        print(json.dumps({name: order[name] for name in ("order_id", "number", "token")}), file=orders)
    return time.monotonic() - began


def keep_placing(base, file):
    """Places orders one after the other until SIGTERM."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    waits = []
    while not stopped:
        waits.append(place(base, file))
        time.sleep(PAUSE_SECONDS)
    print(f"customers placed {len(waits)} orders meanwhile; the longest wait for the shop was {max(waits):.1f} s")


def settle(base, file):
    """Waits until every order of FILE has shipped; fails with those that have not."""
    with open(file, encoding="utf-8") as lines:
        orders = [json.loads(line) for line in lines]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while orders and time.monotonic() < deadline:
        for order in orders:
            headers = {"Authorization": f"Bearer {order['token']}"}
            order["status"] = (call(f"{base}/orders/{order['order_id']}", headers=headers) or {}).get("status")
        orders = [order for order in orders if order["status"] not in SHIPPED]
        time.sleep(PAUSE_SECONDS)
    if orders:
        lost = ", ".join(f"{order['number']} ({order['status']})" for order in orders)
        sys.exit(f"Not shipped within {DEADLINE_SECONDS} s: {lost}")


def main():
    match sys.argv[1:]:
        case [base, file, "place", count]:
            for _ in range(int(count)):
                place(base, file)
        case [base, file, "keep-placing"]:
            keep_placing(base, file)
        case [base, file, "settle"]:
            settle(base, file)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
