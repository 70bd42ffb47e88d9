from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class Confirmation(BaseModel):
    ok: bool


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Asks for a confirmation and goes on where it waited."""
        before = object()
        asked = context.ask("Please confirm", Confirmation, key="confirm")
        return "state-ok" if asked and before else "not confirmed"
