"""`python -m mcp_server` is `mcp-server`. Kept tiny: worker processes may import it again."""

from .cli import main

if __name__ == "__main__":
    main()
