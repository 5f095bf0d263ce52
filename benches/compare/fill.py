"""Fills a hub's store through its API: in batches, to users whose streams take what is for them."""

import http.client
import json
import socket
import threading
import time

from process import Failure

READERS = 10
BATCH = 1_000
PAD = 150
EVENT = b"event: notification\n"
# Nothing may come for so long, in seconds.
PATIENCE = 60


class Reader(threading.Thread):
    """One user's stream, and how many notifications have come on it."""

    def __init__(self, port, token):
        super().__init__(daemon=True)
        self.count = 0
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.sendall(b"GET /notifications/stream HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
                            b"Authorization: Bearer " + token.encode() + b"\r\n\r\n")
        opening = self.socket.recv(65536)
        if not opening.startswith(b"HTTP/1.1 200 "):
            raise Failure(f"a stream was answered {opening[:80]!r}")
        self.start()

    def run(self):
        rest = b""
        while True:
            try:
                taken = self.socket.recv(1 << 20)
            except OSError:
                return
            if not taken:
                return
            text = rest + taken
            self.count += text.count(EVENT)
            # As much of an event's beginning as may still be cut.
            rest = text[-(len(EVENT) - 1):]


def fill(port, token_of, wanted, told):
    """How many notifications are stored, and taken, in the end. `token_of` gives a user's token, who may publish."""
    users = [f"reader-{number}" for number in range(READERS)]
    tokens = [token_of(user) for user in users]
    readers = [Reader(port, token) for token in tokens]
    drafts = [{"targetUserId": users[n % READERS], "message": "x" * PAD} for n in range(BATCH)]
    body, headers = json.dumps(drafts), {"Authorization": f"Bearer {tokens[0]}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    count, progress = 0, time.monotonic()
    while count < wanted:
        connection.request("POST", "/notifications/batch", body, headers)
        answer = connection.getresponse()
        accepted = answer.read().count(b'"notificationId"')
        count += accepted
        if accepted:
            progress = time.monotonic()
        # Those that were not taken did not fit into the queue.
        if accepted < BATCH:
            time.sleep(0.1)
        if time.monotonic() - progress > PATIENCE:
            raise Failure(f"a batch was answered {answer.status}, and nothing of it was taken for {PATIENCE} s")
        if count // 100_000 > (count - accepted) // 100_000:
            told(f"{count:,} of {wanted:,} are stored")
    last = -1
    while (came := sum(reader.count for reader in readers)) < count:
        if came > last:
            last, progress = came, time.monotonic()
        if time.monotonic() - progress > PATIENCE:
            raise Failure(f"of {count:,} notifications only {came:,} came")
        time.sleep(0.1)
    for reader in readers:
        reader.socket.close()
    return count
