from pydantic import BaseModel

from mcp_server import Context, Form
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class Confirmation(BaseModel):
    confirm: bool


class PipelineWrapper(Base):
    task = "always"

    def run_api(self, context: Context) -> str:
        """Asks two things at once."""
        answers = context.ask_all(name=Form("What is your name?", User), confirm=Form("Sure?", Confirmation))
        return f"{answers['name'].value.name}: {answers['confirm'].value.confirm}"
