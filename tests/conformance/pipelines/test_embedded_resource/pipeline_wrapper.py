from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> list:
        """Returns a resource."""
        text = "This is an embedded resource content."
        resource = {"uri": "test://embedded-resource", "mimeType": "text/plain", "text": text}
        return [{"type": "resource", "resource": resource}]
