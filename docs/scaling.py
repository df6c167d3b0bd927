#!/usr/bin/env python3
"""Computes what a higher rate of orders needs: the arithmetic of SCALING.md.

    python3 docs/scaling.py                      the tables of SCALING.md
    python3 docs/scaling.py --rate 25000         the same, with a further rate
    python3 docs/scaling.py --set cores_full=0.5 --set cell=5000

Every figure that can be set is in MEASURED, ENGINES or CHOSEN, with its unit and source.
Needs only Python's standard library.
"""

import argparse
import math

# On one machine with 2 cores for everything: RabbitMQ 3.10.8, PostgreSQL 15, from a backlog (PERFORMANCE.md and SCALING.md).
MEASURED = {
    "one_machine": 950,  # orders/s that one machine of 2 cores ships
    "cpu_ms": 1.8,  # processor time per order over all programs, ms
    "postgres_share": 0.32,  # PostgreSQL's share of it
    "broker_share": 0.20,  # RabbitMQ's share of it
    "publishes": 4,  # messages published per shipped order: its events
    "deliveries": 8,  # messages delivered per order: each event to two subscriptions
    "transactions": 1.0,  # commits per order, with batches as full as from a backlog
    "wal_bytes": 14_000,  # bytes that PostgreSQL writes to its log per order
    "log_bytes": 3_040,  # bytes per order in event log and inbox, with indexes
    "rows_bytes": 2_670,  # bytes per order in all other tables, which stay
    "archive_bytes": 2_100,  # bytes per order in the archive, instead of log_bytes, after `orderflow retention`
    "body_bytes": 600,  # bytes of a message's body: EVENTS.md
}

# Limits of the engines, which we could not measure: assumptions. Replace them with the figures of yours.
ENGINES = {
    "replicas": 3,  # copies of each message and of the database: quorum queues of three, a primary with two standbys
    "queue_rate": 20_000,  # messages/s of one quorum queue: it has one leader, one process on one core
    "wal_rate": 200e6,  # bytes/s of log that one primary writes and ships to its standbys
    "postgres_cores": 32,  # cores of the largest acceptable database server
    "broker_cores": 16,  # cores of a RabbitMQ node
}

# Utilisation, sizes and prices.
CHOSEN = {
    "cores_full": 0.6,  # share of the cores in use: the rest is for peaks, vacuum, and the loss of a server
    "cell": 10_000,  # orders/s of one cell
    "hours": 3,  # hours a day at that rate, which gives the orders per day and the disk space
    "days": 90,  # days until an order is archived, the minimum
    "core_price": 35,  # a core with its memory for a month, USD: about the cloud price of general-purpose machines
    "disk_price": 0.10,  # a gigabyte of SSD for a month, USD
}

RATES = [950, 5_000, 10_000, 100_000]


def plan(rate, of):
    """Returns what `rate` orders a second need, in all cells together."""
    busy = rate * of["cpu_ms"] / 1000
    # Standbys replay the log, which costs less than writing it. Counting each copy in full is the safe estimate.
    postgres = busy * of["postgres_share"] * of["replicas"]
    broker = busy * of["broker_share"] * of["replicas"]
    programs = busy * (1 - of["postgres_share"] - of["broker_share"])
    cores = {name: used / of["cores_full"] for name, used in
             [("postgres", postgres), ("broker", broker), ("programs", programs)]}
    orders_a_day = rate * of["hours"] * 3600
    log = orders_a_day * of["days"] * of["log_bytes"] * of["replicas"]
    stays_a_year = orders_a_day * 365 * (of["rows_bytes"] + of["archive_bytes"]) * of["replicas"]
    # Each delivery is a copy in a queue, and each queue is copied to the other replicas.
    network = rate * of["body_bytes"] * (of["publishes"] + of["deliveries"] * of["replicas"])
    return {
        "cores": cores,
        "published": rate * of["publishes"],
        "delivered": rate * of["deliveries"],
        "queue": rate,  # each queue gets one message per order
        "wal": rate * of["wal_bytes"],
        "disk_a_day": orders_a_day * (of["log_bytes"] + of["rows_bytes"]),
        "log": log,
        "stays_a_year": stays_a_year,
        "cells": math.ceil(rate / of["cell"]),
        "commits": rate * of["transactions"],
        "network": network,
        "cores_cost": sum(cores.values()) * of["core_price"],
        "disk_cost": (log + stays_a_year) / 1e9 * of["disk_price"],
    }


