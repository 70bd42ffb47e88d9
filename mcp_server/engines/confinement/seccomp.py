"""The system calls a sandboxed host may make: a filter in the kernel (seccomp), as classic BPF.

It stops what Landlock lets pass: UDP, unix sockets, other processes' memory, signals and limits, new
processes and programs, System V memory, io_uring, key rings, mounts and namespaces, changes of mode and
owner. What it does not name it allows, but for calls newer than those known here: those do not exist.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from .syscalls import KNOWN, NUMBERS

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH of linux/audit.h, by machine."""
FOREIGN = 0x40000000
"""From this number on a call is one of x32's on x86-64."""

PR_SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, AND, RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Where things are in `struct seccomp_data`."""

REFUSED = (
    "process_vm_readv process_vm_writev ptrace kcmp pidfd_open pidfd_getfd pidfd_send_signal process_madvise "
    "process_mrelease move_pages migrate_pages tkill rt_sigqueueinfo rt_tgsigqueueinfo get_robust_list "
    "fork vfork execve execveat setsid setpgid "
    "unshare setns mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick "
    "mount_setattr bpf perf_event_open io_uring_setup io_uring_enter io_uring_register userfaultfd "
    "keyctl add_key request_key init_module finit_module delete_module kexec_load kexec_file_load reboot "
    "swapon swapoff acct quotactl quotactl_fd syslog settimeofday clock_settime clock_adjtime adjtimex "
    "sethostname setdomainname iopl ioperm modify_ldt open_by_handle_at name_to_handle_at fanotify_init "
    "inotify_init inotify_init1 vhangup personality memfd_create memfd_secret truncate "
    "shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink "
    "chown fchown lchown fchownat"
)
ABSENT = "clone3 openat2"
"""Told to be missing: libc then takes the older call, whose arguments a filter can read."""
IGNORED = "chmod fchmod fchmodat utime utimes futimesat utimensat"
"""Done to no avail and without an error, as on a file system that has no modes: Landlock cannot tell whose
file it is, and what copies files gives up on an error."""
UNSUPPORTED = "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr"

AF_UNIX, AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM, SOCK_KIND, TCP = 1, 2, 10, 1, 2, 0xF, 6
CLONE_THREAD = 0x00010000
CLONE_NEW = 0x7E020080
"""Every namespace."""
MAP_SHARED, MAP_ANONYMOUS = 0x01, 0x20
O_ACCMODE, O_TRUNC = 0o3, 0o1000
F_SETOWN, F_SETOWN_EX = 8, 15
PR_SET_PDEATHSIG = 1
TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""


@dataclass(frozen=True)
class Check:
    """True if the low half of an argument, masked, has one of these values."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True)
class Rule:
    """A call that is allowed if one of the alternatives holds in full; else it fails so."""

    call: str
    alternatives: tuple[tuple[Check, ...], ...]
    error: int = errno.EPERM


def available() -> bool:
    """True if this kernel filters system calls, and the machine is one whose calls are known here."""
    if os.uname().machine not in ARCHITECTURES or struct.calcsize("P") != 8:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_SECCOMP, MODE_FILTER, None, 0, 0)  # fails in any case, how says whether it could
    return ctypes.get_errno() == errno.EFAULT


