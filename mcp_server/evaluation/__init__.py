"""Versions measured on golden cases: a batch over the cases of a dataset whose end is scored.

__init__    Evaluations: begin, wait, score, know
cases       golden cases, and where datasets lie
metrics     what the answers are worth
scoring     Haystack's evaluators, run in a host
gate        what a version must reach to be promoted
evaluators  the pipeline that runs them
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from anyio import to_thread

from ..catalog import Catalog
from ..engines import Engine
from ..errors import Invalid
from ..models import Caller, Emit, Json, Run
from ..runs import Runs, ignore
from ..runs.batches import Batches
from ..runs.values import value
from ..settings import Settings
from ..store.history import History
from ..store.measurements import Measurement, Measurements
from . import cases
from .cases import DATASETS, GOLDEN, Dataset
from .metrics import EVALUATORS, METRICS, Outcome, check, outcome
from .scoring import scored

__all__ = ["DATASETS", "GOLDEN", "METRIC", "Evaluation", "Evaluations"]

METRIC = "exact_match"
"""What is measured unless the caller says otherwise."""


@dataclass(frozen=True)
class Evaluation:
    """A version measured on a dataset, or being measured: then `metrics` is empty."""

    batch: Run
    dataset: str
    metrics: Mapping[str, float]
    total: int
    failed: int
    """Cases whose run failed; they count as wrong."""


class Evaluations:
    """An evaluation is a batch; it goes on without its caller, and survives its server as a batch does."""

    def __init__(
        self,
        catalog: Catalog,
        runs: Runs,
        batches: Batches,
        engine: Engine,
        settings: Settings,
        history: History,
    ) -> None:
        self._catalog = catalog
        self._runs = runs
        self._batches = batches
        self._engine = engine
        self._settings = settings
        self.measured = Measurements(history)
        batches.scored = self.score

    async def evaluate(
        self,
        caller: Caller,
        name: str,
        number: int,
        dataset: Dataset,
        metrics: Sequence[str] = (METRIC,),
        *,
        listener: Emit = ignore,
        within: float | None = None,
    ) -> Evaluation:
        """Run the version once for each case, and measure what it gives; the metrics become the version's.

        After `within` seconds the evaluation is given as it is; it goes on. `listener` hears how far it is.
        Raises `NotFound`, `Invalid` for a metric that is not known or does not fit the cases, and as
        `Batches.begin`.
        """
        check(metrics)
        about = {
            "dataset": dataset.name,
            "digest": dataset.digest,
            "metrics": [*metrics],
            "expected": [case.expected for case in dataset.cases],
        }
        inputs = [case.inputs for case in dataset.cases]
        run = await self._batches.begin(caller, name, inputs, version=number, evaluation=about)
        live = self._runs.find(caller, run.id)
        live.listener = listener
        await self._runs.attend(live, within)
        return evaluation(live.run)

    async def dataset(self, name: str, number: int, path: str = GOLDEN) -> Dataset:
        """A dataset in the folder of a version, or of the state directory.

        Raises `NotFound` and `Invalid`; see `cases.dataset`.
        """
        places = [await self._catalog.version_root(name, number)]
        if self._settings.folder is not None:
            places.append(self._settings.folder / name)
        places.append(self._settings.state_folder() / DATASETS)
        return await to_thread.run_sync(cases.dataset, path, places)

    async def known(self, name: str, number: int, digest: str, metric: str) -> float | None:
        """What the version reached last over the dataset with this digest; None if it was not measured."""
        found = [
            each.metrics[metric]
            for each in await self.measured.of(name, number)
            if each.digest == digest and metric in each.metrics
        ]
        return found[-1] if found else None

    async def score(self, batch: Run) -> Json:
        """Measure a batch whose items have ended, and write it down; gives what its result is to hold."""
        about: Json = batch.inputs["evaluation"]
        ended = {int(each.step or 0): each for each in await self._runs.past.children(batch.id)}
        outcomes = [
            await self._outcome(expected, ended.get(place))
            for place, expected in enumerate(about["expected"])
        ]
        names: list[str] = about["metrics"]
        found = {name: METRICS[name](outcomes) for name in names if name in METRICS}
        if others := [name for name in names if name in EVALUATORS]:
            found |= await scored(self._engine, others, outcomes, batch.caller)
        failed = sum(1 for each in outcomes if not each.ran)
        measurement = Measurement(
            id=batch.id,
            pipeline=batch.pipeline,
            version=batch.version,
            kind="validation",
            dataset=about["dataset"],
            digest=about["digest"],
            metrics=found,
            total=len(outcomes),
            failed=failed,
            created=time.time(),
        )
        await self.measured.keep(measurement)
        await self._catalog.update_version(batch.pipeline, batch.version, metrics=found)
        return {"dataset": about["dataset"], "metrics": found}

    async def _outcome(self, expected: object, run: Run | None) -> Outcome:
        if run is None or run.status != "done" or run.result is None:
            return outcome(expected, None, ran=False)
        return outcome(expected, await value(self._runs.past, run))


def evaluation(batch: Run) -> Evaluation:
    """What is known of an evaluation. Raises `Invalid` if it could not be scored."""
    about: Json = batch.inputs["evaluation"]
    total = len(about["expected"])
    if not batch.ended:
        return Evaluation(batch, about["dataset"], {}, total, 0)
    if batch.status != "done" or batch.result is None or batch.result.structured is None:
        raise Invalid(f"The evaluation {batch.id} was not scored: {batch.error or batch.status}")
    gave: Json = orjson.loads(batch.result.structured)
    return Evaluation(batch, about["dataset"], gave["metrics"], total, gave["failed"])
