"""Hayhooks with one pipeline that does nothing."""

from hayhooks import BasePipelineWrapper


class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        pass

    async def run_api_async(self, text: str) -> str:
        """Echoes."""
        return text
