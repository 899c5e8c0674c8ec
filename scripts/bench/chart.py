"""The ratios as a chart: a bar for the median, a line for lowest to highest. SVG by hand, for light and dark pages."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

LEFT, WIDTH, ROW, TOP = 300, 400, 26, 56
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#222}.bar{fill:#3b82c4}.spread,.one{stroke:#222;stroke-width:1.5}"
    ".one{stroke-dasharray:3 3}@media(prefers-color-scheme:dark){text{fill:#ddd}.bar{fill:#5b9bd5}"
    ".spread,.one{stroke:#ddd}}"
)


@dataclass(frozen=True)
class Bar:
    name: str
    low: float
    middle: float
    high: float


def chart(title: str, bars: Sequence[Bar]) -> str:
    """SVG; the dashed line is 1, where both are the same."""
    scale = WIDTH / max(1.0, *(bar.high for bar in bars)) if bars else float(WIDTH)
    height = TOP + ROW * len(bars) + 10
    told = "; ".join(f"{bar.name}: {bar.middle:.2f} ({bar.low:.2f} to {bar.high:.2f})" for bar in bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="t d" '
        f'viewBox="0 0 {LEFT + WIDTH + 70} {height}">',
        f'<title id="t">{html.escape(title)}</title><desc id="d">{html.escape(told)}</desc><style>{STYLE}</style>',
        f'<text x="10" y="24">{html.escape(title)}</text>',
    ]
    for number, bar in enumerate(bars):
        y = TOP + ROW * number
        low, middle, high = (LEFT + value * scale for value in (bar.low, bar.middle, bar.high))
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{html.escape(bar.name)}</text>',
            f'<rect class="bar" x="{LEFT}" y="{y}" width="{middle - LEFT:.1f}" height="17"/>',
            f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{y + 8.5}" y2="{y + 8.5}"/>',
            f'<text x="{max(middle, high) + 6:.1f}" y="{y + 13}">{bar.middle:.2f}</text>',
        ]
    one = LEFT + scale
    lines += [f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" y1="{TOP - 8}" y2="{height - 6}"/>', "</svg>"]
    return "\n".join(lines) + "\n"
