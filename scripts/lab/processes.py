"""The processes of the demo that the lab kills and starts again: workers, and RabbitMQ."""

import http.client
import os
import select
import signal
import subprocess
import threading
import urllib.request

# A killed process needs milliseconds to end.
ENDS_WITHIN_SECONDS = 10
# RabbitMQ starts within 90 s, or services.sh gives up. It may first wait for another run of services.sh.
BROKER_STARTS_WITHIN_SECONDS = 420

# No proxy: all addresses are local.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What a request raises where there is no usable answer.
NO_ANSWER = (OSError, ValueError, http.client.HTTPException)


class Refused(Exception):
    """An action is impossible now; the message says why, in a sentence."""


def environment_of(pid):
    """Returns the environment of a process as a list of b"NAME=value". Raises OSError if there is no such process."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")


def open_own(pid_file, mark):
    """Returns (pid, pidfd) of the living process that a pid file names; None if it has ended or is not the demo's.

    The number alone proves nothing, because it may have been reused. A pidfd always means the same process: if that
    process is alive after its environment was read, the environment is its own.
    """
    handle = None
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.readline())
        handle = os.pidfd_open(pid)
        if mark in environment_of(pid) and not has_ended(handle, 0):
            return pid, handle
    except (OSError, ValueError):
        pass
    if handle is not None:
        os.close(handle)
    return None


def has_ended(handle, seconds):
    """Waits at most this long for the end of a process, and returns whether it has ended."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def is_running(pid_file, mark):
    own = open_own(pid_file, mark)
    if own:
        os.close(own[1])
    return own is not None


def kill_own(pid_file, mark):
    """Kills the process that a pid file names, and waits until it has ended; returns False if there is none."""
    own = open_own(pid_file, mark)
    if own is None:
        return False
    pid, handle = own
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        if not has_ended(handle, ENDS_WITHIN_SECONDS):
            raise Refused(f"Process {pid} was killed, but has not ended within {ENDS_WITHIN_SECONDS} s.")
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
    return True


class Worker:
    """A worker that demo.sh started. It is restarted with the same command and environment, which /proc has."""

    def __init__(self, name, directory, mark):
        self.name = name
        self._pid_file = os.path.join(directory, f"{name}.pid")
        self._log = os.path.join(directory, f"{name}.log")
        self._mark = mark
        self._lock = threading.Lock()
        self._child = None
        self._killed = False
        self._one_retry = False
        own = open_own(self._pid_file, mark)
        if own is None:
            raise SystemExit(f"{self._pid_file} names no process of this demo.")
        pid, handle = own
        os.close(handle)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            self._command = file.read().rstrip(b"\0").split(b"\0")
        settings = (one.partition(b"=") for one in environment_of(pid) if b"=" in one)
        self._environment = {name: value for name, _, value in settings}

    def kill(self):
        with self._lock:
            if not kill_own(self._pid_file, self._mark):
                raise Refused(f"The {self.name} worker is not running.")
            self._killed = True

    def start(self, one_retry=False):
        """Starts the worker as the demo did; on request, with a single retry instead of six."""
        with self._lock:
            if is_running(self._pid_file, self._mark):
                raise Refused(f"The {self.name} worker is already running.")
            environment = dict(self._environment)
            if one_retry:
                # The shortest delay: RabbitMQ has a queue for it.
                environment[b"RETRY_DELAYS"] = environment.get(b"RETRY_DELAYS", b"1s").split(b",")[0]
            with open(self._log, "ab") as log:
                # A session of its own: Ctrl-C in the terminal reaches only demo.sh, which stops everything in order.
                self._child = subprocess.Popen(
                    self._command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            # Where demo.sh finds what it must stop.
            with open(f"{self._pid_file}.new", "w", encoding="ascii") as file:
                file.write(f"{self._child.pid}\n")
            os.replace(f"{self._pid_file}.new", self._pid_file)
            self._killed = False
            self._one_retry = one_retry

    def state(self):
        """Returns the state in words, whether the worker runs, and whether it is ready."""
        if self._child is not None:
            # Without this an ended child would stay a zombie.
            self._child.poll()
        if not is_running(self._pid_file, self._mark):
            return ("killed" if self._killed else f"ended unexpectedly, its log is {self._log}"), False, False
        if not self._is_ready():
            return "not ready", True, False
        return ("ready, one retry" if self._one_retry else "ready"), True, True

    def _is_ready(self):
        address = self._environment.get(b"WORKER_LISTEN", b"").decode()
        try:
            with OPENER.open(f"http://{address}/readyz", timeout=2) as answer:
                return answer.status == 200
        except NO_ANSWER:
            # Also for 503, the answer of a worker that does not reach RabbitMQ.
            return False

    def settle(self):
        """Waits until no start is half done, so that demo.sh finds every pid. From then on nothing starts."""
        self._lock.acquire(timeout=ENDS_WITHIN_SECONDS)


class Broker:
    """The demo's RabbitMQ, as scripts/services.sh runs it."""

    def __init__(self, directory, log, mark):
        # The node, and the script that waits for it.
        self._pid_files = [os.path.join(directory, name) for name in ("node.pid", "server.pid")]
        self._log = log
        self._mark = mark
        self._lock = threading.Lock()
        self._starting = False
        self._failed = False

    def kill(self):
        with self._lock:
            if self._starting:
                raise Refused("RabbitMQ is still starting.")
            # A list, not a generator: both must be killed.
            if not any([kill_own(pid_file, self._mark) for pid_file in self._pid_files]):
                raise Refused("RabbitMQ is not running.")
            self._failed = False

    def start(self):
        with self._lock:
            if self._starting or is_running(self._pid_files[0], self._mark):
                raise Refused("RabbitMQ is already running or starting.")
            self._starting, self._failed = True, False
        threading.Thread(target=self._run_services, daemon=True).start()

    def _run_services(self):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "services.sh")
        failed = True
        try:
            with open(self._log, "wb") as log:
                # --for-run: the run that started the services stays responsible for stopping them.
                ended = subprocess.run(
                    [script, "up", "--for-run"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=BROKER_STARTS_WITHIN_SECONDS,
                    check=False,
                )
            failed = ended.returncode != 0
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            with self._lock:
                self._starting, self._failed = False, failed

    def state(self):
        """Returns the state in words, whether RabbitMQ runs, and whether it is ready."""
        if self._starting:
            return "starting", True, False
        if is_running(self._pid_files[0], self._mark):
            return "ready", True, True
        return (f"could not be started, its log is {self._log}" if self._failed else "killed"), False, False
