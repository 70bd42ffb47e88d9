"""The kind `dspy`: a folder with a `program.py` that defines a DSPy program, called like a wrapper.

    import dspy

    class Answer(dspy.Signature):
        \"\"\"Answer the question in one sentence.\"\"\"

        question: str = dspy.InputField(desc="What to answer.")
        answer: str = dspy.OutputField()

    program = dspy.ChainOfThought(Answer)
    lm = dspy.LM("openai/gpt-4o-mini")

`program` may be a module, a module's class, or a signature; without that name, the one such thing the file
defines is it. A state that DSPy saved as JSON is loaded from `program.json`. A pickled one is refused: it
would run whatever is in it. Light to import, the front asks `claims`; DSPy is imported by `load`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, cast, get_type_hints

from pydantic import BaseModel, Field, create_model

from ..errors import Broken
from ..models import Json, Problem
from .context import Context, current
from .faults import broken_by
from .modules import Modules
from .options import PROGRAM, kind_of, options_of
from .requirements import check_requirements
from .wrapper import WrapperPipeline, offered

STATE = "program.json"
PICKLES = (".pkl", ".pickle", ".joblib")
QUIET: Mapping[str, str] = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
"""Keeps DSPy's client for models from fetching lists and from telling anybody about its use."""


def claims(root: Path) -> Path | None:
    """The file that makes `root` a DSPy program."""
    path = root / PROGRAM
    return path if path.is_file() and kind_of({PROGRAM: path.read_bytes()}) == ("dspy", PROGRAM) else None


def load(name: str, root: Path) -> WrapperPipeline:
    """Import the program in place and load its state; blocks.

    Raises `Broken` for whatever the author can mend, and where DSPy is not installed.
    """
    root = root.absolute()
    modules = Modules(name, root)
    try:
        check_requirements(root)
        options = options_of({PROGRAM: (root / PROGRAM).read_bytes()})
        pipeline = offered(name, _wrapper(root, modules), options, root, modules)
    except BaseException as error:
        modules.close()
        raise error if isinstance(error, Broken) else broken_by(error, root, "importing it") from error
    told = pipeline.manifest.model_copy(update={"kind": "dspy"})
    pipeline.manifest = told
    return pipeline


def _wrapper(root: Path, modules: Modules) -> type[Any]:
    """The class of a wrapper around the program."""
    if pickles := sorted(path.name for path in root.iterdir() if path.suffix in PICKLES):
        message = f"{pickles[0]} is pickled and would run whatever is in it; save the program as {STATE}"
        raise Broken(Problem(message=message))
    dspy = _dspy()
    module = modules.load(PROGRAM.removesuffix(".py"))
    program, lm = _program(dspy, module), getattr(module, "lm", None) or dspy.settings.lm
    if lm is None:
        raise Broken(Problem(message="say which model it uses: `lm = dspy.LM(…)`", file=PROGRAM))
    _restore(program, root / STATE)
    streamed = _streamed(module, program)
    method, call = _callable(dspy, program, lm, streamed)
    call.__doc__ = _documentation(program)
    return type("Program", (), {method: call, "__doc__": call.__doc__})


def _restore(program: Any, state: Path) -> None:
    """Load the state that lies beside the program, if one does. Raises `Broken`."""
    if state.is_file():
        try:
            program.load(state)
        except Exception as error:  # whatever DSPy makes of a state of another program
            message = f"is no state of this program ({type(error).__name__}); save it again"
            raise Broken(Problem(message=message, file=STATE)) from error


def _dspy() -> Any:
    """DSPy, told to keep to itself. Raises `Broken` if it is not installed."""
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    try:
        import dspy  # pyright: ignore[reportMissingImports,reportMissingTypeStubs]  # an extra
    except ImportError:
        message = 'DSPy is not installed: pip install "haystack-mcp-server[dspy]"'
        raise Broken(Problem(message=message)) from None
    dspy_any = cast(Any, dspy)
    dspy_any.configure_cache(enable_disk_cache=False)  # it pickles what it keeps, in the user's home
    return dspy_any


def _program(dspy: Any, module: ModuleType) -> Any:
    """The program the file defines, as a module of DSPy."""
    found: Any = vars(module).get("program")
    if found is None:
        defined = [
            each
            for each in vars(module).values()
            if isinstance(each, dspy.Module) or (_is_class(each, dspy) and each.__module__ == module.__name__)
        ]
        modules = [each for each in defined if not _is_signature(each, dspy)] or defined
        if len(modules) != 1:
            message = f"defines {len(modules)} programs: name the one to serve `program`"
            raise Broken(Problem(message=message, file=PROGRAM))
        found = modules[0]
    if _is_signature(found, dspy):
        return dspy.Predict(found)
    return found() if inspect.isclass(found) else found


