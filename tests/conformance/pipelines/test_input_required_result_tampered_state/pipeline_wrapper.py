from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class Confirmation(BaseModel):
    ok: bool


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Asks for a confirmation; the state of the question is sealed."""
        return "state-ok" if context.ask("Please confirm", Confirmation, key="confirm") else "not confirmed"