def restrict(pid: int, *, tcp: bool, anything: bool) -> None:
    """Filter the calls of this thread and of those it starts; for good. Needs `no_new_privs`.

    `pid` is the process itself, the only one it may signal. `tcp` lets it open TCP sockets, `anything`
    other internet sockets too. Raises OSError.
    """
    machine = os.uname().machine
    code = list(program(machine, rules(pid, tcp=tcp, anything=anything)))
    packed = b"".join(struct.pack("HBBI", *each) for each in code)
    text = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.create_string_buffer(head, len(head)), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def rules(pid: int, *, tcp: bool, anything: bool) -> Iterator[Rule]:
    """The calls that depend on their arguments."""
    myself = ((Check(0, (0, pid)),),)
    yield Rule("kill", ((Check(0, (pid,)),),))
    yield Rule("tgkill", ((Check(0, (pid,)),),))
    for call in ("sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "prlimit64"):
        yield Rule(call, myself)
    yield Rule("setpriority", ((Check(0, (0,)), Check(1, (0, pid))),))
    yield Rule("ioprio_set", ((Check(0, (1,)), Check(1, (0, pid))),))
    yield Rule("clone", ((Check(0, (CLONE_THREAD,), CLONE_THREAD | CLONE_NEW),),))
    yield Rule("socketpair", ((Check(0, (AF_UNIX,)), Check(1, (SOCK_STREAM,), SOCK_KIND)),), errno.EACCES)
    yield Rule("socket", tuple(sockets(tcp=tcp, anything=anything)), errno.EACCES)
    yield Rule("mmap", ((Check(3, (0, MAP_SHARED, MAP_ANONYMOUS), MAP_SHARED | MAP_ANONYMOUS),),))
    opened = (*range(O_ACCMODE + 1), *(O_TRUNC | mode for mode in range(1, O_ACCMODE + 1)))
    yield Rule("openat", ((Check(2, opened, O_TRUNC | O_ACCMODE),),), errno.EACCES)
    yield Rule("open", ((Check(1, opened, O_TRUNC | O_ACCMODE),),), errno.EACCES)


def sockets(*, tcp: bool, anything: bool) -> Iterator[tuple[Check, ...]]:
    """The sockets that may be opened. MPTCP and others would pass Landlock's rules for TCP."""
    internet = Check(0, (AF_INET, AF_INET6))
    if tcp:
        yield internet, Check(1, (SOCK_STREAM,), SOCK_KIND), Check(2, (0, TCP))
    if anything:
        yield internet, Check(1, (SOCK_STREAM, SOCK_DGRAM), SOCK_KIND)


DENIED = {
    "fcntl": Check(1, (F_SETOWN, F_SETOWN_EX)),
    "ioctl": Check(1, (TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP)),
    "prctl": Check(0, (PR_SET_PDEATHSIG,)),
}
"""Calls that are allowed unless the check holds: signals through descriptors, typing into a terminal,
outliving the server."""


def program(machine: str, conditional: Iterable[Rule]) -> Iterator[Instruction]:
    """The filter as instructions."""
    yield LOAD, 0, 0, ARCHITECTURE
    yield EQUAL, 1, 0, ARCHITECTURES[machine]
    yield RETURN, 0, 0, KILL
    yield LOAD, 0, 0, NUMBER
    if machine == "x86_64":
        yield from [(AT_LEAST, 0, 1, FOREIGN), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    yield from [(AT_LEAST, 0, 1, KNOWN), (RETURN, 0, 0, FAIL | errno.ENOSYS)]
    plain = chain(
        ((call, errno.EPERM) for call in REFUSED.split()),
        ((call, errno.ENOSYS) for call in ABSENT.split()),
        ((call, 0) for call in IGNORED.split()),
        ((call, errno.ENOTSUP) for call in UNSUPPORTED.split()),
    )
    for call, error in plain:
        for number in _numbers(machine, call):
            yield from [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | error)]
    for rule in conditional:
        for number in _numbers(machine, rule.call):
            yield from _guarded(number, list(_ruled(rule)))
    for call, check in DENIED.items():
        for number in _numbers(machine, call):
            body = [*_tested(check, 1), (RETURN, 0, 0, FAIL | errno.EPERM), (RETURN, 0, 0, ALLOW)]
            yield from _guarded(number, body)
    yield RETURN, 0, 0, ALLOW


def _numbers(machine: str, call: str) -> Iterator[int]:
    number = NUMBERS[call][list(ARCHITECTURES).index(machine)]
    if number is not None:
        yield number


def _guarded(number: int, body: list[Instruction]) -> Iterator[Instruction]:
    """The body, for this call only; it returns in any case."""
    yield EQUAL, 0, len(body), number
    yield from body


def _ruled(rule: Rule) -> Iterator[Instruction]:
    for alternative in rule.alternatives:
        rest: list[Instruction] = [(RETURN, 0, 0, ALLOW)]
        for check in reversed(alternative):
            rest = [*_tested(check, len(rest)), *rest]
        yield from rest
    yield RETURN, 0, 0, FAIL | rule.error


def _tested(check: Check, ahead: int) -> Iterator[Instruction]:
    """Go on if it holds, else jump over the `ahead` instructions that follow."""
    yield LOAD, 0, 0, ARGUMENTS + 8 * check.argument
    yield AND, 0, 0, check.mask
    for index, value in enumerate(check.values):
        left = len(check.values) - 1 - index
        yield EQUAL, left, 0 if left else ahead, value
