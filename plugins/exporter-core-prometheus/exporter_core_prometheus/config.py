"""The options that pushing and being scraped share, with the names of OpenTelemetry's configuration schema."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Annotated

from pydantic import Field

from exporter_core.authoring import NullIsDefault
from exporter_core_prometheus.translation import Strategy, TranslationOptions


class LabelFilter(NullIsDefault):
    """Keys of attributes, by patterns: `?` stands for one character, `*` for any number."""

    included: Annotated[list[str], Field(min_length=1)] | None = None
    """Patterns of the keys that are taken; all without it."""

    excluded: Annotated[list[str], Field(min_length=1)] | None = None
    """Patterns of the keys that are left out, even if they are included."""

    def takes(self, key: str) -> bool:
        """Return True for a key that is included and not excluded."""
        included = self.included is None or _matches(key, self.included)
        return included and not (self.excluded is not None and _matches(key, self.excluded))


class TranslationConfig(NullIsDefault):
    """Options of the translation to Prometheus."""

    translation_strategy: Strategy = "underscore_escaping_with_suffixes"
    """Names of metrics and labels: characters that Prometheus did not always allow escaped to `_` or kept, suffixes
    for units and types added or not."""

    scope_info_enabled: bool = True
    """Put name and version of the instrumentation scope on each series, as `otel_scope_name` and
    `otel_scope_version`."""

    resource_constant_labels: LabelFilter | None = None
    """The resource's attributes that become labels of each series; none without it."""

    def translation_options(self, *, target_info_enabled: bool, job_and_instance: bool) -> TranslationOptions:
        """Return the choices that these options make, with those that each way to send has of its own."""
        labels = self.resource_constant_labels
        return TranslationOptions(
            strategy=self.translation_strategy,
            scope_info_enabled=self.scope_info_enabled,
            target_info_enabled=target_info_enabled,
            is_constant_label=(lambda _: False) if labels is None else labels.takes,
            job_and_instance=job_and_instance,
        )


def _matches(key: str, patterns: list[str]) -> bool:
    # Brackets mean nothing in the schema's patterns.
    return any(re.fullmatch(translate(pattern.replace("[", "[[]")), key) for pattern in patterns)
