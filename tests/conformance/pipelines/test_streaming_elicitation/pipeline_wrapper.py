from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Reports progress, then asks for a name."""
        context.progress(1, 2, "asking")
        answer = await context.ask("What is your name?", User, key="user_name")
        return str(answer.content)
