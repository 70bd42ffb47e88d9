"""What every sandboxed host may read: the system, Python, and the packages it imports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin",
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies", "/etc/fonts",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
    "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/etc/os-release", "/etc/passwd", "/etc/group",
    "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/resolv.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols",
    "/dev/random", "/dev/urandom",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm/overcommit_memory",
    "/proc/sys/kernel/random", "/sys/devices/system",
)  # fmt: skip
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PACKAGE = Path(__file__).resolve().parents[2]


def readable(hidden: tuple[Path, ...]) -> Iterator[Path]:
    """These places, without what is hidden and what holds it; resolved."""
    home = Path.cwd()  # which `python -m` puts on the path: the folder the server was started in
    imported = [Path(entry) for entry in sys.path if entry and Path(entry) != home]
    named = [Path(value) for name in CERTIFICATES if (value := os.environ.get(name))]
    for place in {*map(Path, SYSTEM), Path(sys.prefix), Path(sys.base_prefix), PACKAGE, *imported, *named}:
        yield from _around(place.resolve(), hidden)


def _around(place: Path, hidden: tuple[Path, ...]) -> Iterator[Path]:
    """The place, or of one that holds something hidden what lies beside it."""
    inside = [each for each in hidden if each.is_relative_to(place)]
    if not inside:
        yield place
        return
    if place in inside or not place.is_dir():
        return
    for child in place.iterdir():
        if not child.is_symlink():
            yield from _around(child, hidden)
