from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> str:
        """Always fails."""
        raise RuntimeError("This tool intentionally returns an error for testing")
