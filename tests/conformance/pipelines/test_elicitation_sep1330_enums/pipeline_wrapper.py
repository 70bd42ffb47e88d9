import json

from mcp_server import Context
from mcp_server import PipelineWrapper as Base

CHOICES = {
    "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
    "titledSingle": {
        "type": "string",
        "oneOf": [
            {"const": "value1", "title": "First Option"},
            {"const": "value2", "title": "Second Option"},
        ],
    },
    "legacyEnum": {
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2"]}},
    "titledMulti": {
        "type": "array",
        "items": {
            "anyOf": [
                {"const": "value1", "title": "First Choice"},
                {"const": "value2", "title": "Second Choice"},
            ]
        },
    },
}


class PipelineWrapper(Base):
    def run_api(self, context: Context) -> str:
        """Asks with a form of choices of every kind."""
        answer = context.ask("Please select values", {"type": "object", "properties": CHOICES})
        return f"Elicitation completed: action={answer.action}, content={json.dumps(answer.content)}"
