"""What no description can say: which products there are, and which token opens which order."""

import json
import os
import pathlib
import string
import uuid

import schemathesis

# By order, of those that this run has placed.
TOKENS = {os.environ["ORDER_ID"]: os.environ["ORDER_TOKEN"]}

PRODUCTS = [f"PART-{number}" for number in range(1, 51)]

DESCRIPTION = json.loads((pathlib.Path(__file__).parents[2] / "src/web/openapi.json").read_text())
ADDRESS = DESCRIPTION["components"]["schemas"]["OrderRequest"]["properties"]["shipping_address"]["properties"]
COUNTRIES = ADDRESS["country"]["enum"]

LEADING = set(string.ascii_uppercase + string.digits)


@schemathesis.auth(refresh_interval=None)
class Token:
    """An order is opened by its own token."""

    def get(self, case, context):
        return TOKENS.get((case.path_parameters or {}).get("id"))

    def set(self, case, data, context):
        if data:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.operation.path == "/orders" and isinstance(case.body, dict):
        adapt(case.body)
        # The same key for another order is a mistake; for the same one it is a repetition.
        if is_key(case.headers.get("Idempotency-Key")):
            case.headers["Idempotency-Key"] = str(uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(case.body, sort_keys=True)))
    # schemathesis speaks no WebSocket, so it does not get as far as one.
    if case.operation.path.endswith("/live"):
        case.headers.pop("Upgrade", None)


def adapt(order):
    """
    Puts in the place of what is well-formed what the shop can take: a product that there is, a country with a postal code of
    its form, names and lines of letters. What is not well-formed stays, to be refused.
    """
    items = order.get("items")
    for item, sku in zip(items if isinstance(items, list) else [], PRODUCTS):
        if isinstance(item, dict) and is_sku(item.get("sku")):
            item["sku"] = sku
        # JSON Schema counts 7.0 as a whole number; here it is written as one.
        if isinstance(item, dict) and isinstance(item.get("quantity"), float) and item["quantity"].is_integer():
            item["quantity"] = int(item["quantity"])
    if is_id(order.get("replaces")):
        del order["replaces"]
    shown = order.get("expected_total")
    if isinstance(shown, (int, float)) and not isinstance(shown, bool) and shown >= 0 and shown == int(shown):
        del order["expected_total"]
    customer, address = order.get("customer"), order.get("shipping_address")
    if isinstance(address, dict):
        code = address.get("postal_code")
        if is_country(address.get("country")) and (code in (None, "") or is_text(code, 20)):
            address.update(country="DE", postal_code="10115")
        if is_text(address.get("phone"), 40):
            address["phone"] = "+49 30 1234567"
        for field, most in (("line1", 200), ("line2", 200), ("city", 100), ("state", 100)):
            plain(address, field, most)
    if isinstance(customer, dict):
        plain(customer, "name", 200)
        name, _, domain = str(customer.get("email")).partition("@")
        if name and domain and is_text(customer["email"], 254):
            customer["email"] = "ada@example.org"


def plain(part, field, most):
    if is_text(part.get(field), most):
        part[field] = "x" * len(part[field])


def is_text(value, most):
    return isinstance(value, str) and 1 <= len(value) <= most


def is_country(value):
    """As the description has them: another one stays as it is, to be refused."""
    return isinstance(value, str) and value in COUNTRIES


def is_sku(value):
    well_formed = isinstance(value, str) and 1 <= len(value) <= 32
    return well_formed and value[0] in LEADING and set(value) <= LEADING | {"-"}


def is_key(value):
    return isinstance(value, str) and 16 <= len(value) <= 255 and all(" " <= one <= "~" for one in value)


def is_id(value):
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


@schemathesis.hook
def after_call(context, case, response):
    if case.operation.path == "/orders" and response.status_code == 202:
        placed = response.json()
        TOKENS[placed["order_id"]] = placed["token"]
