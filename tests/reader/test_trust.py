"""The mark that tells encoders that a batch comes straight from the SDK."""

from opentelemetry.sdk.metrics import MeterProvider

from exporter_core.guard import GuardedExporter
from exporter_core.otlp import is_trusted
from exporter_core.reader import PeriodicReader
from exporter_core.testing import FakeExporter


def exported_marks(**options):
    marks = []
    exporter = FakeExporter(on_export=lambda context, metrics: marks.append(is_trusted(metrics)))
    reader = PeriodicReader(GuardedExporter(factory=lambda: exporter, name="fake", **options), interval=3600)
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    provider.get_meter("m").create_counter("c").add(1)
    provider.shutdown()
    return marks


def test_what_a_reader_collects_is_marked_as_the_sdks_own_also_behind_the_guard():
    assert exported_marks() == [True]


def test_a_copy_for_an_exporter_that_is_not_trusted_is_not_marked():
    assert exported_marks(copy=True) == [False]
