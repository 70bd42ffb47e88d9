from typing import Annotated

from mcp_server import Header
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, region: Annotated[str, Header("Region")] = "anywhere") -> str:
        """Tells the region it was called for, which gateways can read from a header.

        Args:
            region: Where to run.
        """
        return f"region={region}"
