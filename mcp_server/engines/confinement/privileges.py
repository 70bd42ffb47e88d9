"""Root without its powers: a sandboxed host keeps no capability, whoever starts the server."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from itertools import count

PR_CAPBSET_DROP, PR_CAP_AMBIENT, CLEAR_ALL = 24, 47, 4
VERSION_3 = 0x20080522
"""Of `capset`: two sets of three words."""


def drop() -> None:
    """Give up every capability, and the other groups of the user; for good. Raises OSError."""
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in count():
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # beyond the last, or not root: then there is nothing to bound
    libc.prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    head = ctypes.create_string_buffer(struct.pack("Ii", VERSION_3, 0), 8)
    if libc.capset(head, ctypes.create_string_buffer(24)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
