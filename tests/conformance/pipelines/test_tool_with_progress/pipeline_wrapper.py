import asyncio

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Reports progress three times."""
        for done in (0, 50, 100):
            context.progress(done, 100)
            await asyncio.sleep(0.05)
        return "Tool with progress executed successfully"
