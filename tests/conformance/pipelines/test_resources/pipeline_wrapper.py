import base64
import json

from mcp_server import PipelineWrapper as Base
from mcp_server import resource

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)


class PipelineWrapper(Base):
    def run_api(self) -> list[str]:
        """Names the resources published here."""
        return ["test://static-text", "test://static-binary", "test://watched-resource"]

    @resource("test://static-text", name="static-text", mime_type="text/plain")
    def static_text(self) -> str:
        """A text."""
        return "This is the content of the static text resource."

    @resource("test://static-binary", name="static-binary", mime_type="image/png")
    def static_binary(self) -> bytes:
        """An image: one red pixel."""
        return PIXEL

    @resource("test://watched-resource", name="watched-resource", mime_type="text/plain")
    def watched(self) -> str:
        """A text to subscribe to."""
        return "Watched resource content"

    @resource("test://template/{id}/data", name="template", mime_type="application/json")
    def data(self, id: str) -> str:
        """Data by its id."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
