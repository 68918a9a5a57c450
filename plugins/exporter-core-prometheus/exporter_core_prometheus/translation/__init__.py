"""OpenTelemetry's metrics as Prometheus has them, for the exporters that push and for those that are scraped.

A :class:`Translator` makes families of series out of metrics data. Whatever has not changed since its last translation
is the same object again, so that an encoder can keep at a series what it made of it::

    translator = Translator(TranslationOptions())
    translation = translator.translate(metrics)
    for family in translation.families:
        for group in family.groups:
            for series, point in zip(group.series, group.points):
                series.labels, point.value

Source: "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification.
"""

from exporter_core_prometheus.translation.histograms import (
    NativeHistogram,
    bucket_bounds,
    cumulative_counts,
    le_text,
    native_histogram,
    scraped_exemplars,
)
from exporter_core_prometheus.translation.labels import EXEMPLAR_CHARACTERS, LabelMaker
from exporter_core_prometheus.translation.model import (
    HISTOGRAMS,
    Family,
    GoneSeries,
    Group,
    Kind,
    Labels,
    Problem,
    Series,
    SeriesSet,
    Translation,
    TranslationError,
    float_of,
)
from exporter_core_prometheus.translation.names import Namer, Strategy
from exporter_core_prometheus.translation.translator import TranslationOptions, Translator

__all__ = [
    "EXEMPLAR_CHARACTERS",
    "HISTOGRAMS",
    "Family",
    "GoneSeries",
    "Group",
    "Kind",
    "LabelMaker",
    "Labels",
    "Namer",
    "NativeHistogram",
    "Problem",
    "Series",
    "SeriesSet",
    "Strategy",
    "Translation",
    "TranslationError",
    "TranslationOptions",
    "Translator",
    "bucket_bounds",
    "cumulative_counts",
    "float_of",
    "le_text",
    "native_histogram",
    "scraped_exemplars",
]
