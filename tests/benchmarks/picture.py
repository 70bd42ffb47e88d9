"""The picture: calls that a core answers in a second, as bars, from the processor time of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from .requests import ERAS

WIDTH, LABEL, ROOM = 800, 220, 70
"""Of the whole, of the names before the bars, of the figures behind the longest."""
TOP, BAR, GAP = 90, 14, 14
NAMES = {
    "Starlette": "bare Starlette, JSON echo",
    "local": "mcp-server, in process",
    "keyed": "mcp-server, in process, key",
    "host async": "mcp-server, async in a host",
    "host sync": "mcp-server, sync in a host",
    "SDK low-level": "MCP SDK, low level",
    "SDK high-level": "MCP SDK, high level",
}
"""As the picture calls them; others have their own names."""
OWN = ("local", "keyed", "host async", "host sync")
ABOUT = "a tool that does nothing, over HTTP, in both versions of the protocol; longer is better"
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #374151 }
.title { font-size: 16px; font-weight: 600; fill: #111827 }
.small { font-size: 12px; fill: #6b7280 }
.own { font-weight: 600; fill: #1d4ed8 }
.base { fill: #111827 } .line { stroke: #9ca3af; stroke-dasharray: 3 4 }
.own0 { fill: #2563eb } .own1 { fill: #93b5f8 } .their0 { fill: #8a94a3 } .their1 { fill: #c6ccd5 }
@media (prefers-color-scheme: dark) {
  text { fill: #d1d5db } .title { fill: #f3f4f6 } .small { fill: #9ca3af }
  .base { fill: #e5e7eb } .line { stroke: #6b7280 } .own { fill: #7ea6fb }
  .own0 { fill: #3b82f6 } .own1 { fill: #2a4f96 } .their0 { fill: #8a94a3 } .their1 { fill: #4d5766 }
}
"""


def picture(costs: Mapping[str, float]) -> str:
    """An SVG, light or dark as the reader's page; `costs` are microseconds of processor by server and era."""
    rates = {name: 1e6 / cost for name, cost in costs.items()}
    servers = {server(name): list[tuple[int, float]]() for name in rates}
    for name, rate in rates.items():
        servers[server(name)].append((era(name), rate))
    scale = (WIDTH - LABEL - ROOM) / max(rates.values(), default=1.0)
    drawn, top = list[str](), TOP
    for name, several in servers.items():
        drawn += bars(name, several, scale, top)
        top += BAR * len(several) + GAP
    edge = LABEL + rates.get("Starlette", 0.0) * scale
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img">',
            f"<style>{STYLE}</style>",
            '<text class="title" x="0" y="18">Calls a second on one core</text>',
            f'<text class="small" x="0" y="38">{ABOUT}</text>',
            *legend(),
            f'<line class="line" x1="{edge:.0f}" x2="{edge:.0f}" y1="{TOP + BAR}" y2="{top - GAP}"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def server(name: str) -> str:
    """The server of a label, which may end with an era."""
    return name.rpartition(" ")[0] if name.endswith(ERAS) else name


def era(name: str) -> int:
    """The place of its era; what has none is like the first."""
    return next((place for place, each in enumerate(ERAS) if name.endswith(each)), 0)


def bars(name: str, several: Sequence[tuple[int, float]], scale: float, top: int) -> list[str]:
    """One server: its name, and a bar for each era."""
    own = name in OWN
    middle = top + BAR * len(several) / 2 + 4.5
    kind = "own" if own else ""
    called = escape(NAMES.get(name, name))
    drawn = [f'<text class="{kind}" x="{LABEL - 12}" y="{middle:g}" text-anchor="end">{called}</text>']
    for place, (which, rate) in enumerate(several):
        color = "base" if name == "Starlette" else f"{'own' if own else 'their'}{which}"
        y, width = top + BAR * place, max(1.0, rate * scale)
        drawn += [
            f'<rect class="{color}" x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 1}" rx="2"/>',
            f'<text class="small" x="{LABEL + width + 7:.1f}" y="{y + 11}">{rate:,.0f}</text>',
        ]
    return drawn


def legend() -> list[str]:
    """Which bar is which era."""
    drawn: list[str] = []
    for place, each in enumerate(ERAS):
        x = LABEL + 110 * place
        drawn += [
            f'<rect class="own{place}" x="{x}" y="60" width="10" height="10" rx="2"/>',
            f'<rect class="their{place}" x="{x + 12}" y="60" width="10" height="10" rx="2"/>',
            f'<text class="small" x="{x + 28}" y="69.5">{each}</text>',
        ]
    return drawn
