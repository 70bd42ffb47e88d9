from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Needs a client with a model of its own."""
        context.require("sampling")
        return "The client can sample."
