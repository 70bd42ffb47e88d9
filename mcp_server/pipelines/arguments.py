"""From a function's signature to its input schema and back: JSON arguments to typed ones.

Everything is compiled once, when the pipeline loads; a call only validates.
"""

from __future__ import annotations

import base64
import binascii
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo

from ..errors import Broken, Invalid
from ..models import Json
from .context import Context
from .faults import called, written_in
from .headers import header_problem
from .portable import Quiet, portable
from .uploads import ADDRESSES, is_upload_file, sent

_LONGEST = 480
"""Characters of a refusal; the rest of the answer to a caller is small."""


Given = Callable[[Context], Any]
"""What a parameter gets from the server and not from the caller, for a run."""


@dataclass(frozen=True)
class Arguments:
    """What a function takes: the schema callers see, and the way from JSON to typed values."""

    schema: Json
    warnings: tuple[str, ...]
    _model: type[BaseModel]
    _names: Mapping[str, str]
    """Field of the model → parameter of the function."""
    _always: frozenset[str]
    """Fields whose default is declared in a `Field`, so that the function itself does not know it."""
    _given: Mapping[str, Given]

    def decode(self, arguments: Json, context: Context) -> dict[str, Any]:
        """Keyword arguments for the function, among them what the server itself gives.

        What is not given is left to the function's own defaults. Raises `Invalid` that names the field and
        what was expected, in fewer than 500 characters.
        """
        try:
            values: Any = self._model.__pydantic_validator__.validate_python(arguments)
        except ValidationError as error:
            raise Invalid(_refusal(error, arguments)) from None
        given: set[str] = values.__pydantic_fields_set__
        held: dict[str, Any] = values.__dict__
        if self._always:
            given = given | self._always
        typed: dict[str, Any] = {name: held[field] for field, name in self._names.items() if field in given}
        return typed | given_by(self._given, context) if self._given else typed


def arguments_of(function: Callable[..., Any], descriptions: Mapping[str, str]) -> Arguments:
    """Compile the signature of `function` (bound, so without `self`).

    `descriptions` are those of the docstring, by parameter; a description in a `Field` wins. `*args` and
    `**kwargs` are left out with a warning. Raises `Broken` that names the parameter, and file and line as
    far as the source is known, for one without annotation or one whose type cannot come from a client.
    """
    hints = _parameter_annotations(function)
    parameters: dict[str, inspect.Parameter] = {}
    given: dict[str, Given] = {}
    warnings: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            warnings.append(f"`{parameter}` is left out: callers pass named, annotated parameters only")
        elif gives := _given(hints.get(parameter.name)):
            given[parameter.name] = gives
        else:  # numbered, because the author's own names might be those of pydantic's methods
            parameters[f"p{len(parameters)}"] = parameter
    names = {field: parameter.name for field, parameter in parameters.items()}
    fields = {field: _field(function, part, hints, descriptions) for field, part in parameters.items()}
    model, described = _modelled(function, fields)
    schema, lost = portable(described)
    if problem := header_problem(schema):
        raise Broken(written_in(problem, function))
    always = frozenset(field for field, part in parameters.items() if _declares_default(part, model, field))
    return Arguments(schema, (*warnings, *lost), model, names, always, given)


def given_to(function: Callable[..., Any]) -> Mapping[str, Given]:
    """The parameters of `function` that the server fills. Raises `Broken` as `arguments_of`."""
    hints = _parameter_annotations(function)
    return {name: gives for name, hint in hints.items() if (gives := _given(hint))}


def given_by(given: Mapping[str, Given], context: Context) -> dict[str, Any]:
    """Their values for a run."""
    return {name: gives(context) for name, gives in given.items()}


def return_annotation(function: Callable[..., Any]) -> Any:
    """What `function` says it gives; `Any` if it does not say, or says it with names it lacks."""
    try:
        return _resolved(function, lambda name: name == "return").get("return", Any)
    except (NameError, TypeError, SyntaxError):
        return Any


def _parameter_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return _resolved(function, lambda name: name != "return")
    except NameError as error:
        message = (
            f"the annotations of `{called(function)}` use `{error.name}`, which is not imported at run time"
        )
        raise Broken(written_in(message, function)) from error
    except (TypeError, SyntaxError) as error:
        message = f"the annotations of `{called(function)}` cannot be read: {error}"
        raise Broken(written_in(message, function)) from error


def _resolved(function: Callable[..., Any], wanted: Callable[[str], bool]) -> dict[str, Any]:
    """Annotations by name, strings evaluated where they were written, `Annotated` kept."""
    written = inspect.unwrap(function)
    annotations: dict[str, Any] = getattr(written, "__annotations__", {})
    part = SimpleNamespace(__annotations__={name: hint for name, hint in annotations.items() if wanted(name)})
    owner: object = getattr(function, "__self__", None)
    names = getattr(written, "__globals__", {})
    return get_type_hints(part, names, dict(vars(type(owner))), include_extras=True)


def _given(hint: Any) -> Given | None:
    """The run's `Context`, or the request's headers as Starlette's `Headers`; None for any other type."""
    for kind in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if kind is Context:
            return lambda context: context
        if getattr(kind, "__qualname__", "") == "Headers" and kind.__module__ == "starlette.datastructures":
            return lambda context, make=kind: make(dict(context.headers))
    return None


