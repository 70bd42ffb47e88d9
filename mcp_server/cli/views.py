"""The answers of the server as people read them."""

from __future__ import annotations

from typing import Any

import click

from ..models import Json
from .banner import first_sentence
from .printing import ago, facts, line, output, span, structured, table
from .remote import dumped


def status(answer: Json) -> None:
    """How all pipelines are doing, or one."""
    if "pipelines" not in answer:
        _status(answer)
        return
    click.echo(f"{answer['server']}\n")
    columns = ("PIPELINE", "STATUS", "VERSION", "KIND", "CALLS", "ERRORS", "UP", "PROBLEM")
    table(columns, map(_standing, answer["pipelines"]))


def pipelines(answer: Json) -> None:
    """What there is."""
    columns = ("PIPELINE", "STATUS", "VERSION", "KIND", "DESCRIPTION")
    table(
        columns,
        (
            (each["name"], each["status"], each.get("version"), each.get("kind"), _about(each))
            for each in answer["pipelines"]
        ),
    )


def deployed(answer: Json) -> None:
    """What a deploy made, and how to call it."""
    name, version = answer["pipeline"]["name"], answer["pipeline"].get("version")
    click.echo(f"{name} serves, version {version}.")
    for warning in answer["pipeline"].get("warnings", ()):
        click.echo(f"  warning: {line(warning)}")
    schema: Json = answer["tool"].get("inputSchema", {})
    params = " ".join(f"--param {each}=…" for each in schema.get("required", ()))
    click.echo(f"Run it: mcp-server pipeline run {name} {params}".rstrip())


def undeployed(answer: Json) -> None:
    """That it is gone."""
    click.echo(f"{answer['name']} is {answer['status']}.")


def versions(answer: Json) -> None:
    """Versions, newest first."""
    columns = ("VERSION", "STAGE", "SHARE", "PARENT", "CREATED", "AUTHOR", "TAGS", "METRICS", "DESCRIPTION")
    table(columns, map(_version, answer["versions"]))


def staged(answer: Json) -> None:
    """Which stage a version has now."""
    share = f", with {answer['share']:.0%} of the calls" if answer.get("share") else ""
    click.echo(f"{answer['pipeline']} version {answer['version']}: {answer['stage']}{share}.")


def compared(answer: Json) -> None:
    """Two versions: what changed in the source, in the schemas and in the metrics, and which one to use."""
    for each in answer.get("source_diff", "").splitlines():
        click.echo(click.style(output(each), fg=_changed(each), bold=each.startswith(("---", "+++"))))
    changes: list[Json] = answer.get("schema_changes", [])
    if changes:
        click.echo("\nSchemas")
        rows = (
            (each["where"], each["field"], each["change"], "breaks callers" if each["breaks"] else "")
            for each in changes
        )
        table(("OF", "FIELD", "CHANGE", ""), rows)
    if answer["metric_deltas"]:
        click.echo("\nMetrics")
        first, second = answer["first"].get("metrics", {}), answer["second"].get("metrics", {})
        rows = (
            (name, first.get(name), second.get(name), f"{by:+g}")
            for name, by in answer["metric_deltas"].items()
        )
        table(("METRIC", "FIRST", "SECOND", "CHANGE"), rows)
    advice = answer["recommendation"]
    use = f"Use version {advice['version']}. " if "version" in advice else ""
    click.echo(f"\n{use}{line(advice['reason'])}")


def runs(answer: Json) -> None:
    """Runs, newest first."""
    columns = ("RUN", "PIPELINE", "VERSION", "STATUS", "STARTED", "SECONDS", "ERROR")
    table(columns, map(_run, answer["runs"]))
    if "next_cursor" in answer:
        click.echo("… and older ones; --limit shows more.")


def run(answer: Json) -> None:
    """One run with all that is known of it."""
    facts(
        (
            ("run", answer["run_id"]),
            ("pipeline", answer.get("pipeline")),
            ("version", answer.get("version")),
            ("status", answer["status"]),
            ("started", answer.get("started")),
            ("seconds", answer.get("seconds")),
            ("progress", answer.get("progress", {}).get("message")),
            ("error", answer.get("error")),
            ("no longer kept", ", ".join(answer.get("no_longer_kept", ()))),
            ("inputs", dumped(answer["inputs"]) if answer.get("inputs") else None),
        )
    )
    for wanted in answer.get("question", {}).values():
        click.echo(f"\n{output(wanted.get('params', {}).get('message', ''))}")
        click.echo(f"Answer it: mcp-server runs answer {answer['run_id']}")
    if answer.get("result") is not None and answer["status"] == "done":
        click.echo(f"\n{output(structured(answer['result']))}")


def standing(answer: Json) -> None:
    """Where a step-wise run stands."""
    facts((key, answer.get(key)) for key in ("run_id", "parent_run_id", "status", "step"))
    if answer.get("invalidated_steps"):
        click.echo(f"To be done again: {', '.join(answer['invalidated_steps'])}.")
    if answer.get("next"):
        click.echo(line(answer["next"]))


def exported(answer: Json) -> None:
    """The YAML, or where it was written."""
    click.echo(
        f"{answer['file']} is written." if "file" in answer else output(answer["yaml"]), nl="file" in answer
    )


def _standing(each: Json) -> tuple[Any, ...]:
    up = span(each["uptime"]) if each["status"] == "running" else None
    return (
        each["name"],
        each["status"],
        each.get("version"),
        each.get("kind"),
        each["calls"] or "0",
        each["errors"] or None,
        up,
        each.get("error") or "; ".join(each.get("warnings", ())),
    )


def _status(answer: Json) -> None:
    up = span(answer["uptime"]) if answer["status"] == "running" else None
    stages = ", ".join(f"{stage} {version}" for stage, version in answer.get("stages", {}).items())
    known = {key: answer.get(key) for key in ("name", "status", "version", "kind")}
    rest = {key: answer.get(key) for key in ("calls", "errors", "description", "error")}
    facts([*known.items(), ("stages", stages), ("up", up), *rest.items()])
    for warning in answer.get("warnings", ()):
        click.echo(f"warning: {line(warning)}")


def _about(each: Json) -> str:
    return first_sentence(each.get("description") or each.get("error") or "")


def _version(each: Json) -> tuple[Any, ...]:
    share = f"{each['share']:.0%}" if each.get("share") else None
    pairs = (
        ", ".join(f"{key}={value}" for key, value in each.get(of, {}).items()) for of in ("tags", "metrics")
    )
    return (
        each["version"],
        each["stage"],
        share,
        each.get("parent"),
        ago(each["created"]),
        each.get("author"),
        *pairs,
        first_sentence(each.get("description", "")),
    )


def _run(each: Json) -> tuple[Any, ...]:
    started = ago(each["started"])
    return (
        each["run_id"],
        each["pipeline"],
        each["version"],
        each["status"],
        started,
        f"{each['seconds']:.2f}",
        first_sentence(each.get("error", "")),
    )


def _changed(text: str) -> str | None:
    return {"+": "green", "-": "red", "@": "cyan"}.get(text[:1])
