from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self) -> list:
        """Returns an audio file without a sound."""
        silence = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
        return [{"type": "audio", "data": silence, "mimeType": "audio/wav"}]