def _field(
    function: Callable[..., Any],
    parameter: inspect.Parameter,
    hints: Mapping[str, Any],
    descriptions: Mapping[str, str],
) -> tuple[Any, Any]:
    """The parameter as pydantic wants a field: its type and its default."""
    named = f"the parameter `{parameter.name}` of `{called(function)}`"
    if parameter.name not in hints:
        raise Broken(written_in(f"annotate {named} with its type", function, parameter.name))
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise Broken(written_in(f"{named} must be usable by name: remove the `/`", function, parameter.name))
    try:
        hint = _from_client(hints[parameter.name])
    except ValueError as error:
        raise Broken(
            written_in(f"{named} cannot come from a client: {error}", function, parameter.name)
        ) from error
    if parameter.default is None:
        hint = Optional[hint]  # noqa: UP045 - a default of None means "may be None", whatever the annotation
    hint = _told(hint, parameter, descriptions.get(parameter.name))
    return hint, ... if parameter.default is parameter.empty else parameter.default


def _told(hint: Any, parameter: inspect.Parameter, description: str | None) -> Any:
    """With the parameter's name for callers, and the docstring's words, unless a `Field` has its own."""
    given = parameter.default if isinstance(parameter.default, FieldInfo) else None
    own = FieldInfo.from_annotated_attribute(hint, given) if given else FieldInfo.from_annotation(hint)
    told: Json = {} if own.description or not description else {"description": description}
    if own.alias is None and own.validation_alias is None:
        told["alias"] = parameter.name
    return Annotated[hint, Field(**told)]


def _from_client(hint: Any) -> Any:
    """The type as pydantic decodes it from JSON. Raises `ValueError` for one that no client can give."""
    from .sockets import expressible  # imports haystack, which the front process must not

    return expressible(_with_files(hint))


def _with_files(hint: Any) -> Any:
    """The type with bytes, paths and uploaded files replaced by what a client gives for them."""
    if hint is bytes:
        return _BASE64
    if hint in _PATHS or is_upload_file(hint):
        return _file(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[(_with_files(parts[0]), *hint.__metadata__)]
    if not parts or origin is Literal:
        return hint
    if origin in (Union, UnionType):
        return Union[tuple(map(_with_files, _safe(parts)))]  # noqa: UP007 - the arms are only known here
    made = tuple(map(_with_files, parts))
    return hint if made == parts else origin[made]


def _safe(arms: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without what a client must not use: beside a path, a plain string is a path too."""
    if not any(arm in _PATHS for arm in arms):
        return arms
    texts = (str, NoneType, *_PATHS)
    others = any(arm not in texts for arm in arms)
    return tuple(arm for arm in arms if arm is not str and not (others and arm in _PATHS))


def _file(hint: Any) -> Any:
    from .values import FileInput  # imports haystack, which the front process must not

    def made(given: FileInput) -> Any:
        return given.path() if hint in _PATHS else given.lent(hint)

    return Annotated[FileInput, AfterValidator(made)]


_PATHS = (Path, PurePath)


def _base64(given: Any) -> Any:
    if isinstance(given, str) and given.startswith(ADDRESSES):
        return sent(given).path.read_bytes()
    try:
        return base64.b64decode(given, validate=True) if isinstance(given, str) else given
    except binascii.Error as error:
        raise ValueError("the text is not base64") from error


_BASE64: Any = Annotated[
    bytes,
    BeforeValidator(_base64),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": "Bytes in base64."}),
]


def _modelled(function: Callable[..., Any], fields: Mapping[str, Any]) -> tuple[type[BaseModel], Json]:
    """The parameters as one pydantic model, and its schema."""
    config = ConfigDict(extra="forbid")
    try:
        model = create_model("Arguments", __config__=config, **fields)
        return model, model.model_json_schema(schema_generator=Quiet)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        reason = str(error).partition("\n")[0]
        raise Broken(written_in(f"the parameters of `{called(function)}`: {reason}", function)) from error


def _declares_default(parameter: inspect.Parameter, model: type[BaseModel], field: str) -> bool:
    """True if only a `Field` knows the default, so that calling the function without it would not do."""
    own = parameter.default is not parameter.empty and not isinstance(parameter.default, FieldInfo)
    return not own and not model.model_fields[field].is_required()


def _refusal(error: ValidationError, arguments: Json) -> str:
    """What does not fit and what was expected; no values, for they may be another's secrets."""
    told: list[str] = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        path = _path(detail["loc"], arguments)
        line = f"`{path}`: {detail['msg'][:160]}" if path else detail["msg"][:160]
        if line not in told and len("; ".join([*told, line])) <= _LONGEST:
            told.append(line)
    return "; ".join(told)


def _path(location: Sequence[int | str], arguments: Any) -> str:
    """`a.b[0].c`; the names pydantic gives to the arms of a union are no part of what a caller wrote."""
    path, inside = "", arguments
    for place, step in enumerate(location):
        last = place == len(location) - 1
        if isinstance(inside, list) and isinstance(step, int):
            path, inside = f"{path}[{step}]", inside[step]  # pyright: ignore[reportUnknownVariableType]
        elif isinstance(inside, dict) and (step in inside or last):
            path, inside = f"{path}.{step}"[:120], inside.get(step)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return path.removeprefix(".")
