from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> str:
        """Returns a text."""
        return "This is a simple text response for testing."
