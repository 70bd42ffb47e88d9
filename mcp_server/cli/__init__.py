"""`mcp-server`, the command: looks at the Python it got, then hands over. Parses on any Python 3."""

import sys


def main() -> None:
    """Run the command line and exit: 0 when all went well, 2 with one line when it cannot start."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs a checkout may have any
        sys.stderr.write("mcp-server needs Python 3.11 or newer; this is %d.%d\n" % sys.version_info[:2])  # noqa: UP031
        sys.exit(2)
    from .importing import importing  # not above: older Pythons cannot read what it imports

    with importing():
        from .commands import start
    start()
