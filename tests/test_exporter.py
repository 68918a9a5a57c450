"""The base classes that plugin authors subclass."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData
from opentelemetry.sdk.metrics.view import DefaultAggregation
from pydantic import SecretStr, ValidationError

from exporter_core.context import Context
from exporter_core.contract import OPERATIONS, InstrumentKind
from exporter_core.errors import ContractError, DeadlineExceededError
from exporter_core.exporter import Exporter, ExporterConfig

ConfigT = TypeVar("ConfigT", bound=ExporterConfig)
OtherT = TypeVar("OtherT")


class FileConfig(ExporterConfig):
    path: str
    """Where the file is."""
    token: SecretStr = SecretStr("")


class FileExporter(Exporter[FileConfig]):
    def export(self, context: Context, metrics: MetricsData) -> None:
        return None


def test_the_type_argument_is_the_config_model() -> None:
    assert FileExporter.config_model is FileConfig
    assert FileExporter(FileConfig(path="m.db")).config.path == "m.db"


def test_an_exporter_without_a_type_argument_has_no_options() -> None:
    class Plain(Exporter):  # type: ignore[type-arg]  # allowed at run time
        def export(self, context: Context, metrics: MetricsData) -> None: ...

    assert Plain.config_model is ExporterConfig


def test_a_subclass_inherits_the_config_model() -> None:
    class Faster(FileExporter): ...

    assert Faster.config_model is FileConfig


def test_a_subclass_may_name_another_config_model() -> None:
    class WiderConfig(FileConfig):
        size: int = 0

    class Wider(FileExporter):
        config_model = WiderConfig

    class Wider2(Wider): ...

    assert Wider.config_model is WiderConfig
    assert Wider2.config_model is WiderConfig


def test_the_type_argument_is_found_through_generic_bases() -> None:
    class Queued(Exporter[ConfigT], Generic[OtherT, ConfigT]): ...

    class Twice(Queued[OtherT, ConfigT]): ...

    class Swapped(Twice[OtherT, ConfigT], Generic[ConfigT, OtherT]): ...

    class Leaf(Swapped[FileConfig, int]):
        def export(self, context: Context, metrics: MetricsData) -> None: ...

    class Fixed(Exporter[FileConfig], Generic[OtherT]): ...

    class FixedLeaf(Fixed[int]): ...

    assert Queued.config_model is Twice.config_model is Swapped.config_model is ExporterConfig
    assert Leaf.config_model is FileConfig
    assert FixedLeaf.config_model is FileConfig


@pytest.mark.parametrize("argument", [int, dict, "FileConfig", None])
def test_a_type_argument_that_is_no_config_is_refused_by_name(argument: Any) -> None:
    with pytest.raises(
        ContractError, match=r"test_exporter.*Wrong: Exporter\[\.\.\.\] takes a subclass of ExporterConfig"
    ):

        class Wrong(Exporter[argument]): ...


def test_only_export_has_to_be_written() -> None:
    assert Exporter.__abstractmethods__ == {"export"}
    with pytest.raises(TypeError, match="abstract"):
        Exporter(ExporterConfig())  # type: ignore[abstract]


def test_class_keyword_arguments_reach_cooperating_bases() -> None:
    class Registry:
        def __init_subclass__(cls, *, kind: str, **kwargs: Any) -> None:
            super().__init_subclass__(**kwargs)
            cls.kind = kind

    class Both(Exporter[FileConfig], Registry, kind="file"): ...

    assert Both.kind == "file"  # type: ignore[attr-defined]  # set by the base
    assert Both.config_model is FileConfig


@pytest.mark.parametrize("kind", InstrumentKind)
def test_the_defaults_are_cumulative_and_the_sdks_aggregation(kind: InstrumentKind) -> None:
    exporter = FileExporter(FileConfig(path="m.db"))
    assert exporter.temporality(kind) is AggregationTemporality.CUMULATIVE
    assert isinstance(exporter.aggregation(kind), DefaultAggregation)


def test_the_defaults_hold_and_own_nothing() -> None:
    exporter = FileExporter(FileConfig(path="m.db"))
    done = Context.with_timeout(0)
    assert exporter.force_flush(Context.background()) is None
    with pytest.raises(DeadlineExceededError):  # as the contract has it for every operation with a deadline
        exporter.force_flush(done)
    assert exporter.shutdown(done) is None


def test_every_operation_is_on_the_base_class() -> None:
    assert all(callable(getattr(Exporter, operation)) for operation in OPERATIONS)


def test_options_are_frozen_and_unknown_ones_are_errors() -> None:
    config = FileConfig(path="m.db")
    with pytest.raises(ValidationError, match="frozen"):
        config.path = "other.db"
    with pytest.raises(ValidationError, match="pth"):
        FileConfig(path="m.db", pth="x")  # type: ignore[call-arg]


def test_a_validation_error_never_quotes_the_value_given() -> None:
    with pytest.raises(ValidationError) as raised:
        FileConfig.model_validate({"path": ["hunter2"], "token": ["hunter2"]})
    assert "hunter2" not in str(raised.value)


def test_a_docstring_under_an_option_is_its_description() -> None:
    assert FileConfig.model_fields["path"].description == "Where the file is."
