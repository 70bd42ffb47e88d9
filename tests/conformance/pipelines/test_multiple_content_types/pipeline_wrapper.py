from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> list:
        """Returns a text, an image and a resource."""
        pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
        data = '{"test":"data","value":123}'
        resource = {"uri": "test://mixed-content-resource", "mimeType": "application/json", "text": data}
        return [
            {"type": "text", "text": "Multiple content types test:"},
            {"type": "image", "data": pixel, "mimeType": "image/png"},
            {"type": "resource", "resource": resource},
        ]
