"""The table's figures as bars: docs/compare.svg, for light pages and dark ones."""

from dataclasses import dataclass
from html import escape

from rows import ROWS, duration, number, size

WIDTH, MARGIN, COLUMN_GAP = 920, 24, 40
COLUMN = (WIDTH - 2 * MARGIN - COLUMN_GAP) / 2
NAMES, VALUES = 112, 76
BAR, BAR_GAP, HEAD, PANEL_GAP = 16, 7, 44, 26


@dataclass(frozen=True)
class Panel:
    row: int
    figure: str
    title: str
    better: str
    text: object
    # Another figure, which only the hub has, and what it is called.
    ours: tuple[str, str] | None = None


PANELS = [
    Panel(1, "rate", "Deliveries a second to 1,000 streams", "more is better", number),
    Panel(1, "p99", "… and p99 latency", "less is better", duration),
    Panel(2, "rate", "Deliveries a second to 10,000 streams", "more is better", number),
    Panel(2, "p99", "… and p99 latency", "less is better", duration),
    Panel(3, "value", "CPU per delivery, 100 broadcasts a second", "less is better", duration),
    Panel(4, "value", "… and p99 latency", "less is better", duration),
    Panel(6, "single", "Publishes a second, one user each", "more is better", number, ("batched", "… in batches")),
    Panel(5, "bytes", "Memory per idle stream", "less is better", size),
]

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .quiet { fill: #59636e; font-size: 12px }
  .ours { font-weight: 600 }
  .bar { fill: #afb8c1 }
  .bar.ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .bar { fill: #656c76 }
    .bar.ours { fill: #4493f8 }
  }
"""


def panel(what, bars, left, top):
    """`bars` are a title, a value and whether it is ours."""
    lines = [f'<text class="title" x="{left:g}" y="{top + 14}">{escape(what.title)}</text>',
             f'<text class="quiet" x="{left:g}" y="{top + 31}">{what.better}</text>']
    most, room = max(value for _, value, _ in bars), COLUMN - NAMES - VALUES
    for place, (title, value, ours) in enumerate(bars):
        y = top + HEAD + place * (BAR + BAR_GAP)
        length = max(room * value / most, 1.5)
        mine = " ours" if ours else ""
        lines += [
            f'<text class="name{mine}" x="{left + NAMES - 8:g}" y="{y + 12.5}" text-anchor="end">{escape(title)}</text>',
            f'<rect class="bar{mine}" x="{left + NAMES:g}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>',
            f'<text class="value{mine}" x="{left + NAMES + length + 6:.1f}" y="{y + 12.5}">{escape(what.text(value))}</text>',
        ]
    return lines


def svg(results, servers):
    drawn = []
    for what in PANELS:
        bars = []
        for server in servers:
            cell, ours = ROWS[what.row].cell(results, server.name), server.name == "hub"
            bars.append((server.title, cell.get(what.figure), ours))
            if ours and what.ours:
                bars.append((what.ours[1], cell.get(what.ours[0]), ours))
        drawn.append((what, [bar for bar in bars if bar[1] is not None]))
    lines, top = [], MARGIN
    for pair in range(0, len(drawn), 2):
        tallest = 0
        for column, (what, bars) in enumerate(drawn[pair:pair + 2]):
            if bars:
                lines += panel(what, bars, MARGIN + column * (COLUMN + COLUMN_GAP), top)
                tallest = max(tallest, HEAD + len(bars) * (BAR + BAR_GAP))
        top += tallest + PANEL_GAP
    height = top - PANEL_GAP + MARGIN
    words = "; ".join(f"{what.title.removeprefix('… and ')}: "
                      + ", ".join(f"{title} {what.text(value)}" for title, value, _ in bars) for what, bars in drawn if bars)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        'role="img" aria-labelledby="title words">',
        '<title id="title">Campanile beside its peers</title>', f'<desc id="words">{escape(words)}</desc>',
        f"<style>{STYLE}</style>", *lines, "</svg>", ""])
