from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class Confirmation(BaseModel):
    confirm: bool


class PipelineWrapper(Base):
    task = "always"

    def run_api(self, filename: str, context: Context) -> str:
        """Asks once before it goes on."""
        answer = context.ask(f"Delete {filename}?", Confirmation, key="confirm")
        return f"deleted {filename}" if answer and answer.value.confirm else f"kept {filename}"
