import json
from typing import Literal

from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class Person(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Literal["active", "inactive", "pending"] = "active"
    verified: bool = True


class PipelineWrapper(Base):
    async def run_api_async(self, context: Context) -> str:
        """Asks with a form whose fields have defaults."""
        answer = await context.ask("Please provide user information", Person)
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"
