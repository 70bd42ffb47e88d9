import asyncio

from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Asks at once, and then takes long enough to become a task."""
        answer = await context.ask("What is your name?", User, key="user_name")
        await asyncio.sleep(1.5)
        return f"Hello, {answer.value.name}!"
