"""What was found, for people and programs: a table, and JSON that can be read again."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .harness import Finding
from .peers import Peer

Versions = Mapping[str, Mapping[str, str]]


def versions(peers: Mapping[str, Peer]) -> Versions:
    """What ran, by server; servers that share everything are told together."""
    told: dict[str, list[str]] = {}
    for name, peer in peers.items():
        told.setdefault(json.dumps(peer.versions), []).append(name)
    return {", ".join(names): json.loads(packages) for packages, names in told.items()}


def machine() -> str:
    """Processors, Python and system."""
    shown = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.partition(": ")[2] for line in shown if line.startswith("model name")}
    model = min(models, default=platform.machine())
    return f"{os.cpu_count()} × {model}, {platform.system()}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Figures:
    """A whole measurement."""

    findings: Sequence[Finding]
    costs: Mapping[str, float]
    """Microseconds of processor per call, by server and era: what the picture shows."""
    versions: Versions
    machine: str = field(default_factory=machine)
    load: float = 0.0
    """How many processes of others wanted a processor in the minute before."""
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @classmethod
    def read(cls, path: Path) -> Figures:
        """What `text` gave. Raises `OSError` or `ValueError` if it is not there."""
        made = json.loads(path.read_text())
        return cls(**made | {"findings": [Finding(**each) for each in made["findings"]]})

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """As Markdown, one line for each finding, with date, machine and versions."""
        lines = ["| what | measured | floor | |", "|---|---|---|---|"]
        for each in self.findings:
            what = each.what if each.era is None else f"{each.what}, {each.era}"
            lines.append(f"| {what} | {value(each)} | {bound(each)} | {mark([each])} {each.about} |")
        return "\n".join([*lines, "", self.told()])

    def told(self) -> str:
        """When, where and with what it was measured."""
        ran = "; ".join(
            f"{names}: {', '.join(f'{package} {number}' for package, number in packages.items())}"
            for names, packages in self.versions.items()
        )
        return f"{self.date[:10]}, {self.machine}, load {self.load:.1f} before. {ran}."


def value(finding: Finding) -> str:
    """What was measured, with its unit."""
    return "not measured" if finding.value is None else f"{finding.value:.3g} {finding.unit}"


def bound(finding: Finding) -> str:
    """The floor, if there is one."""
    if finding.bound is None:
        return ""
    return f"{'≥' if finding.at_least else '≤'} {finding.bound:g} {finding.unit}"


def mark(findings: Sequence[Finding]) -> str:
    """Whether all of these reach their floor."""
    if findings[0].bound is None:
        return ""
    return "✓" if all(each.holds for each in findings) else "✗"
