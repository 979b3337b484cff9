"""A chart of rates as SVG, hand-made so that it needs nothing and diffs well."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.results import Sample, summaries

WIDTH, LABEL, BAR, GAP, TOP = 760, 190, 20, 8, 44
OURS, THEIRS = "#1f6f5c", "#9aa5b1"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.h{font-weight:600}path{stroke:#1b1f24}"
    "@media(prefers-color-scheme:dark){text{fill:#e6e6e6}path{stroke:#e6e6e6}}"
)
PANELS = (
    ("A", "checkouts worked off, jobs/s"),
    ("B", "webhooks taken in, requests/s"),
)


def svg(samples: Sequence[Sample], product: str) -> str:
    """One panel of bars per case, fastest first; a line from the slowest to the fastest repetition."""
    parts, top = [], 0
    for case, heading in PANELS:
        found = sorted(summaries(samples, case), key=lambda one: -(one.median("rate") or 0.0))
        if not found:
            continue
        rows = [
            (
                one.side,
                one.median("rate") or 0.0,
                [s.numbers["rate"] for s in one.samples],
                one.side.startswith(product),
            )
            for one in found
        ]
        parts.append(_panel(heading, rows, top))
        top += TOP + len(rows) * (BAR + GAP) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        f'role="img"><title>Counterfoil and its peers</title><style>{STYLE}</style>\n{"".join(parts)}</svg>\n'
    )


def _panel(heading: str, rows: list[tuple[str, float, list[float], bool]], top: int) -> str:
    most = max(max(every) for _, _, every, _ in rows)
    scale = (WIDTH - LABEL - 90) / most
    lines = [f'<text class="h" x="0" y="{top + 24}">{escape(heading)}</text>\n']
    for number, (side, value, every, ours) in enumerate(rows):
        y = top + TOP + number * (BAR + GAP)
        low, high = LABEL + min(every) * scale, LABEL + max(every) * scale
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(side)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{value * scale:.1f}" height="{BAR}" fill="{OURS if ours else THEIRS}"/>',
            f'<path d="M{low:.1f} {y + BAR / 2}H{high:.1f}" stroke-width="1.5"/>',
            f'<text x="{high + 8:.1f}" y="{y + 15}">{value:,.0f}</text>\n',
        ]
    return "".join(lines)
