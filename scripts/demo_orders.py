"""Places the demo's orders, follows each to its end and reports the outcomes.

usage: demo_orders.py BASE_URL SUMMARY_FILE

Uses only the standard library, because nothing else may be installed.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid

# The simulated carrier refuses this product: stock is released and the charge refunded.
CARRIER_REFUSES = "BATTERY-BULK"

# Card and product determine how an order ends; None: any product that ships.
PLAN = [
    ("pm_card_visa", None, "shipped"),
    ("pm_card_visa_chargeDeclined", None, "payment_failed"),
    ("pm_card_visa", CARRIER_REFUSES, "cancelled"),
]

SHIPPED = {"shipped", "in_transit", "delivered"}
SETTLED = SHIPPED | {"payment_failed", "cancelled"}
DEADLINE_SECONDS = 60
POLL_SECONDS = 0.1


def call(url, body=None, headers=None):
    """Returns the answer's JSON; an HTTP error ends the demo with the server's answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        # No proxy: the address is local.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{request.get_method()} {url} was answered with {error.code}: {error.read().decode(errors='replace')}")
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(f"{request.get_method()} {url} was not answered: {error}")


def choose_skus(base):
    """Returns one product per order, all of them in stock."""
    items = call(f"{base}/products")["items"]
    skus = [item["sku"] for item in items if item["in_stock"] and item["sku"] != CARRIER_REFUSES]
    if not skus:
        sys.exit("GET /products lists no product in stock.")
    return [sku or skus[index % len(skus)] for index, (_, sku, _) in enumerate(PLAN)]


def order_body(sku, quantity, card, email="ada@example.com"):
    """Returns the body of a request that places an order."""
    return {
        "customer": {"name": "Ada Demo", "email": email},
        "shipping_address": {"line1": "1 Example Street", "city": "Berlin", "postal_code": "10115", "country": "DE"},
        "items": [{"sku": sku, "quantity": quantity}],
        "payment": {"method": card},
    }


def place(base, sku, card):
    return call(f"{base}/orders", order_body(sku, 2, card), {"Idempotency-Key": str(uuid.uuid4())})


def follow(base, orders):
    """Polls until every order is settled or the time is over; returns the last status of each."""
    seen = [None] * len(orders)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline and not all(status in SETTLED for status in seen):
        for index, order in enumerate(orders):
            if seen[index] in SETTLED:
                continue
            authorization = {"Authorization": f"Bearer {order['token']}"}
            status = call(f"{base}/orders/{order['order_id']}", headers=authorization)["status"]
            if status != seen[index]:
                seen[index] = status
                print(f"order {order['number']}: {status}", flush=True)
        time.sleep(POLL_SECONDS)
    return seen


def outcome(status):
    """Returns the outcome for the summary; all statuses from shipped on count as shipped."""
    return "shipped" if status in SHIPPED else status


def summary(outcomes):
    names = ["shipped", "payment_failed", "cancelled"]
    names += sorted(set(outcomes) - set(names))
    counts = [f"{outcomes.count(name)} {name}" for name in names if name in outcomes]
    return f"demo: {len(outcomes)} orders: {', '.join(counts)}"


def main():
    base, summary_file = sys.argv[1:]
    orders = []
    for sku, (method, _, _) in zip(choose_skus(base), PLAN):
        order = place(base, sku, method)
        print(f"order {order['number']}: accepted, two of {sku}, card {method}", flush=True)
        orders.append(order)
    outcomes = [outcome(status) for status in follow(base, orders)]

    print()
    for order, result in zip(orders, outcomes):
        print(f"order {order['number']} ({result})")
        print(f"  {order['links']['page']}")
        print(f"  curl -H 'Authorization: Bearer {order['token']}' {base}/orders/{order['order_id']}")
    with open(summary_file, "w", encoding="utf-8") as file:
        print(summary(outcomes), file=file)
    if outcomes != [expected for _, _, expected in PLAN]:
        sys.exit(f"{summary(outcomes)} (after at most {DEADLINE_SECONDS} s)")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
