"""What was found, for people and programs: a table, JSON, and a picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape

from .harness import Finding
from .peers import Peer

WIDTH, BAR, LABEL, ROOM = 760, 20, 250, 90
OURS, THEIRS = "#2563eb", "#9ca3af"


def versions(peers: Mapping[str, Peer]) -> dict[str, Mapping[str, str]]:
    """What ran, by server."""
    return {"Python": {"": platform.python_version()}} | {
        name: peer.versions for name, peer in peers.items() if peer.versions
    }


def table(findings: Sequence[Finding], ran: Mapping[str, Mapping[str, str]]) -> str:
    """The table in Markdown, with date and versions."""
    lines = ["| what | measured | floor | |", "|---|---|---|---|"]
    for each in findings:
        bound = "" if each.bound is None else f"{'≥' if each.at_least else '≤'} {each.bound:g} {each.unit}"
        mark = "" if each.bound is None else ("✓" if each.holds else "✗")
        lines.append(f"| {each.what} | {each.value:.3g} {each.unit} | {bound} | {mark} {each.about} |")
    told = "; ".join(
        f"{name}: {', '.join(f'{k} {v}'.strip() for k, v in got.items())}" for name, got in ran.items()
    )
    return "\n".join([*lines, "", f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}. {told}."])


def as_json(
    findings: Sequence[Finding], costs: Mapping[str, float], ran: Mapping[str, Mapping[str, str]]
) -> str:
    """The same for programs."""
    made = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": ran,
        "microseconds_of_processor_per_call": {name: round(cost, 1) for name, cost in costs.items()},
        "findings": [asdict(each) | {"holds": each.holds} for each in findings],
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def picture(costs: Mapping[str, float]) -> str:
    """Bars: calls that one core answers in a second, from the processor time of each."""
    rates = {name: 1e6 / cost for name, cost in costs.items()}
    most = max(rates.values(), default=1.0)
    bars = [bar(place, name, rate, most) for place, (name, rate) in enumerate(rates.items())]
    height = (len(bars) + 1) * (BAR + 6) + 10
    style = "text{font:13px system-ui,sans-serif;fill:#6b7280}"
    title = '<text x="0" y="16">Calls of a pipeline that does nothing, a second and core</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">'
    return "\n".join([head, f"<style>{style}</style>", title, *bars, "</svg>"]) + "\n"


def bar(place: int, name: str, rate: float, most: float) -> str:
    """One of them."""
    top = 26 + place * (BAR + 6)
    width = max(1, round((WIDTH - LABEL - ROOM) * rate / most))
    color = OURS if name.startswith(("local", "host")) else THEIRS
    return (
        f'<text x="{LABEL - 8}" y="{top + 15}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LABEL}" y="{top}" width="{width}" height="{BAR}" rx="3" fill="{color}"/>'
        f'<text x="{LABEL + width + 6}" y="{top + 15}">{rate:,.0f}</text>'
    )
