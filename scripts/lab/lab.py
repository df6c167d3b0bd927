"""The page of `make demo LAB=1`: places orders, kills what handles them, starts it again, and shows what happens.

usage: lab.py --listen ADDRESS --shop URL --programs DIRECTORY --processes DIRECTORY [--broker DIRECTORY] [WORKER...]

For a demo on one's own machine only: it kills processes and runs commands of operators. It therefore listens on a
loopback address, signals only processes that have the demo's mark (ORDERFLOW_INSTANCE) in their environment, and acts
only on requests of its own page, which has this run's token. Uses only Python's standard library.
"""

import argparse
import hmac
import ipaddress
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from orders import KINDS, Orders
from processes import Broker, Refused, Worker

LARGEST_BODY = 1024
# Of a command's output; an audit of a demo prints a few lines.
LARGEST_OUTPUT = 32 * 1024
# A replay waits up to 30 s for the first message and as long for the others.
COMMAND_WITHIN_SECONDS = 90
CLIENT_WITHIN_SECONDS = 10
# A page makes at most three requests at a time.
MOST_REQUESTS = 32
# Pages poll more often than the processes need to be examined.
STATES_FOR_SECONDS = 0.5

# Who acts next, by an order's status. Everything also needs the order service, which writes the status.
NEXT = {
    "pending": ["payment", "order"],
    "paid": ["inventory", "order"],
    "reserved": ["shipping", "order"],
    "cancelling": ["inventory", "payment", "order"],
}

# Buttons that run a command of operators.
COMMANDS = {"queues": ["queues"], "dead-letters": ["dlq", "list"], "replay": ["dlq", "replay", "--all", "--yes"]}

# Successful charges in the simulated bank's ledger, and the orders that they are for.
CHARGES = "SELECT count(*), count(DISTINCT reference) FROM simulator.charges WHERE outcome = 'succeeded'"


