from pydantic import BaseModel

from mcp_server import Context, Form, Sampling
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Asks only for what the client can give."""
        questions = {}
        if context.can("sampling"):
            questions["sample"] = Sampling("Say hello", 50)
        if context.can("elicitation"):
            questions["ask"] = Form("What is your name?", User)
        return f"Received {len(context.ask_all(**questions))} answer(s)."
