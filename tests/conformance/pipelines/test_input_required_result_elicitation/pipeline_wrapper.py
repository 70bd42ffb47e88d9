from pydantic import BaseModel

from mcp_server import Context
from mcp_server import PipelineWrapper as Base


class User(BaseModel):
    name: str


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Greets the user by name."""
        user = context.ask("What is your name?", User, key="user_name")
        return f"Hello, {user.value.name}!" if user else "Hello!"
