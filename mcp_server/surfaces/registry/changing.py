"""What the registry changes of pipelines and their versions: each method is one route."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response

from ...catalog import Stage
from ...errors import Invalid, NotFound, ServerError
from ...evaluation.metrics import check
from ...models import Json
from ...server import Server
from ...store.audit import Noting
from ..callers import caller_of
from ..management.registry_tools import RegistryTools
from ..operations import as_json, iso
from .bodies import (
    Batch,
    Evaluate,
    Reference,
    Register,
    Step,
    Transition,
    Unprocessable,
    Update,
    Word,
    checked,
    fault,
    parsed,
    reference,
)
from .reading import ORIGIN, STAGES, Reading, reference_of

WORDS: Mapping[str, Stage] = {
    "Production": "production",
    "Staging": "staging",
    "Archived": "archived",
    "None": "none",
}


class Changing:
    """Raises `NotFound` for models and versions that are not there, and as the verbs of the catalog."""

    def __init__(self, server: Server, reading: Reading) -> None:
        self._catalog = server.catalog
        self._evaluations = server.evaluations
        self._gate = server.gate
        self._reading = reading
        self._registering = RegistryTools(server)
        self._audit = server.audit

    async def update(self, request: Request) -> Response:
        """Say something about a version."""
        version = await self._reading.version(request, reference_of(request))
        body = await parsed(request, Update)
        async with self._noting(request, "update_version", version.pipeline, version.number):
            changed = await self._catalog.update_version(
                version.pipeline, version.number, tags=body.tags, description=body.description
            )
        return as_json(await self._reading.shown(changed))

    async def delete(self, request: Request) -> Response:
        """Delete a version that is not in production."""
        return as_json(await self._delete(request, reference_of(request)))

    async def transition(self, request: Request) -> Response:
        """Give a version another stage."""
        body = await parsed(request, Transition)
        return as_json(
            await self._transition(request, reference_of(request), body.stage, body.archive_existing)
        )

    async def register(self, request: Request) -> Response:
        """Register a source that is kept here as a version; numbers become metrics, texts tags."""
        body = await parsed(request, Register)
        metrics, tags = told(body.metadata)
        wanted = body.metadata.get("name")
        if wanted is not None and not isinstance(wanted, str):
            raise fault("str type expected", "body", "metadata", "name", kind="type_error.str")
        digest, known = await self._source(request, body.model_data)
        name = wanted or known
        if name is None:
            raise fault("field required", "body", "metadata", "name", kind="value_error.missing")
        tags["model_type"] = body.model_type
        async with self._noting(request, "register_version", name) as noting:
            by = caller_of(request, ORIGIN)
            made = await self._registering.registered(by, name, digest, tags, metrics)
            noting.version, noting.digest = made.number, made.digest
        answer = {
            "model_id": name,
            "model_name": name,
            "version": str(made.number),
            "registration_timestamp": iso(),
        }
        return as_json(answer, 201)

    async def evaluate(self, request: Request) -> Response:
        """Run a version on golden cases, and measure its answers."""
        body = await parsed(request, Evaluate)
        version = await self._reading.version(request, Reference(body.model_name, body.model_version))
        name, number = version.pipeline, version.number
        try:
            check(body.metrics)
        except Invalid as error:
            raise fault(str(error), "body", "metrics") from None
        try:
            dataset = await self._evaluations.dataset(name, number, body.dataset_path)
        except Invalid as error:
            raise fault(str(error), "body", "dataset_path") from None
        async with self._noting(request, "evaluate_version", name, number):
            made = await self._evaluations.evaluate(
                caller_of(request, ORIGIN), name, number, dataset, body.metrics
            )
        return as_json(
            {
                "model_name": name,
                "model_version": str(number),
                "dataset": made.dataset,
                "metrics": dict(made.metrics),
                "batch_id": made.batch.id,
                "total": made.total,
                "failed": made.failed,
            }
        )

    async def batch(self, request: Request) -> Response:
        """Do several things, each on its own."""
        operations = (await parsed(request, Batch)).operations
        results = [await self._one(request, place, each) for place, each in enumerate(operations)]
        successful = sum(1 for each in results if each["success"])
        counts = {"total": len(results), "successful": successful, "failed": len(results) - successful}
        return as_json({**counts, "results": results})

    async def _one(self, request: Request, place: int, given: Json) -> Json:
        """One operation of a batch: what came of it, or why nothing did."""
        view = {key: given.get(key) for key in ("action", "model")}
        try:
            step = checked(given, Step, "body", "operations", place)
            wanted = reference(step.model, "body", "operations", "model")
            if step.action == "delete":
                done = await self._delete(request, wanted)
            elif step.stage is None:
                raise fault("field required", "body", "operations", "stage", kind="value_error.missing")
            else:
                done = await self._transition(request, wanted, step.stage, step.archive_existing)
        except (ServerError, Unprocessable) as error:
            return {**view, "success": False, "result": None, "error": str(error)}
        return {**view, "success": True, "result": done, "error": None}

    async def _delete(self, request: Request, wanted: Reference) -> Json:
        version = await self._reading.version(request, wanted)
        async with self._noting(request, "delete_version", version.pipeline, version.number):
            await self._catalog.delete_version(version.pipeline, version.number)
        return {"message": f"Model {version.pipeline}:{version.number} deleted successfully"}

    async def _transition(self, request: Request, wanted: Reference, stage: Word, archive: bool) -> Json:
        before = await self._reading.version(request, wanted)
        name = before.pipeline
        rested = {each.number for each in await self._catalog.versions(name) if each.stage == "archived"}
        async with self._noting(request, "set_stage", name, before.number):
            after = await self._gate.set_stage(
                caller_of(request, ORIGIN), name, before.number, WORDS[stage], archive_existing=archive
            )
        archived = [
            str(each.number)
            for each in await self._catalog.versions(name)
            if each.stage == "archived" and each.number not in (*rested, before.number)
        ]
        return {
            "name": name,
            "version": str(after.number),
            "stage": STAGES[after.stage],
            "previous_stage": STAGES[before.stage],
            "archived": archived,
        }

    async def _source(self, request: Request, data: str) -> tuple[str, str | None]:
        """The digest of the source that is meant, and the model it belongs to if that is said."""
        if ":" not in data:
            return data, None
        wanted = reference(data, "body", "model_data")
        try:
            version = await self._reading.version(request, wanted)
        except NotFound:
            raise NotFound(f"Model not found: {data[:100]}; nothing is fetched from elsewhere.") from None
        return await self._registering.digest(version.pipeline, version.number), version.pipeline

    @asynccontextmanager
    async def _noting(
        self, request: Request, verb: str, name: str, number: int | None = None
    ) -> AsyncGenerator[Noting]:
        """Tell the audit log what the block does, as the management verb of that name would."""
        async with self._audit.noting(verb, caller_of(request, ORIGIN), name) as noting:
            noting.version = number
            yield noting


def told(metadata: Json) -> tuple[dict[str, float], dict[str, str]]:
    """The metrics and the tags in it. Raises `Unprocessable` for what is neither a number nor a text."""
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    for key, value in metadata.items():
        if key == "name":
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            metrics[key] = value
        elif isinstance(value, str | bool):
            tags[key] = value if isinstance(value, str) else str(value).lower()
        else:
            raise fault("a number or a text is expected", "body", "metadata", key)
    return metrics, tags
