"""The orders that the lab has placed, and how far they are: what a customer of the shop sees, over HTTP."""

import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter

from processes import NO_ANSWER, OPENER, Refused

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from demo_orders import CARRIER_REFUSES, SETTLED, SHIPPED, order_body  # noqa: E402

# What can be ordered: the button's text, the card, the product.
KINDS = {
    "works": ("a card that works", "pm_card_visa", "MUG-BLUE"),
    "declined": ("a card that is declined", "pm_card_visa_chargeDeclined", "MUG-BLUE"),
    "flaky": ("a card that fails twice", "pm_card_flaky", "MUG-BLUE"),
    "refused": ("a parcel that the carrier refuses", "pm_card_visa", CARRIER_REFUSES),
}

MOST_SHOWN = 20
# All are kept, for the count of what became of them.
MOST_KEPT = 500
POLL_SECONDS = 0.5
ANSWER_WITHIN_SECONDS = 5
LARGEST_ANSWER = 1 << 20


def call(url, body=None, headers=None):
    """Returns the status and the JSON of the shop's answer; of an error too."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    try:
        with OPENER.open(request, timeout=ANSWER_WITHIN_SECONDS) as answer:
            return answer.status, json.loads(answer.read(LARGEST_ANSWER))
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read(LARGEST_ANSWER))


class Order:
    def __init__(self, kind, accepted, milliseconds):
        self.kind = kind
        self.id = accepted["order_id"]
        self.number = accepted["number"]
        self.page = accepted["links"]["page"]
        self.accepted_after = milliseconds
        self.status = accepted["status"]
        self.steps = []
        self.token = accepted["token"]

    def shown(self):
        """Returns what the page shows. `page` carries the order's token, because the page links to it."""
        return {
            "id": self.id,
            "number": self.number,
            "kind": KINDS[self.kind][0],
            "page": self.page,
            "accepted_after": self.accepted_after,
            "status": self.status,
            "settled": self.status in SETTLED,
            "steps": self.steps,
        }


class Orders:
    """Places orders and polls those that are not settled. Its methods may be called from any thread."""

    def __init__(self, shop):
        self._shop = shop
        self._lock = threading.Lock()
        self._orders = []
        self._problem = None

    def place(self, kind):
        """Places an order, and returns it once the shop has accepted it."""
        if kind not in KINDS:
            raise Refused("There is no such kind of order.")
        if len(self._orders) >= MOST_KEPT:
            raise Refused(f"This page follows {MOST_KEPT} orders. Start the demo again to place more.")
        _, card, sku = KINDS[kind]
        body = order_body(sku, 1, card)
        began = time.monotonic()
        try:
            status, answer = call(f"{self._shop}/orders", body, {"Idempotency-Key": str(uuid.uuid4())})
        except NO_ANSWER as error:
            raise Refused(f"The shop gave no answer, so the order may not exist: {error}.") from error
        if status != 202:
            raise Refused(f"The shop refused the order with {status}: {answer.get('detail', answer)}")
        order = Order(kind, answer, round((time.monotonic() - began) * 1000))
        with self._lock:
            self._orders.append(order)
        return order

    def find(self, order_id):
        """Returns the order with this id, or None."""
        with self._lock:
            return next((order for order in self._orders if order.id == order_id), None)

    def follow(self):
        """Polls orders that are not settled, forever."""
        while True:
            with self._lock:
                moving = [order for order in self._orders if order.status not in SETTLED]
            problem = None
            for order in moving:
                problem = self._poll(order) or problem
            self._problem = problem
            time.sleep(POLL_SECONDS)

    def _poll(self, order):
        """Reads an order's steps. Returns what went wrong, or None."""
        headers = {"Authorization": f"Bearer {order.token}"}
        try:
            status, answer = call(f"{self._shop}/orders/{order.id}/timeline", headers=headers)
            if status != 200:
                return f"The shop answers with {status}: {answer.get('detail', answer)}"
            steps = [{name: entry[name] for name in ("event", "detail", "at")} for entry in answer["entries"]]
            with self._lock:
                order.steps, order.status = steps, answer["entries"][-1]["status"]
        except (*NO_ANSWER, KeyError, IndexError) as error:
            return f"The shop gave no answer: {error}. The steps below may be old."
        return None

    def shown(self):
        """Returns the newest orders, newest first, the number of all, and what went wrong when they were read."""
        with self._lock:
            newest = [order.shown() for order in reversed(self._orders[-MOST_SHOWN:])]
            return newest, len(self._orders), self._problem

    def count(self):
        """Returns a sentence on what became of all orders."""
        with self._lock:
            counts = Counter("shipped" if order.status in SHIPPED else order.status for order in self._orders)
        total = sum(counts.values())
        ended = [(counts.pop(name, 0), words) for name, words in (
            ("shipped", "shipped"), ("payment_failed", "declined"), ("cancelled", "cancelled"),
        )]
        parts = ended + [(sum(counts.values()), "in progress")]
        return f"Accepted on this page: {total} = {' + '.join(f'{number} {words}' for number, words in parts)}."