def _is_class(each: Any, dspy: Any) -> bool:
    return inspect.isclass(each) and issubclass(each, dspy.Module | dspy.Signature)


def _is_signature(each: Any, dspy: Any) -> bool:
    return inspect.isclass(each) and issubclass(each, dspy.Signature)


def _signature(program: Any) -> Any:
    """The signature it keeps to, if it says: its own, or that of the one predictor it consists of."""
    inner = getattr(program, "predict", None)
    return getattr(program, "signature", None) or getattr(inner, "signature", None)


def _documentation(program: Any) -> str:
    signature = _signature(program)
    kind: type[Any] = cast(Any, type(program))
    own = None if kind.__module__.startswith("dspy.") else kind.__doc__ and inspect.cleandoc(kind.__doc__)
    return own or (signature.instructions if signature is not None else "") or ""


def _streamed(module: ModuleType, program: Any) -> tuple[str, ...]:
    """The fields whose text the author wants streamed (`stream = ["answer"]`)."""
    wanted: Any = getattr(module, "stream", ())
    signature = _signature(program)
    fields: dict[str, Any] = signature.output_fields if signature is not None else {}
    if isinstance(wanted, bool):
        return tuple(name for name, field in fields.items() if wanted and field.annotation is str)
    return tuple(wanted)


def _callable(dspy: Any, program: Any, lm: Any, streamed: tuple[str, ...]) -> tuple[str, Callable[..., Any]]:
    """The wrapper's method by its name, with the signature that its schemas are made from."""
    takes, gives = _inputs(program), _outputs(program)

    def ended(prediction: Any) -> Any:
        values: Json = prediction.toDict() if hasattr(prediction, "toDict") else {"result": prediction}
        return gives.model_validate(values) if gives else values

    def run_api(self: object, **inputs: Any) -> Any:
        with dspy.context(lm=lm):
            return ended(program(**inputs))

    async def run_api_async(self: object, **inputs: Any) -> Any:
        with dspy.context(lm=lm):
            if streamed:
                return ended(await _followed(dspy, program, streamed, inputs, current.get()))
            return ended(await program.acall(**inputs))

    native = bool(streamed) or hasattr(program, "aforward")
    call = run_api_async if native else run_api
    returns: Any = gives or dict[str, Any]
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = inspect.Signature([own, *takes], return_annotation=returns)  # pyright: ignore[reportFunctionMemberAccess]
    call.__annotations__ = {each.name: each.annotation for each in takes} | {"return": returns}
    return ("run_api_async" if native else "run_api"), call


async def _followed(
    dspy: Any, program: Any, streamed: tuple[str, ...], inputs: Json, context: Context
) -> Any:
    """Its prediction; the text of these fields goes to the caller as it comes."""
    listeners = [dspy.streaming.StreamListener(signature_field_name=name) for name in streamed]
    native = hasattr(program, "aforward")
    prediction: Any = None
    async for item in dspy.streamify(program, stream_listeners=listeners, is_async_program=native)(**inputs):
        if isinstance(item, dspy.streaming.StreamResponse):
            context.chunk(item.chunk, source=item.signature_field_name)
        elif isinstance(item, dspy.Prediction):
            prediction = item
    return prediction


def _inputs(program: Any) -> list[inspect.Parameter]:
    """What it takes: the inputs of its signature, else the parameters of its `forward`."""
    if (signature := _signature(program)) is not None and not _has_own_forward(program):
        return [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=_described(field))
            for name, field in signature.input_fields.items()
        ]
    forward = program.aforward if hasattr(program, "aforward") else program.forward
    hints = get_type_hints(forward, include_extras=True)
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints.get(name, each.annotation))
        for name, each in inspect.signature(forward).parameters.items()
        if each.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]


def _outputs(program: Any) -> type[BaseModel] | None:
    """What it promises, if its signature says so; a program with a `forward` of its own may give anything."""
    signature = _signature(program)
    if signature is None or _has_own_forward(program):
        return None
    fields: dict[str, Any] = {name: (_described(each), ...) for name, each in signature.output_fields.items()}
    return create_model("Prediction", **fields)


def _has_own_forward(program: Any) -> bool:
    """True if the author wrote what it does."""
    owner = next(
        (each for each in type(program).__mro__ if {"forward", "aforward"} & vars(each).keys()), None
    )
    return owner is not None and not owner.__module__.startswith("dspy.")


def _described(field: Any) -> Any:
    """The type of a field with its description; DSPy writes `${name}` where there is none."""
    told: Json = field.json_schema_extra or {}
    text: str = told.get("desc", "")
    return Annotated[field.annotation, Field(description=text)] if text[:2] != "${" else field.annotation
