from pydantic import BaseModel

from mcp_server import Context, prompt
from mcp_server import PipelineWrapper as Base

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"


class Background(BaseModel):
    context: str


class PipelineWrapper(Base):
    def run_api(self) -> str:
        """Says where the prompts are."""
        return "The prompts are in prompts/list."

    @prompt()
    def test_simple_prompt(self) -> str:
        """A prompt without arguments."""
        return "This is a simple prompt for testing."

    @prompt()
    def test_prompt_with_arguments(self, arg1: str, arg2: str) -> str:
        """A prompt with two arguments.

        Args:
            arg1: The first one.
            arg2: The second one.
        """
        return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"

    @prompt()
    def test_prompt_with_embedded_resource(self, resourceUri: str) -> list:
        """A prompt that brings a resource.

        Args:
            resourceUri: The URI to give it.
        """
        text = "Embedded resource content for testing."
        resource = {"uri": resourceUri, "mimeType": "text/plain", "text": text}
        return [{"type": "resource", "resource": resource}, "Please process the embedded resource above."]

    @prompt()
    def test_prompt_with_image(self) -> list:
        """A prompt that shows an image."""
        image = {"type": "image", "data": PIXEL, "mimeType": "image/png"}
        return [image, "Please analyze the image above."]

    @prompt()
    def test_input_required_result_prompt(self, context: Context) -> str:
        """A prompt that asks before it answers."""
        told = context.ask("What context should the prompt use?", Background, key="user_context")
        return f"Use the following context: {told.content.get('context')}"
