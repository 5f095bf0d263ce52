"""Processes on a core of their own: started, waited for, ended."""

import os
import random
import signal
import socket
import subprocess
import time


class Failure(Exception):
    """What went wrong, as a sentence."""


def cores():
    """A core for the server and one for the load."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise Failure("the server and the load need a core each, and this process may use only one")
    return allowed[0], allowed[1]


def free_port():
    """A port below those that the kernel gives to the load's own connections."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failure("no free port was found between 20000 and 32000")


class Process:
    """A process that ends with the block that uses it, however that is left. What it says is kept in a file."""

    def __init__(self, command, log, *, core=None, stdout=None, environment=None):
        self.name = os.path.basename(command[0])
        self.log = log
        pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
        with open(log, "wb") as words:
            try:
                # In a session of its own it does not get the terminal's Ctrl-C before this program has.
                self.child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=stdout or words, stderr=words,
                    env=environment, preexec_fn=pin, start_new_session=True)
            except OSError as error:
                raise Failure(f"{command[0]} could not be started: {error.strerror}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                pass
        # It, or what it has left behind in its session.
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def until_listening(self, port, seconds=20):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended by itself with status {self.child.returncode}{self.last_words()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failure(f"{self.name} did not listen on port {port} within {seconds} s{self.last_words()}")

    def last_words(self):
        with open(self.log, errors="replace") as words:
            lines = [line.strip() for line in words if line.strip()]
        return f": {lines[-1][:300]}" if lines else ""
