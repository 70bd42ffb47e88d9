from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> list:
        """Returns an image: one red pixel."""
        pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
        return [{"type": "image", "data": pixel, "mimeType": "image/png"}]
