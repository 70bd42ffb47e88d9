"""Attempts to get out of a sandbox, each as the code of a call. One that works sets `answer`.

`victim` is a process outside, `secret` a file and `folder` a folder outside, `port`, `udp`, `path` and
`abstract` are addresses that something outside listens on, `shared` a piece of shared memory.
"""

from __future__ import annotations

FILES = {
    "read a file outside": "answer = open(secret).read()",
    "read its folder": "answer = os.listdir(folder)",
    "read what the system hides": "answer = open('/etc/shadow').read()",
    "write outside": "open(folder + '/new', 'w'); answer = 'written'",
    "truncate outside": "os.truncate(secret, 0); answer = 'truncated'",
    "truncate while opening": "os.open(secret, os.O_RDONLY | os.O_TRUNC); answer = 'truncated'",
    "delete outside": "os.unlink(secret); answer = 'deleted'",
    "follow a symbolic link": "os.symlink(secret, own + '/link'); answer = open(own + '/link').read()",
    "follow a hard link": "os.link(secret, own + '/hard'); answer = open(own + '/hard').read()",
    "move a file in": "os.rename(secret, own + '/moved'); answer = open(own + '/moved').read()",
    "go through its root": "answer = open('/proc/self/root' + secret).read()",
    "go up from its descriptors": "answer = open('/proc/self/cwd/../' + secret).read()",
    "write into the packages": "open(os.path.dirname(os.__file__) + '/new.py', 'w'); answer = 'written'",
    "change a mode": "os.chmod(secret, 0o777); answer = os.stat(secret).st_mode & 0o077",
    "give a file away": "os.chown(secret, 1, 1); answer = 'given'",
    "make a device": "os.mknod(own + '/device', 0o600 | 0o020000, os.makedev(1, 1)); answer = 'made'",
    "watch a folder": "answer = libc.inotify_init() >= 0",
    "use what it inherited": (
        "links = [os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2]\n"
        "answer = [each for each in links if each.startswith('/') and not each.startswith(('/dev', '/proc'))]"
    ),
}
NETWORKS = {
    "connect": "socket.create_connection(('127.0.0.1', port), 2); answer = 'connected'",
    "send a datagram": "answer = socket.socket(2, 2).sendto(b'x', ('127.0.0.1', udp))",
    "listen": "socket.create_server(('127.0.0.1', 0)); answer = 'listening'",
    "connect to a unix socket": "s = socket.socket(1); s.connect(path); answer = 'connected'",
    "connect to an abstract socket": "s = socket.socket(1); s.connect(abstract); answer = 'connected'",
    "send from a pair": (
        "a, b = socket.socketpair(1, socket.SOCK_DGRAM); a.sendto(b'x', path); answer = 'sent'"
    ),
    "open a raw socket": "socket.socket(17, socket.SOCK_RAW); answer = 'opened'",
    "open a netlink socket": "socket.socket(16, socket.SOCK_RAW); answer = 'opened'",
    "use MPTCP": "socket.socket(2, 1, 262); answer = 'opened'",
    "use io_uring": "answer = libc.syscall(425, 8, ctypes.create_string_buffer(120)) >= 0",
}
PROCESSES = {
    "read its environment": "answer = open(f'/proc/{victim}/environ').read()",
    "read its memory map": "answer = open(f'/proc/{victim}/maps').read()",
    "read its memory": ("answer = libc.process_vm_readv(victim, None, 0, None, 0, 0) >= 0"),
    "trace it": "answer = libc.ptrace(16, victim, 0, 0) == 0",
    "signal it": "os.kill(victim, 0); answer = 'signalled'",
    "signal its parent": "os.kill(os.getppid(), 0); answer = 'signalled'",
    "signal everybody": "os.kill(-1, 0); answer = 'signalled'",
    "signal through a descriptor": (
        "a, b = socket.socketpair(); import fcntl; fcntl.fcntl(a, fcntl.F_SETOWN, victim); answer = 'owned'"
    ),
    "limit it": "import resource; resource.prlimit(victim, 7, (8, 8)); answer = 'limited'",
    "slow it down": "os.setpriority(os.PRIO_PROCESS, victim, 19); answer = 'slowed'",
    "move it": "os.sched_setaffinity(victim, {0}); answer = 'moved'",
    "take its descriptors": "answer = libc.syscall(434, victim, 0) >= 0",
    "read others' shared memory": "answer = open(shared).read()",
    "make System V memory": "answer = libc.shmget(1234, 4096, 0o1777) >= 0",
    "outlive the server": "answer = libc.prctl(1, 0) == 0",
}
POWERS = {
    "fork": "answer = os.fork()",
    "fork a bomb": "import itertools\nfor n in itertools.count(): os.fork(); answer = n",
    "start a program": "import subprocess; answer = subprocess.run(['/bin/true']).returncode",
    "become another program": "os.execv('/bin/su', ['su'])",
    "mount": "answer = libc.mount(b'none', own.encode(), b'tmpfs', 0, None) == 0",
    "make a namespace": "answer = libc.unshare(0x10000000) == 0",
    "change its root": "os.chroot(own); answer = 'changed'",
    "become another user": "os.setuid(65534); answer = os.getuid() == 65534",
    "load code into the kernel": "answer = libc.syscall(321, 0, ctypes.create_string_buffer(64), 64) >= 0",
    "use the key ring": "answer = libc.syscall(250, 0, -3, 0) >= 0",
    "set the clock": "import time; time.clock_settime(0, time.time()); answer = 'set'",
}
LIMITS = {
    "take 10 GB of memory": "kept = bytearray(10 << 30); answer = len(kept)",
    "take 10 GB of shared memory": "import mmap; answer = len(mmap.mmap(-1, 10 << 30))",
    "take memory as a file": "n = os.memfd_create('x'); os.ftruncate(n, 10 << 30); answer = 'taken'",
    "fill the disk": (
        "f = open(own + '/full', 'wb')\nfor _ in range(1000): f.write(bytes(1 << 20))\nanswer = f.tell()"
    ),
    "open every file": "kept = [open('/dev/null') for _ in range(5000)]; answer = len(kept)",
}
PROBES = FILES | NETWORKS | PROCESSES | POWERS | LIMITS
