"""The rows of the table: what of the runs goes into a cell, how it reads, and what it is held to."""

from dataclasses import dataclass
from statistics import median
from typing import Callable

from loads import BATCH, missed

MILLI, MICRO = 1e-3, 1e-6


class Results:
    """Every run there was, by load, server and round."""

    def __init__(self, runs):
        self.by = {(run["load"], run["server"], run["round"]): run for run in runs}
        self.rounds = sorted({run["round"] for run in runs})

    def found(self, load, server, round_):
        return self.by.get((load, server, round_), {}).get("found")

    def missed(self, loads, server):
        """In how many runs the server fell short, and how in the worst of them."""
        found = [self.found(load, server, round_) for load in loads for round_ in self.rounds]
        found = [run for run in found if run]
        short = [(run["lost"] / max(run["expected"], 1), missed(run)) for run in found if missed(run)]
        return f"{max(short)[1]} ({len(short)} of {len(found)} runs)" if short else None


def medians(results, server, loads, figure):
    """The median over the rounds of what `figure` makes of the runs of each; None where a round has none."""
    values = []
    for round_ in results.rounds:
        found = [results.found(load, server, round_) for load in loads]
        values.append(None if None in found else figure(*found))
    return None if not values or None in values else median(values)


@dataclass(frozen=True)
class Row:
    number: int
    title: str
    loads: tuple[str, ...]
    figures: dict[str, Callable]
    text: Callable
    # The figure that is also told as a multiple of the floor's, round by round: the machine's ups and downs then cancel out.
    beside_floor: str | None = None

    def cell(self, results, server):
        """The medians by name; empty where it was not measured."""
        cell = {name: medians(results, server, of, figure) for name, (of, figure) in self.figures.items()}
        if self.beside_floor:
            cell["ratio"] = self.ratio(results, server)
        return {name: value for name, value in cell.items() if value is not None}

    def ratio(self, results, server):
        of, figure = self.figures[self.beside_floor]
        ratios = []
        for round_ in results.rounds:
            pair = [results.found(of[0], which, round_) for which in (server, "floor")]
            if None in pair:
                return None
            ratios.append(figure(pair[0]) / figure(pair[1]))
        return median(ratios) if ratios else None

    def words(self, results, server):
        """What stands in the table; a dash where the server has no such thing; None if it was to be measured and was not."""
        wanted = [name for name, (of, _) in self.figures.items() if all(server.carries(load) for load in of)]
        if not wanted:
            return "–"
        cell = self.cell(results, server.name)
        if not set(wanted) <= set(cell):
            return None
        text = self.text(cell, server.name)
        short = results.missed(self.loads, server.name)
        return f"{text}; **{short}**" if short else text


def number(value):
    """Three digits that count, and those before the point in full."""
    if value >= 1_000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def size(bytes_):
    if bytes_ < 1_000:
        return f"{bytes_:,.0f} B"
    return f"{bytes_ / 1e3:.1f} KB" if bytes_ < 1e6 else f"{bytes_ / 1e6:.1f} MB"


def duration(seconds):
    if seconds < MILLI:
        return f"{seconds / MICRO:.1f} µs"
    if seconds < 1:
        return f"{seconds / MILLI:.1f} ms" if seconds < 10 * MILLI else f"{seconds / MILLI:.0f} ms"
    return f"{seconds:.1f} s"


def seconds(value):
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def p99(found):
    return found["latencyMicros"]["p99"] * MICRO


def cpu(found):
    return found["server"]["cpuMicrosPerDelivery"] * MICRO


def saturated(row, streams, evened=""):
    load = (f"broadcast-{streams}{evened}",)
    words = "Events of the same length: broadcast" if evened else "Broadcast"
    return Row(
        row, f"{words} to {streams:,} streams, saturated: deliveries per second, p99", load,
        {"rate": (load, lambda run: run["deliveriesPerSecond"]), "p99": (load, p99)},
        lambda cell, _: f"{number(cell['rate'])}, {duration(cell['p99'])}")


def against_floor(row, title, figure, load="paced"):
    return Row(
        row, title, (load,), {"value": ((load,), figure)},
        lambda cell, server: duration(cell["value"])
        + (f" ({cell['ratio']:.2f} ×)" if server != "floor" and "ratio" in cell else ""),
        beside_floor="value")


