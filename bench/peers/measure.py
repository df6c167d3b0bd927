"""Measures how many orders per second a peer ships, from `order.created` to `shipped`. See README.md."""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator

HERE = pathlib.Path(__file__).resolve().parent

# Faults, each with a count that must be zero. {orders} is the number of seeded orders.
CHECKS = {
    "orders not shipped": "SELECT {orders} - count(*) FROM orders WHERE status = 'shipped' AND version = 4",
    "charges too many or too few": "SELECT {orders} - count(*) FROM charges WHERE outcome = 'succeeded'",
    "repeated charges of one order": "SELECT count(*) - count(DISTINCT reference) FROM charges",
    "payments too many or too few": "SELECT {orders} - count(*) FROM payments",
    "reservations too many or too few": "SELECT {orders} - count(*) FROM reservations",
    "shipments too many or too few": "SELECT {orders} - count(*) FROM shipments",
    "mail rows too many or too few": "SELECT 2 * {orders} - count(*) FROM mails WHERE sent_at IS NOT NULL",
    "pieces of stock too many or too few": "SELECT 1000000 - {orders} - available FROM stock",
    "pieces that movements do not explain":
        "SELECT (SELECT sum(available) FROM stock) - (SELECT sum(quantity) FROM movements)",
    "events too many or too few": "SELECT 4 * {orders} - count(*) FROM event_log",
    "inbox rows too many or too few": "SELECT 8 * {orders} - count(*) FROM inbox",
    "rows left in the outbox": "SELECT count(*) FROM outbox",
}

# A workflow engine's own checkpoints replace the inbox.
WITHOUT_INBOX = {"dbos": "inbox rows too many or too few"}

# From the first effect of the first delivery to the last shipped order, by the database's clock. This excludes the
# start of the runtime.
SECONDS = """
    SELECT extract(epoch FROM (SELECT max(updated_at) FROM orders) - least(
        (SELECT min(created_at) FROM charges), (SELECT min(created_at) FROM mails)))
"""


class Wrong(Exception):
    """The measurement is invalid."""


class Broker:
    """RabbitMQ's management API for one virtual host."""

    def __init__(self, api: str, admin_url: str, vhost: str) -> None:
        admin = urllib.parse.urlsplit(admin_url)
        self.user = urllib.parse.unquote(admin.username or "guest")
        password = urllib.parse.unquote(admin.password or "guest")
        self.vhost = vhost
        self.url = admin._replace(path=f"/{vhost}").geturl()
        self.api = api
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        passwords.add_password(None, api, self.user, password, is_authenticated=True)
        self.opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))

    def call(self, method: str, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.api}/api{path}", data, method=method)
        request.add_header("content-type", "application/json")
        with self.opener.open(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def create(self) -> None:
        self.call("PUT", f"/vhosts/{self.vhost}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.call("PUT", f"/permissions/{self.vhost}/{self.user}", everything)

    def delete(self) -> None:
        self.call("DELETE", f"/vhosts/{self.vhost}")

    def messages(self) -> dict[str, int]:
        """Returns the messages of each non-empty queue, ready and unacknowledged."""
        queues = self.call("GET", f"/queues/{self.vhost}")
        # A queue without statistics yet counts as -1, which is not empty.
        counts = {queue["name"]: queue.get("messages", -1) for queue in queues}
        return {name: count for name, count in counts.items() if count}


class Database:
    """A PostgreSQL database, accessed with psql."""

    def __init__(self, url: str) -> None:
        self.url = url

    def value(self, query: str) -> str:
        command = ["psql", self.url, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", query]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def wait_until(seconds: float, pause: float, what: Callable[[], str], done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise Wrong(f"after {seconds:.0f} s: {what()}")
        time.sleep(pause)


@contextlib.contextmanager
def working(program: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """Runs the peer in its own process group, so that all its processes can be ended."""
    process = subprocess.Popen([*program, "work"], env=environment, stdout=sys.stderr, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            print("the peer ignored SIGTERM for 15 s and is killed", file=sys.stderr)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measure(peer: str, orders: int, limit: float) -> dict[str, object]:
    name = f"peers_{peer}_{os.getpid()}"
    server = Database(os.environ["DATABASE_URL"])
    database = Database(urllib.parse.urlsplit(server.url)._replace(path=f"/{name}").geturl())
    admin_url = os.environ.get("AMQP_ADMIN_URL") or os.environ["AMQP_URL"]
    broker = Broker(os.environ["RABBITMQ_MANAGEMENT_URL"].rstrip("/"), admin_url, name)
    mails = pathlib.Path(tempfile.mkdtemp(prefix=f"{name}_mails_"))
    program = [str(HERE / peer / "run")]
    environment = os.environ | {
        "DATABASE_URL": database.url, "AMQP_URL": broker.url, "MAIL_DIR": str(mails), "ORDERS": str(orders),
    }
    try:
        server.value(f"CREATE DATABASE {name}")
        broker.create()
        subprocess.run([*program, "setup"], check=True, env=environment, stdout=sys.stderr)
        subprocess.run([*program, "seed", str(orders)], check=True, env=environment, stdout=sys.stderr)
        # Autovacuum may run only after the measurement. Tables that are still empty get no statistics, which would make
        # sequential scans look cheap.
        database.value("ANALYZE orders, items, event_log")
        with working(program, environment) as process:

            def shipped() -> bool:
                if process.poll() is not None:
                    raise Wrong(f"the peer ended with status {process.returncode}")
                return int(database.value("SELECT count(*) FROM orders WHERE status = 'shipped'")) >= orders

            wait_until(limit, 0.5, lambda: "not every order is shipped", shipped)
            seconds = float(database.value(SECONDS))
            # The last mails may still be under way, and the management API counts only every five seconds.
            check = functools.partial(faults, peer, database, broker, orders, mails)
            wait_until(20, 0.5, lambda: f"the result is wrong: {check()}", lambda: not check())
        return {"peer": peer, "orders": orders, "seconds": round(seconds, 3), "orders_per_second": round(orders / seconds, 1)}
    finally:
        shutil.rmtree(mails, ignore_errors=True)
        with contextlib.suppress(urllib.error.URLError):
            broker.delete()
        server.value(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def faults(peer: str, database: Database, broker: Broker, orders: int, mails: pathlib.Path) -> dict[str, int]:
    """Returns the faults of the result, with their counts."""
    checks = {check: query for check, query in CHECKS.items() if check != WITHOUT_INBOX.get(peer)}
    wrong = {check: int(database.value(query.format(orders=orders))) for check, query in checks.items()}
    wrong |= {f"messages in {queue}": count for queue, count in broker.messages().items()}
    files = [mail for mail in mails.iterdir() if mail.suffix == ".eml" and mail.stat().st_size > 0]
    wrong["mails too many or too few"] = 2 * orders - len(files)
    wrong["other files among the mails"] = len(list(mails.iterdir())) - len(files)
    return {check: count for check, count in wrong.items() if count}


def main() -> int:
    peers = sorted(path.parent.name for path in HERE.glob("*/run"))
    parser = argparse.ArgumentParser(prog="measure.sh", description=__doc__)
    parser.add_argument("peer", choices=peers)
    parser.add_argument("orders", type=int, nargs="?", default=3000, help="orders to seed (default: 3000)")
    parser.add_argument("seconds", type=float, nargs="?", default=120, help="time limit of the work (default: 120)")
    arguments = parser.parse_args()
    try:
        result = measure(arguments.peer, arguments.orders, arguments.seconds)
    except (Wrong, subprocess.CalledProcessError) as error:
        print(f"{arguments.peer}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
