from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, name: str) -> str:
        """Is done at once."""
        return f"Hello, {name}!"
