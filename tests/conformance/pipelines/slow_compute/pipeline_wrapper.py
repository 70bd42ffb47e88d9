import asyncio

from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    async def run_api_async(self, seconds: float, label: str = "") -> str:
        """Takes as long as it is told to."""
        await asyncio.sleep(seconds)
        return f"computed {label}"
