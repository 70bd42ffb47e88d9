import asyncio

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Logs three lines while it runs."""
        context.log("info", "Tool execution started")
        await asyncio.sleep(0.05)
        context.log("info", "Tool processing data")
        await asyncio.sleep(0.05)
        context.log("info", "Tool execution completed")
        return "Tool with logging executed successfully"
