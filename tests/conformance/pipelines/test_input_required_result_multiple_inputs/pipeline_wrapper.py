from pydantic import BaseModel

from mcp_server import Context, Form, Roots, Sampling
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Asks for three things in one round."""
        context.ask_all(
            user_name=Form("What is your name?", User),
            greeting=Sampling("Generate a greeting", 50),
            client_roots=Roots(),
        )
        return "All inputs received."
