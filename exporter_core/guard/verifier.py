"""Checks that a class fits the contract, before any of its code is called.

Pluggy checks too little: a class with no operation, a misspelt method, a required keyword-only argument, ``*args`` and
a renamed parameter all pass. Each problem here is one line with class, method, file and line.
"""

from __future__ import annotations

import difflib
import inspect
from functools import cache
from typing import TYPE_CHECKING

from exporter_core.contract import OPERATIONS, PROJECT_NAME, ExporterSpec
from exporter_core.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NEARLY = 0.85  # "force_flsh" is 0.95 like an operation, "report" 0.67
_NEVER_ASYNC = ("temporality", "aggregation")


def verify(exporter_class: object) -> type:
    """Return the class if its operations fit the contract.

    Raises:
        ContractError: with every problem found, a line each.
    """
    if not isinstance(exporter_class, type):
        raise ContractError(
            f"{_describe(exporter_class)} is not a class; an exporter entry point names a class with the operations "
            f"{', '.join(OPERATIONS)}"
        )
    problems = [*_operations(exporter_class), *_near_misses(exporter_class)]
    if problems and _is_of_the_sdk(exporter_class):
        raise ContractError(
            f"{exporter_class.__module__}.{exporter_class.__qualname__} is a MetricExporter of the OpenTelemetry SDK; "
            f"register a subclass of exporter_core.Exporter here, and this one in the group "
            f"'opentelemetry_metrics_exporter'{_place(exporter_class)}"
        )
    if problems:
        raise ContractError("\n".join(problems))
    return exporter_class


def asynchronous_operations(exporter_class: type) -> frozenset[str]:
    """Return the operations that are ``async def``."""
    return frozenset(
        name for name in OPERATIONS if inspect.iscoroutinefunction(inspect.unwrap(getattr(exporter_class, name)))
    )


def _is_of_the_sdk(exporter_class: type) -> bool:
    from opentelemetry.sdk.metrics.export import MetricExporter  # noqa: PLC0415 - see exporter_core.exporter

    return issubclass(exporter_class, MetricExporter)


def _operations(exporter_class: type) -> Iterator[str]:
    for name in OPERATIONS:
        member = inspect.getattr_static(exporter_class, name, None)
        where = f"{exporter_class.__module__}.{exporter_class.__qualname__}.{name}"
        if member is None:
            yield (
                f"{exporter_class.__module__}.{exporter_class.__qualname__} has no operation {name!r}; "
                f"subclass exporter_core.Exporter for sound defaults{_place(exporter_class)}"
            )
            continue
        if getattr(member, "__isabstractmethod__", False):
            yield f"{where} is abstract: an exporter has to implement it{_place(exporter_class)}"
            continue
        if not inspect.isfunction(member):
            place = _place(getattr(member, "__func__", None)) or _place(exporter_class)
            yield f"{where} is a {type(member).__name__}; an operation is a plain method{place}"
            continue
        for problem in (*_kind(name, member), *_parameters(name, member), *_marker(member)):
            yield f"{where} {problem}{_place(inspect.unwrap(member))}"


def _kind(name: str, function: Callable[..., object]) -> Iterator[str]:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        yield "is a generator; an operation returns when it is done, so it must not yield"
    if name in _NEVER_ASYNC and inspect.iscoroutinefunction(function):
        yield "is async; it must be a plain function"


def _parameters(name: str, function: Callable[..., object]) -> Iterator[str]:
    expected = list(inspect.signature(getattr(ExporterSpec, name)).parameters)[1:]
    wanted = f"the contract has {name}({', '.join(['self', *expected])})"
    try:
        # As pluggy reads it: of a decorated function (functools.wraps) the one that is decorated.
        own, *parameters = inspect.signature(function).parameters.values() or (None,)
    except (TypeError, ValueError):
        yield f"has a signature that cannot be read; {wanted}"
        return
    if own is None or own.kind is inspect.Parameter.KEYWORD_ONLY:
        yield f"takes no 'self'; {wanted}"
    if not _can_be_called(function, names := ["self", *(parameter.name for parameter in parameters)]):
        yield f"is decorated by a function that cannot be called with ({', '.join(names)}); {wanted}"
    for position, parameter in enumerate(parameters):
        it = f"parameter {parameter.name!r}"
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is inspect.Parameter.VAR_POSITIONAL else "**"
            yield f"takes {stars}{parameter.name}: name the parameters; {wanted}"
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            yield f"has the keyword-only {it}; {wanted}"
        elif position >= len(expected):
            yield f"has the {it}, one too many; {wanted}"
        elif parameter.name != expected[position]:
            yield f"has the {it} where {expected[position]!r} belongs; {wanted}"
        elif parameter.default is not inspect.Parameter.empty:
            yield f"gives the {it} a default: pluggy leaves such a parameter out of the call; {wanted}"


def _can_be_called(function: Callable[..., object], names: list[str]) -> bool:
    """Return False for a function that decorates another and does not take as many positional arguments."""
    if inspect.unwrap(function) is not function:
        try:
            inspect.signature(function, follow_wrapped=False).bind(*names)
        except TypeError:
            return False
    return True


def _marker(function: Callable[..., object]) -> Iterator[str]:
    options = getattr(function, f"{PROJECT_NAME}_impl", None) or {}
    for option in ("wrapper", "hookwrapper", "optionalhook", "specname"):
        if options.get(option):
            yield f"is decorated with hookimpl({option}=...), which an exporter cannot use; write plain @hookimpl"


def _near_misses(exporter_class: type) -> Iterator[str]:
    for name in dir(exporter_class):
        if name.startswith("_") or name in OPERATIONS:
            continue
        member = inspect.getattr_static(exporter_class, name, None)
        nearest = _nearest(name)
        if nearest and inspect.isfunction(member):
            where = f"{exporter_class.__module__}.{exporter_class.__qualname__}.{name}"
            yield f"{where} is nearly the operation {nearest[0]!r}: rename it{_place(member)}"


@cache
def _nearest(name: str) -> list[str]:
    return difflib.get_close_matches(name.lower(), OPERATIONS, 1, cutoff=_NEARLY)


def _place(subject: object) -> str:
    code = getattr(subject, "__code__", None)
    if code is not None:
        return f" ({code.co_filename}:{code.co_firstlineno})"
    try:
        return f" ({inspect.getsourcefile(subject)}:{inspect.getsourcelines(subject)[1]})"  # type: ignore[arg-type]  # raises TypeError for what has no source
    except (OSError, TypeError, SyntaxError):  # no source, or one that was edited since
        return ""


def _describe(value: object) -> str:
    return getattr(value, "__qualname__", None) or f"an object of type {type(value).__name__}"
