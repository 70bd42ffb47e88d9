"""What is posted to the registry, and how it is refused: 422 with a list of faults, as FastAPI has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...models import Json
from ..operations import Handler
from ..rest.bodies import json_object
from ..rest.errors import REQUEST_ID, error_body

B = TypeVar("B", bound=BaseModel)
MOST = 100
"""Operations in one batch."""
Word = Literal["Production", "Staging", "Archived", "None"]
"""The stages as MLflow writes them."""


class Body(BaseModel):
    """Base of what is posted; unknown keys are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class Update(Body):
    description: str | None = None
    tags: dict[str, str | None] = Field(default_factory=dict, description="Null takes one away.")


class Transition(Body):
    stage: Word
    archive_existing: bool = False


class Register(Body):
    model_data: str = Field(description="`name:version`, or the digest of a source that is kept here.")
    model_type: str
    metadata: Json = Field(default_factory=dict, description="Numbers become metrics, the rest tags.")


class Evaluate(Body):
    model_name: str
    model_version: str
    dataset_path: str = Field(description="In the pipeline's folder, or in `datasets` of the state.")
    metrics: list[str] = Field(min_length=1)


class Batch(Body):
    operations: list[Json] = Field(min_length=1, max_length=MOST)


class Step(Body):
    """One operation of a batch."""

    action: Literal["transition_stage", "delete"]
    model: str
    stage: Word | None = None
    archive_existing: bool = False


class Unprocessable(Exception):
    """A request whose form is at fault; `faults` say where."""

    def __init__(self, faults: Sequence[Json]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults))
        self.faults = faults


def fault(message: str, *place: str | int, kind: str = "value_error") -> Unprocessable:
    """The refusal of one value."""
    return Unprocessable([{"loc": [*place], "msg": message, "type": kind}])


def answering(handle: Handler) -> Handler:
    """The handler with refusals of a form as 422; all others are answered as everywhere."""

    async def answer(request: Request) -> Response:
        try:
            return await handle(request)
        except Unprocessable as error:
            body = error_body(request, 422, str(error))
            headers = {REQUEST_ID: str(body["request_id"])}
            return JSONResponse(body | {"detail": [*error.faults]}, 422, headers)

    return answer


async def parsed(request: Request, model: type[B]) -> B:
    """The body as that model. Raises `Unprocessable`, and as `json_object`."""
    return checked(await json_object(request), model, "body")


def checked(given: Json, model: type[B], *place: str | int) -> B:
    """The value as that model. Raises `Unprocessable` that names each field at fault."""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Unprocessable([_fault(each, place) for each in error.errors()[:10]]) from None


def _fault(error: Any, place: tuple[str | int, ...]) -> Json:
    """What pydantic found, in the words that FastAPI had for a field that is missing."""
    missing = error["type"] == "missing"
    return {
        "loc": [*place, *error["loc"]],
        "msg": "field required" if missing else error["msg"],
        "type": "value_error.missing" if missing else error["type"],
    }


class Reference(NamedTuple):
    """A version by name: `name:version`."""

    name: str
    version: str


def reference(text: str | None, *place: str) -> Reference:
    """A version that the query or the body names. Raises `Unprocessable` for anything else."""
    if text is None:
        raise fault("field required", *place, kind="value_error.missing")
    name, colon, version = text.rpartition(":")
    if not colon or not name or not version:
        raise fault("write it as name:version", *place)
    return Reference(name, version)
