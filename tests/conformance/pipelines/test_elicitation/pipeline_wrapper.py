import json
from typing import Annotated

from pydantic import BaseModel, Field

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class Reply(BaseModel):
    response: Annotated[str, Field(description="User's response")]


class PipelineWrapper(Base):
    def run_api(self, message: str, context: Context) -> str:
        """Asks the user for a reply."""
        answer = context.ask(message, Reply)
        return f"User response: action={answer.action}, content={json.dumps(answer.content)}"
