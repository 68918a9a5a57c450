"""The exceptions: their tree, what they carry, and that they survive copying and pickling."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from exporter_core import errors
from exporter_core.errors import (
    ConfigError,
    ConfigProblem,
    ContextCancelledError,
    DeadlineExceededError,
    ExporterCoreError,
    ExporterError,
    ExporterShutdownError,
    PartialSuccessError,
    SetupError,
)

PROBLEM = ConfigProblem("unknown option 'pth'; did you mean 'path'?", source="m.yaml", line=7, column=13, path=("a", 0))

EXAMPLES = [
    DeadlineExceededError("late"),
    ContextCancelledError("cancelled"),
    ExporterError("refused", exporter="sqlite", operation="export"),
    ExporterShutdownError("shut down", exporter="sqlite", operation="export"),
    PartialSuccessError("2 points too old", rejected_points=2, exporter="otlp_http", operation="export"),
    SetupError("nothing was started"),
    ConfigError([PROBLEM, ConfigProblem("nothing to export")]),
]


class ThirdPartyError(ExporterError):
    """A plugin's own error, whose constructor takes something else altogether."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"status {status}", operation="export")
        self.status, self.body = status, body


def test_every_exception_is_public_and_has_the_one_base() -> None:
    defined = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert defined == set(errors.__all__)
    assert list(errors.__all__) == sorted(errors.__all__)
    for name in defined - {"ConfigProblem"}:
        assert issubclass(getattr(errors, name), ExporterCoreError)


def test_errors_of_description_and_of_delivery_are_told_apart() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert not (issubclass(kind, SetupError) and issubclass(kind, (ExporterError, *CONTEXT_ERRORS)))


CONTEXT_ERRORS = (DeadlineExceededError, ContextCancelledError)


def test_a_deadline_is_a_timeout_and_neither_context_error_is_an_exporter_error() -> None:
    assert issubclass(DeadlineExceededError, TimeoutError)
    assert not issubclass(ContextCancelledError, TimeoutError)
    assert not any(issubclass(kind, ExporterError) for kind in CONTEXT_ERRORS)


def test_an_exporter_error_can_be_raised_without_arguments() -> None:
    with pytest.raises(ExporterError) as raised:
        raise ExporterError
    assert (str(raised.value), raised.value.exporter, raised.value.operation) == ("", None, None)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 - its own pickle
@pytest.mark.parametrize("error", [*EXAMPLES, ThirdPartyError(503, b"busy")], ids=lambda error: type(error).__name__)
def test_an_error_survives_copying_and_pickling(again, error: ExporterCoreError) -> None:
    error.add_note("seen by a test")
    other = again(error)
    assert other is not error
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert repr(other) == repr(error)
    assert {key: str(value) for key, value in vars(other).items()} == {
        key: str(value) for key, value in vars(error).items()
    }


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({}, "wrong"),
        ({"source": "m.yaml"}, "m.yaml: wrong"),
        ({"source": "m.yaml", "line": 3}, "m.yaml:3: wrong"),
        ({"source": "m.yaml", "line": 3, "column": 9}, "m.yaml:3:9: wrong"),
    ],
)
def test_a_problem_says_where_as_far_as_that_is_known(where: dict[str, object], text: str) -> None:
    assert str(ConfigProblem("wrong", **where)) == text  # type: ignore[arg-type]  # a mapping of mixed types


def test_a_problem_keeps_its_parts() -> None:
    assert (PROBLEM.source, PROBLEM.line, PROBLEM.column, PROBLEM.path) == ("m.yaml", 7, 13, ("a", 0))
    assert repr(PROBLEM) == f"ConfigProblem({str(PROBLEM)!r})"


def test_a_config_error_has_one_line_a_problem_in_the_order_given() -> None:
    error = ConfigError([PROBLEM, ConfigProblem("second")])
    assert str(error).splitlines() == [str(PROBLEM), "second"]
    assert error.problems[0] is PROBLEM