def limits(of):
    """Returns the limits of single instances: (orders/s, what), the smallest first."""
    core_ms = {"postgres": of["cpu_ms"] * of["postgres_share"], "broker": of["cpu_ms"] * of["broker_share"]}
    full = of["cores_full"]
    found = [
        (of["one_machine"], "the two cores of one machine"),
        (of["queue_rate"], "one quorum queue: its leader is one process"),
        (3 * of["broker_cores"] * full * 1000 / (core_ms["broker"] * of["replicas"]),
         f"RabbitMQ: three nodes of {of['broker_cores']} cores, each message on all of them"),
        (of["postgres_cores"] * full * 1000 / core_ms["postgres"],
         f"PostgreSQL's processor: one primary of {of['postgres_cores']} cores"),
        (of["wal_rate"] / of["wal_bytes"], f"PostgreSQL's log: one primary at {of['wal_rate'] / 1e6:.0f} MB/s"),
    ]
    return sorted(found)


def number(value, digits=2):
    """Formats a figure with its significant digits."""
    if value == 0:
        return "0"
    rounded = round(value, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def size(value):
    """Formats bytes in a readable unit."""
    for unit in ["B", "kB", "MB", "GB", "TB", "PB"]:
        if value < 1000:
            return f"{number(value)} {unit}"
        value /= 1000
    return f"{number(value)} EB"


def tables(rates, of):
    """Returns the tables as Markdown."""
    plans = [plan(rate, of) for rate in rates]
    rows = [
        ("messages published a second", lambda p: number(p["published"])),
        ("messages delivered a second", lambda p: number(p["delivered"])),
        ("of these, through each queue", lambda p: number(p["queue"])),
        ("RabbitMQ's network a second, bodies only", lambda p: size(p["network"])),
        ("PostgreSQL's log a second, one copy", lambda p: size(p["wal"])),
        ("commits a second, with batches as full as here", lambda p: number(p["commits"])),
        ("cores for PostgreSQL", lambda p: number(p["cores"]["postgres"])),
        ("cores for RabbitMQ", lambda p: number(p["cores"]["broker"])),
        ("cores for front ends and workers", lambda p: number(p["cores"]["programs"])),
        ("growth a day of " + number(of["hours"]) + " such hours, one copy", lambda p: size(p["disk_a_day"])),
        (f"log and inbox until the archive ({number(of['days'])} days), all copies", lambda p: size(p["log"])),
        ("stored after a year, archive included, all copies", lambda p: size(p["stays_a_year"])),
        (f"cells of {number(of['cell'])} orders/s", lambda p: number(p["cells"])),
        ("cores a month, USD", lambda p: number(p["cores_cost"])),
        ("disk a month at the end of the first year, USD", lambda p: number(p["disk_cost"])),
    ]
    lines = ["| orders shipped a second | " + " | ".join(number(rate) for rate in rates) + " |",
             "|---|" + "---:|" * len(rates)]
    lines += [f"| {what} | " + " | ".join(show(one) for one in plans) + " |" for what, show in rows]
    lines += ["", "| orders/s | limit of a single instance |", "|---:|---|"]
    lines += [f"| {number(rate)} | {what} |" for rate, what in limits(of)]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, action="append", default=[], help="a further rate, orders a second")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="replaces a figure")
    arguments = parser.parse_args()
    of = MEASURED | ENGINES | CHOSEN
    for one in arguments.set:
        name, _, value = one.partition("=")
        if name not in of:
            parser.error(f"unknown figure {name}; expected one of {', '.join(of)}")
        try:
            of[name] = float(value)
        except ValueError:
            parser.error(f"{one}: expected a number")
    print(tables(sorted(RATES + arguments.rate), of))


if __name__ == "__main__":
    main()
