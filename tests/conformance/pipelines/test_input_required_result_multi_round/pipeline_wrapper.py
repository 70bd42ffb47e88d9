from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class Favorite(BaseModel):
    color: str


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Asks twice, one after the other."""
        user = await context.ask("Step 1: What is your name?", User, key="step1")
        favorite = await context.ask("Step 2: What is your favorite color?", Favorite, key="step2")
        return f"{user.content.get('name')} likes {favorite.content.get('color')}."
