"""What a version must reach on its golden cases before it goes to production."""

from __future__ import annotations

from contextlib import suppress

from ..catalog import Catalog, Stage, VersionStatus
from ..errors import Conflict, Invalid, NotFound
from ..models import Caller, Emit
from ..runs import ignore
from ..settings import Settings
from . import Evaluations
from .cases import Dataset


class Gate:
    """`set_stage` that asks for a score first, if the settings or the caller want one."""

    def __init__(self, catalog: Catalog, evaluations: Evaluations, settings: Settings) -> None:
        self._catalog = catalog
        self._evaluations = evaluations
        self._metric = settings.promotion_metric
        self._score = settings.promotion_score

    async def set_stage(
        self,
        caller: Caller,
        name: str,
        version: int,
        stage: Stage,
        *,
        archive_existing: bool = False,
        share: float | None = None,
        min_score: float | None = None,
        listener: Emit = ignore,
    ) -> VersionStatus:
        """Give a version a stage, as `Catalog.set_stage`; for production it passes its golden cases first.

        It must reach `min_score` and the setting `promotion_score`, and what the version in production
        reaches on the same cases. What was measured on these cases before counts; what was not is measured
        now. Raises `Conflict` if it does not pass, and `Invalid` if the caller asks for a score without
        cases to reach it on.
        """
        if stage == "production":
            await self._check(caller, name, version, min_score, listener)
        elif min_score is not None:
            raise Invalid("`min_score` is for the stage production.")
        return await self._catalog.set_stage(
            name, version, stage, archive_existing=archive_existing, share=share
        )

    async def _check(
        self, caller: Caller, name: str, version: int, min_score: float | None, listener: Emit
    ) -> None:
        asked = [each for each in (min_score, self._score) if each is not None]
        versions = {each.number: each for each in await self._catalog.versions(name)} if asked else {}
        serving = [number for number, each in versions.items() if each.stage == "production"]
        if not asked or version not in versions or version in serving:
            return  # also an unknown version: the catalog refuses it
        golden = await self._golden(name, (version, *serving))
        if golden is None:
            if min_score is not None:
                raise Invalid(f"{name} has no golden cases to reach a score on; put golden.jsonl into it.")
            return
        score = await self._reached(caller, name, version, golden, listener)
        if score < max(asked):
            wanted = f"{max(asked):g} is asked for"
            raise Conflict(f"{self._said(name, version, score)}; {wanted}. It is not promoted.")
        for number in serving:
            other = await self._reached(caller, name, number, golden, listener)
            if score < other:
                better = f"version {number}, in production, reaches {other:g}"
                raise Conflict(f"{self._said(name, version, score)}; {better}. It is not promoted.")

    async def _golden(self, name: str, versions: tuple[int, ...]) -> Dataset | None:
        """The golden cases of the first of these versions that has some."""
        for number in versions:
            with suppress(NotFound):
                return await self._evaluations.dataset(name, number)
        return None

    async def _reached(
        self, caller: Caller, name: str, version: int, golden: Dataset, listener: Emit
    ) -> float:
        known = await self._evaluations.known(name, version, golden.digest, self._metric)
        if known is not None:
            return known
        made = await self._evaluations.evaluate(
            caller, name, version, golden, (self._metric,), listener=listener
        )
        return made.metrics[self._metric]

    def _said(self, name: str, version: int, score: float) -> str:
        return f"Version {version} of {name} reaches {score:g} in {self._metric} on the golden cases"
