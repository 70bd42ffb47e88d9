"""The registry surface: pipelines as models of an MLOps platform, under `/models/` and `/api/models/`.

reading    what is told
changing   what is changed
bodies     what is posted, and how it is refused

There is no second registry: a model is a pipeline, its versions are the pipeline's, its predictions the runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...models import Json
from ...server import Server
from .. import Surface
from ..operations import OBJECT, TEXT, Handler, Operation, gives, routes
from .bodies import Batch, Body, Evaluate, Register, Transition, Update, answering
from .changing import Changing
from .reading import ZIP, Reading

ROOT = "/models"
VERSION = "/{name}/{version}"
LIST: Json = {"type": "array", "items": OBJECT}
MODELS = gives(models=LIST)
MODEL = gives(name=TEXT, version=TEXT, status=TEXT, description=TEXT, tags=OBJECT)
STAGED = gives(name=TEXT, version=TEXT, stage=TEXT, previous_stage=TEXT)
REGISTERED = gives(model_id=TEXT, model_name=TEXT, version=TEXT, registration_timestamp=TEXT)
COMPARED = gives(model1=OBJECT, model2=OBJECT, delta=OBJECT, recommendation=TEXT)
MEASURED = gives(model_name=TEXT, model_version=TEXT, dataset=TEXT, metrics=OBJECT, batch_id=TEXT)
TWO: Json = {"model1": TEXT, "model2": TEXT}

Declared = tuple[str, str, Handler, type[Body] | None, Json]


def surface(server: Server) -> Surface:
    """Every route, at `/models/` and at `/api/models/`; there the slash of the list may be left out."""
    made = operations(server)
    again = [replace(each, path=f"/api{each.path}") for each in made]
    again.append(replace(made[0], path=f"/api{ROOT}"))
    return Surface(routes([*made, *again]), operations=made)


def operations(server: Server) -> tuple[Operation, ...]:
    """Every route with its description; those with a word where others have a name come first."""
    read = Reading(server)
    change = Changing(server, read)
    known: tuple[Declared, ...] = (
        ("GET", "/", read.models, None, MODELS),
        ("GET", "/production", read.production, None, MODELS),
        ("GET", "/compare", read.compare, None, COMPARED),
        ("POST", "/register", change.register, Register, REGISTERED),
        ("POST", "/evaluate", change.evaluate, Evaluate, MEASURED),
        ("POST", "/batch", change.batch, Batch, gives(results=LIST)),
        ("GET", "/contributors/{address}/impact", read.impact, None, gives(address=TEXT)),
        ("GET", "/{model_id}/lineage", read.history, None, gives(model_id=TEXT, lineage=LIST)),
        ("GET", VERSION, read.model, None, MODEL),
        ("PATCH", VERSION, change.update, Update, MODEL),
        ("DELETE", VERSION, change.delete, None, gives(message=TEXT)),
        ("POST", f"{VERSION}/transition", change.transition, Transition, STAGED),
        ("GET", f"{VERSION}/metrics", read.metrics, None, gives(training_metrics=OBJECT)),
        ("GET", f"{VERSION}/lineage", read.lineage, None, gives(model=TEXT)),
        ("GET", f"{VERSION}/predictions", read.predictions, None, gives(date_range=OBJECT)),
        ("GET", f"{VERSION}/download", read.download, None, {}),
    )
    query: dict[Callable[..., Any], Json] = {read.models: {"name": TEXT}, read.compare: TWO}
    return tuple(
        Operation(
            method,
            ROOT + path,
            answering(handle),
            (handle.__doc__ or "").partition(".")[0],
            query=query.get(handle, {}),
            takes=body.model_json_schema() if body else None,
            answer=answer,
            status=201 if body is Register else 200,
            media=(ZIP,) if not answer else ("application/json",),
            tag="Registry",
        )
        for method, path, handle, body, answer in known
    )
