"""The content of mails."""

import email.utils
import html
from typing import Any


def money(minor_units: int, currency: str) -> str:
    """Returns an amount as people read it: `14.99 EUR`."""
    return f"{minor_units / 100:.2f} {currency}"


def compose(message_id: str, subject: str, message: str, lines: list[Any]) -> bytes:
    """Returns a mail in text and HTML. Seeded orders are ASCII, so nothing needs an encoding."""
    order = lines[0]
    number, customer, currency = order["number"], order["customer"], order["currency"]
    rows = [(line["name"], line["quantity"], money(line["price"] * line["quantity"], currency)) for line in lines]
    total = money(order["total"], currency)
    page = f"https://shop.example/orders/{number}"
    text = [
        "From: Orderflow <orders@shop.example>",
        f'To: "{customer}" <{order["address"]}>',
        f"Subject: {subject} {number}",
        f"Message-ID: <{message_id}>",
        f"Date: {email.utils.formatdate(usegmt=True)}",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{number}"',
        "",
        f"--{number}",
        "Content-Type: text/plain; charset=utf-8",
        "",
        f"Hello {customer},",
        "",
        message,
        "",
        *(f"{quantity} x {name}: {amount}" for name, quantity, amount in rows),
        f"Total: {total}",
        "",
        f"Your order {number}, always up to date: {page}",
        f"--{number}",
        "Content-Type: text/html; charset=utf-8",
        "",
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(subject)} {number}</title></head>",
        '<body style="background:#fbf7f0;color:#2a211b;font-family:system-ui,sans-serif;line-height:1.55">',
        f"<h1>{html.escape(subject)}</h1><p>Hello {html.escape(customer)},</p><p>{html.escape(message)}</p>",
        "<table><tr><th>Item</th><th>Quantity</th><th>Price</th></tr>",
        *(f"<tr><td>{html.escape(name)}</td><td>{quantity}</td><td>{amount}</td></tr>" for name, quantity, amount in rows),
        f'<tr><th colspan="2">Total</th><td>{total}</td></tr></table>',
        f'<p><a href="{page}">See your order</a></p></body></html>',
        f"--{number}--",
        "",
    ]
    return "\r\n".join(text).encode()
