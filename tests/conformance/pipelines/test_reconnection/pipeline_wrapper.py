import asyncio

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Closes the caller's stream in the middle of its work."""
        context.log("info", "Before the stream closes")
        context.close_stream()
        await asyncio.sleep(0.2)
        context.log("info", "After the stream closed")
        return "Reconnection test completed"
