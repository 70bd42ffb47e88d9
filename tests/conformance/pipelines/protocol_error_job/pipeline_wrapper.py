from mcp_server import PipelineWrapper as Base
from mcp_server import ProtocolError


class PipelineWrapper(Base):
    task = "always"

    def run_api(self) -> str:
        """Ends with an error of the protocol."""
        raise ProtocolError(-32603, "The job broke down.")