def wire(row, together, alone):
    """The text is the same for all, what is written around it is not; and a server may put several texts into one event."""
    def of(run):
        return run["wireBytesPerDelivery"]
    return Row(
        row, "Bytes on the wire per delivery: saturated (1,000 streams), at 100 a second", (together, alone),
        {"together": ((together,), of), "alone": ((alone,), of)},
        lambda cell, _: f"{size(cell['together'])}, {size(cell['alone'])}")


def users(cell, _):
    batches = f"; {number(cell['batched'])} in batches of {BATCH}" if "batched" in cell else ""
    return number(cell["single"]) + batches


IDLE = ("idle-1000", "idle-19000")

ROWS = {row.number: row for row in [
    saturated(1, 1000),
    saturated(2, 10000),
    against_floor(3, "100 broadcasts a second to 1,000 streams: CPU per delivery (times the floor's)", cpu),
    against_floor(4, "… and p99 latency, publish to last byte read", p99),
    Row(5, "Memory per idle stream, from 1,000 streams to 19,000", IDLE,
        {"bytes": (IDLE, lambda few, many: (many["server"]["residentConnected"] - few["server"]["residentConnected"])
                   / (many["streams"] - few["streams"]))},
        lambda cell, _: size(cell["bytes"])),
    Row(6, "To one user of 10,000 at a time: publishes per second", ("users", "batches"),
        {"single": (("users",), lambda run: run["publishesPerSecond"]),
         "batched": (("batches",), lambda run: run["publishesPerSecond"])},
        users),
    Row(7, "10,000 streams connecting at once", ("connect",),
        {"seconds": (("connect",), lambda run: run["connectSeconds"])},
        lambda cell, _: seconds(cell["seconds"])),
    wire(8, "broadcast-1000", "paced"),
    saturated(9, 1000, "-evened"),
    saturated(10, 10000, "-evened"),
    against_floor(11, "… 100 a second to 1,000 streams: CPU per delivery (times the floor's)", cpu, "paced-evened"),
    against_floor(12, "… and p99 latency, publish to last byte read", p99, "paced-evened"),
]}


@dataclass(frozen=True)
class Goal:
    row: int
    words: str
    figure: str
    beside: str | None
    at_least: float | None = None
    at_most: float | None = None


# What the hub is to reach, each time beside the peer that does best.
GOALS = [
    *(Goal(row, "deliveries per second, durable-streams'", "rate", "durable-streams", at_least=bound)
      for row, bound in ((1, 1.5), (2, 1.4), (9, 1.5), (10, 1.4))),
    *(Goal(row, "p99, durable-streams'", "p99", "durable-streams", at_most=bound)
      for row, bound in ((1, 0.4), (2, 0.6), (9, 0.4), (10, 0.6))),
    *(Goal(row, "CPU per delivery, the floor's", "ratio", None, at_most=1.1) for row in (3, 11)),
    *(Goal(row, "p99, the floor's", "ratio", None, at_most=1.1) for row in (4, 12)),
    Goal(5, "bytes per stream", "bytes", None, at_most=600),
    Goal(6, "publishes per second, durable-streams'", "single", "durable-streams", at_least=1.25),
    Goal(6, "in batches, durable-streams' publishes per second", "batched", "durable-streams", at_least=4),
    Goal(7, "seconds to connect, the floor's", "seconds", "floor", at_most=5),
]


def judged(goal, results):
    """Whether the hub reaches it, in a line; None if that was not measured."""
    row = ROWS[goal.row]
    ours = row.cell(results, "hub").get(goal.figure)
    # A peer's own publishes are what batches are compared with: it has no batches.
    theirs_name = "single" if goal.figure == "batched" else goal.figure
    theirs = row.cell(results, goal.beside).get(theirs_name) if goal.beside else 1
    if ours is None or theirs is None:
        return None
    value = ours / theirs
    met = value >= goal.at_least if goal.at_least else value <= goal.at_most
    bound = f"at least {goal.at_least}" if goal.at_least else f"at most {goal.at_most}"
    return f"{'met   ' if met else 'MISSED'}  row {goal.row}: {number(value)} × {goal.words} ({bound})".replace(
        " × bytes", " bytes")
