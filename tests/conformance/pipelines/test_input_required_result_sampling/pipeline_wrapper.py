from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Has the client's model name a capital."""
        said = context.sample("What is the capital of France?", max_tokens=100, key="capital_question")
        return f"Model said: {said}"
