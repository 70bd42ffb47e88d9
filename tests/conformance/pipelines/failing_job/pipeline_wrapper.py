import asyncio

from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    task = "required"

    async def run_api_async(self) -> str:
        """Fails after a second."""
        await asyncio.sleep(1)
        raise ValueError("the job failed")
