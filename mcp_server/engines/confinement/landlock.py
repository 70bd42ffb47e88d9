"""Which files and ports a host may reach: Landlock, Linux' rules that a process gives itself for good.

See the kernel's userspace-api/landlock. Newer kernels know more rights; what this one does not know is left
out, and the filter of system calls covers what matters of it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from enum import IntFlag
from pathlib import Path

CREATE, ADD, RESTRICT = 444, 445, 446
"""The system calls, the same on every architecture."""
VERSION = 1
BENEATH, PORT = 1, 2
"""The kinds of rules: a path and what is beneath it, a TCP port."""
CONNECTS = 4
"""The first version that limits TCP ports."""


class Right(IntFlag):
    """What can be done to a file; linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


KNOWN = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
"""The rights that each version knows; from 5 on all of them."""
OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
"""What a rule about a single file may say."""
READ = Right.READ_FILE | Right.READ_DIR
DEVICES = Right.MAKE_CHAR | Right.MAKE_BLOCK
CHANGE = (
    Right.WRITE_FILE | Right.REMOVE_DIR | Right.REMOVE_FILE | Right.MAKE_DIR | Right.MAKE_REG
    | Right.MAKE_SOCK | Right.MAKE_FIFO | Right.MAKE_SYM | Right.REFER | Right.TRUNCATE
)  # fmt: skip
"""All that changes something, but for making devices."""
BIND, CONNECT = 1, 2
ABSTRACT_SOCKETS, SIGNALS = 1, 2


def version() -> int:
    """What this Linux offers; 0 if it has no Landlock, or has it switched off."""
    libc = ctypes.CDLL(None)
    return max(0, libc.syscall(ctypes.c_long(CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(VERSION)))


def restrict(
    rights: Iterable[tuple[Path, Right]], handled: Right, *, ports: Iterable[int] | None, scoped: bool
) -> None:
    """Allow this thread and those it starts only these `handled` rights, at each path and beneath it.

    `ports` are the TCP ports it may connect to, and it may listen on none; None leaves networks alone.
    `scoped` keeps its signals and abstract sockets among its own. Paths that do not exist are left out.
    Needs `no_new_privs`. Raises OSError.
    """
    known = Right(KNOWN.get(version(), 0xFFFF))
    networks = BIND | CONNECT if ports is not None and version() >= CONNECTS else 0
    scopes = ABSTRACT_SOCKETS | SIGNALS if scoped and version() >= 6 else 0
    head = struct.pack("QQQ", handled & known, networks, scopes)
    with _closing(_call(CREATE, head, len(head), 0)) as ruleset:
        for path, allowed in rights:
            _allow(ruleset, path, allowed & handled & known)
        for port in (ports or ()) if networks else ():
            _call(ADD, ruleset, PORT, struct.pack("QQ", CONNECT, port), 0)
        _call(RESTRICT, ruleset, 0)


def _allow(ruleset: int, path: Path, allowed: Right) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    with _closing(place):
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            allowed &= OF_FILES
        if allowed:
            _call(ADD, ruleset, BENEATH, struct.pack("=Qi", allowed, place), 0)


@contextmanager
def _closing(descriptor: int) -> Generator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    packed = [each if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    result: int = libc.syscall(ctypes.c_long(number), *packed)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
