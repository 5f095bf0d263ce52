"""What is measured: the loads, and how `campanile bench` is asked for them."""

import json
import subprocess
from dataclasses import dataclass, replace

from process import Failure, Process

PAD = 150
# What the hub writes around a text more than the floor does, in bytes: ids, times, a severity.
ENVELOPE = 266
BODY = '{"message":"{mark} {pad}"}'
BATCH = 100


@dataclass(frozen=True)
class Load:
    name: str
    words: str
    work: str
    streams: int
    publishers: int = 4
    window: int | None = None
    rate: int | None = None
    batch: int = 1
    # The text is longer for whoever writes less around it, so that all put the same number of bytes on the wire.
    evened: bool = False
    pad: int = PAD
    # How long the streams are left alone before memory is looked at: an allocator takes its time to give back what is free.
    idle: float | None = None
    # How long, if not as long as the options say: where what is measured is not what is delivered.
    seconds: float | None = None

    def with_changes(self, changes):
        return replace(self, **changes)


LOADS = {load.name: load for load in [
    Load("broadcast-1000", "broadcast to 1,000, saturated", "broadcast", 1_000, window=16),
    Load("broadcast-10000", "broadcast to 10,000, saturated", "broadcast", 10_000, window=16),
    Load("paced", "100 broadcasts a second to 1,000", "broadcast", 1_000, rate=100),
    *(Load(f"broadcast-{streams}-evened", f"broadcast to {streams:,}, saturated, same length", "broadcast", streams, window=16,
           evened=True) for streams in (1_000, 10_000)),
    Load("paced-evened", "100 broadcasts a second to 1,000, same length", "broadcast", 1_000, rate=100, evened=True),
    Load("idle-1000", "memory of 1,000 streams", "broadcast", 1_000, publishers=1, rate=1, idle=4, seconds=1),
    Load("idle-19000", "memory of 19,000 streams", "broadcast", 19_000, publishers=1, rate=1, idle=4, seconds=1),
    Load("users", "to one user of 10,000", "user", 10_000, publishers=64, window=128),
    Load("batches", f"to one user of 10,000, {BATCH} to a batch", "user", 10_000, publishers=16, window=32, batch=BATCH),
    Load("connect", "10,000 connecting at once", "connect", 10_000),
]}


@dataclass(frozen=True)
class Times:
    """How long a run publishes, what goes before that and is not counted, and how often it is done."""
    runs: int
    seconds: float
    warmup: float


def arguments(load, times):
    """Of `campanile bench`, whatever the server."""
    words = ["bench", load.work, "--streams", str(load.streams), "--json"]
    if load.work == "connect":
        return words
    seconds, warmup = (times.seconds, times.warmup) if load.seconds is None else (load.seconds, 0)
    words += ["--publishers", str(load.publishers), "--pad", str(load.pad), "--settle", "10"]
    words += ["--seconds", str(seconds), "--warmup", str(warmup)]
    if load.idle:
        words += ["--idle", str(load.idle)]
    if load.window:
        words += ["--window", str(load.window)]
    if load.rate:
        words += ["--rate", str(load.rate)]
    if load.batch > 1:
        words += ["--batch", str(load.batch)]
    return words


def run(command, log, limit, **where):
    """Runs the load tool, and gives what it found as it printed it."""
    with Process(command, log, stdout=subprocess.PIPE, **where) as load:
        try:
            out, _ = load.child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise Failure(f"the load did not end within {limit:.0f} s{load.last_words()}") from None
        # It ends with 1 as well where something was lost, which is for the cell to say.
        try:
            found = json.loads(out)
        except ValueError:
            raise Failure(f"the load ended with status {load.child.returncode}{load.last_words()}") from None
    return found


def missed(found):
    """How the server fell short of what was asked of it, in words; None if it did not."""
    words = [] if found["delivered"] else ["nothing was delivered"]
    if found["lost"]:
        words.append(f"lost {found['lost']:,} of {found['expected']:,}")
    for count, what in (("unexpected", "delivered twice or to the wrong stream"), ("outOfOrder", "out of order"),
                        ("refused", "refused"), ("closed", "streams closed")):
        if found[count]:
            words.append(f"{found[count]:,} {what}")
    return ", ".join(words) or None
