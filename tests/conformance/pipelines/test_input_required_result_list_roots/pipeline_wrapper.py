from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Counts the client's roots."""
        roots = await context.roots(key="client_roots")
        return f"Client exposed {len(roots)} root(s)."