class Lab:
    """What the page can do and show."""

    def __init__(self, arguments, mark):
        self._orderflow = os.path.join(arguments.programs, "orderflow")
        self._workers = {name: Worker(name, arguments.processes, mark) for name in arguments.workers}
        self._broker = None
        if arguments.broker:
            self._broker = Broker(arguments.broker, os.path.join(arguments.processes, "lab-rabbitmq.log"), mark)
        self._orders = Orders(arguments.shop)
        self._one_command = threading.Lock()
        self._running = None
        self._examining = threading.Lock()
        self._examiners = ThreadPoolExecutor(8)
        self._examined, self._states = 0.0, {}
        threading.Thread(target=self._orders.follow, daemon=True).start()

    def shown(self):
        """Returns all that the page shows, except the answers to its buttons."""
        states = self._examine()
        orders, placed, problem = self._orders.shown()
        for order in orders:
            order["waits"] = self._waits(order, states)
        return {"processes": list(states.values()), "orders": orders, "placed": placed, "problem": problem}

    def _examine(self):
        """Returns the state of each process, by name. A worker that hangs delays the answer by 2 s."""
        with self._examining:
            if time.monotonic() - self._examined > STATES_FOR_SECONDS:
                processes = dict(self._workers)
                if self._broker:
                    processes["RabbitMQ"] = self._broker
                found = self._examiners.map(lambda process: process.state(), processes.values())
                self._states = {
                    name: {"name": name, "worker": name in self._workers, "state": state, "runs": runs, "ok": ready}
                    for name, (state, runs, ready) in zip(processes, found)
                }
                self._examined = time.monotonic()
            return self._states

    @staticmethod
    def _waits(order, states):
        """Returns what an order visibly waits for, as a sentence, or None."""
        if order["settled"]:
            return None
        broker = states.get("RabbitMQ")
        if broker and not broker["ok"]:
            return f"Waits for RabbitMQ, which is {broker['state']}. What is not published yet is in the outbox."
        for name in NEXT.get(order["status"], []):
            if name in states and not states[name]["ok"]:
                return f"Waits for {name}: its worker is {states[name]['state']}."
        return None

    def act(self, request):
        """Does what a button asks for, and returns what to show.

        Raises Refused if that is impossible now.
        """
        act, name = request.get("act"), request.get("name")
        if act == "place":
            order = self._orders.place(name)
            return {"said": f"Order {order.number} was accepted with 202 after {order.accepted_after} ms."}
        if act in ("kill", "start", "start-one-retry"):
            return {"said": self._turn(act, name)}
        if act == "prove":
            counts = "\n".join([self._orders.count(), *self._count_charges()])
            return self._run(["audit"], counts)
        if act == "why":
            order = self._orders.find(name)
            if order is None:
                raise Refused("This page has placed no such order.")
            return self._run(["why", order.number])
        if act in COMMANDS:
            return self._run(COMMANDS[act])
        raise Refused("This page has no such button.")

    def _turn(self, act, name):
        process = self._broker if name == "RabbitMQ" else self._workers.get(name)
        if process is None:
            raise Refused("The demo has no such process.")
        if act == "kill":
            process.kill()
        elif act == "start-one-retry" and process is not self._broker:
            process.start(one_retry=True)
        else:
            process.start()
        # The next answer must show the new state.
        self._examined = 0.0
        return f"{name}: killed with SIGKILL." if act == "kill" else f"{name}: starting."

    def _run(self, arguments, before=""):
        """Runs `orderflow`, one command at a time."""
        if not self._one_command.acquire(blocking=False):
            raise Refused("Another command is still running.")
        try:
            self._running = subprocess.Popen(
                [self._orderflow, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            output, _ = self._running.communicate(timeout=COMMAND_WITHIN_SECONDS)
        except subprocess.TimeoutExpired as error:
            self._running.kill()
            self._running.communicate()
            raise Refused(f"orderflow {arguments[0]} was stopped: it took {COMMAND_WITHIN_SECONDS} s.") from error
        finally:
            self._one_command.release()
        return {
            "command": f"orderflow {' '.join(arguments)}",
            "exit": self._running.returncode,
            "output": output.decode(errors="replace")[:LARGEST_OUTPUT],
            "before": before,
        }

    @staticmethod
    def _count_charges():
        """Returns a sentence on the bank's own ledger, which no program of ours can correct; none without psql."""
        url = urlsplit(os.environ.get("DATABASE_URL", ""))
        # In the environment, since other users can read the command line.
        password = {"PGPASSWORD": unquote(url.password)} if url.password else {}
        address = url._replace(netloc=url.netloc.replace(f":{url.password}@", "@")).geturl()
        options = ["--no-psqlrc", "--no-password", "--tuples-only", "--no-align"]
        try:
            found = subprocess.run(
                ["psql", *options, f"--dbname={address}", f"--command={CHARGES}"],
                env={**os.environ, **password, "PGCONNECT_TIMEOUT": "5", "PGOPTIONS": "-c statement_timeout=10s"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=20,
                check=True,
            )
            charges, orders = found.stdout.decode().strip().split("|")
        except (OSError, subprocess.SubprocessError, ValueError):
            return []
        return [f"The simulated bank's own ledger, also of earlier runs: {charges} charges for {orders} orders."]

    def settle(self):
        """Lets starts that are in progress end, refuses further ones, and ends the running command."""
        for worker in self._workers.values():
            worker.settle()
        if self._running is not None:
            self._running.kill()


class Server(ThreadingHTTPServer):
    """Serves at most MOST_REQUESTS requests at a time, and closes the connections beyond that."""

    daemon_threads = True

    def __init__(self, address, lab):
        self.lab = lab
        self.token = secrets.token_hex(16)
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(address, Handler)
        host, port = self.server_address
        self.hosts = {f"{host}:{port}", f"localhost:{port}"}

    def process_request(self, request, client_address):
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_WITHIN_SECONDS
    server_version, sys_version = "orderflow-lab", ""

    def do_GET(self):
        # Another name would be that of a site which has pointed its name at this machine (DNS rebinding).
        if self.headers.get("Host") not in self.server.hosts:
            self.refuse(403, "Open this page at the address that the demo has printed.")
        elif self.path == "/":
            self.page()
        elif self.path == "/state":
            self.answer(200, self.server.lab.shown())
        else:
            self.refuse(404, "There is no such page.")

    def do_POST(self):
        # Read before anything is refused: closing a connection with unread bytes would reset it.
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 6 and int(length) <= LARGEST_BODY):
            return self.refuse(413, f"A request has at most {LARGEST_BODY} bytes, and states how many.")
        body = self.rfile.read(int(length))
        host, token = self.headers.get("Host"), self.headers.get("X-Lab-Token", "")
        is_own = host in self.server.hosts and self.headers.get("Origin") == f"http://{host}"
        # Compared as bytes: a header may have letters beyond ASCII.
        if not is_own or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return self.refuse(403, "Only this run's own page may do that: load the page again.")
        if self.path != "/act":
            return self.refuse(404, "There is no such page.")
        try:
            request = json.loads(body)
            if not isinstance(request, dict) or not all(isinstance(value, str) for value in request.values()):
                raise ValueError("not an object of texts")
        except (ValueError, RecursionError):
            return self.refuse(400, "The request is not what this page sends.")
        try:
            done = self.server.lab.act(request)
        except (Refused, OSError) as why:
            return self.refuse(409, str(why))
        return self.answer(200, done)

    def page(self):
        nonce = secrets.token_hex(16)
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html"), encoding="utf-8") as file:
            page = file.read()
        buttons = (f'<button class="button" data-act="place" data-name="{name}">Order with {text}</button>'
                   for name, (text, _, _) in KINDS.items())
        filled = {"{{nonce}}": nonce, "{{token}}": self.server.token, "{{kinds}}": "\n".join(buttons)}
        for mark, value in filled.items():
            page = page.replace(mark, value)
        policy = (f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
                  "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        self.send(200, page.encode(), {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy})

    def answer(self, status, value):
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status, why):
        self.answer(status, {"error": why})

    def send(self, status, body, headers):
        self.send_response(status)
        common = {
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**headers, **common}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        # Polls would fill the log.
        if self.command == "POST":
            super().log_request(code, size)


def loopback(text):
    """Returns host and port of an address such as 127.0.0.1:8090; fails if other machines could reach it."""
    host, _, port = text.rpartition(":")
    if not ipaddress.IPv4Address(host).is_loopback:
        raise ValueError(f"{host} is not a loopback address")
    return host, int(port)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", type=loopback, required=True)
    parser.add_argument("--shop", required=True, help="the shop's URL")
    parser.add_argument("--programs", required=True, help="where `orderflow` is")
    parser.add_argument("--processes", required=True, help="where the demo keeps WORKER.pid and WORKER.log")
    parser.add_argument("--broker", help="where services.sh keeps RabbitMQ's pid files, if RabbitMQ may be killed")
    parser.add_argument("workers", nargs="*", metavar="WORKER")
    arguments = parser.parse_args()
    instance = os.environ.get("ORDERFLOW_INSTANCE") or parser.error("start it with: make demo LAB=1")
    lab = Lab(arguments, f"ORDERFLOW_INSTANCE={instance}".encode())
    server = Server(arguments.listen, lab)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, port = server.server_address
    print(f"The lab is ready: address={host}:{port}", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    finally:
        lab.settle()


if __name__ == "__main__":
    main()
