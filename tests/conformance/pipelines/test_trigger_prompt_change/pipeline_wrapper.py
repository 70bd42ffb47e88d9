from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Tells every client that the prompts changed."""
        context.prompts_changed()
        return "Told."
