from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, prompt: str, context: Context) -> str:
        """Has the client's model complete a prompt."""
        return f"LLM response: {context.sample(prompt, max_tokens=100)}"
