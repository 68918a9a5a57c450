"""Names of metrics, labels and units, by each of the four translation strategies.

Source: "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification, in the reading of Prometheus' own
translator (https://github.com/prometheus/otlptranslator).
"""

from __future__ import annotations

import re
from typing import Final, Literal

from exporter_core_prometheus.translation.model import Kind, TranslationError

Strategy = Literal[
    "underscore_escaping_with_suffixes",
    "underscore_escaping_without_suffixes/development",
    "no_utf8_escaping_with_suffixes/development",
    "no_translation/development",
]
"""Names of the translation strategies, as OpenTelemetry's configuration schema has them."""

_UNITS: Final = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "1": "",
    "%": "percent",
}
_PER_UNITS: Final = {
    "s": "second",
    "m": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}
_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_A_PLAIN_NAME: Final = re.compile(r"[^a-zA-Z0-9:_]+")
_NOT_IN_A_LABEL: Final = re.compile(r"[^a-zA-Z0-9]+")
_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
_ONLY_UNDERSCORES: Final = re.compile(r"_*")


class Namer:
    """Translates names by one strategy.

    Args:
        strategy: one of the four.
    """

    def __init__(self, strategy: Strategy) -> None:
        self.escapes: bool = strategy.startswith("underscore_escaping")
        self.adds_suffixes: bool = "with_suffixes" in strategy
        self._labels: dict[str, str] = {}

    def metric(self, name: str, unit: str, kind: Kind) -> str:
        """Return the name of a metric with the suffixes of its unit and its kind.

        Raises:
            TranslationError: nothing of the name is left.
        """
        if not self.escapes:
            translated = self._suffixed(name, unit, kind) if self.adds_suffixes else name
        elif self.adds_suffixes:
            translated = _tokenized(name, unit, kind)
        else:
            # Not joined to one underscore: those of the name itself are kept.
            translated = "_".join(filter(None, _NOT_IN_A_PLAIN_NAME.split(name)))
        if self.escapes and translated[:1].isdigit():
            translated = f"_{translated}"
        if not translated or (translated != name and _ONLY_UNDERSCORES.fullmatch(translated)):
            raise TranslationError("no character of its name is allowed in a Prometheus name")
        return translated

    def unit(self, unit: str) -> str:
        """Return the unit in words, such as `bytes_per_second`; empty for none."""
        main, per = _unit_words(unit)
        if self.escapes:
            main, per = _clean(main), _clean(per)
        return "_".join(filter(None, (main, per))).strip("_")

    def label(self, name: str) -> str:
        """Return the name of the label for an attribute; `_` if it has no character that a label may have."""
        label = self._labels.get(name)
        if label is None:
            label = self._made_label(name) or "_"
            if len(self._labels) >= _KEPT_LABELS:
                self._labels.clear()
            self._labels[name] = label
        return label

    def _made_label(self, name: str) -> str:
        if not self.escapes:
            return name
        label = _NOT_IN_A_LABEL.sub("_", name)
        if label != "_" and _RESERVED.fullmatch(name):
            label = f"_{label}_"
        return f"key_{label}" if label[:1].isdigit() else label

    @staticmethod
    def _suffixed(name: str, unit: str, kind: Kind) -> str:
        """Return a name of any characters with its suffixes, none twice."""
        main, per = _unit_words(unit)
        suffixes = [per] if per else []
        if kind is Kind.COUNTER:
            suffixes.append("total")
        if unit == "1" and kind is Kind.GAUGE:
            suffixes.append("ratio")
        for suffix in reversed(suffixes):
            if name.endswith(suffix) and len(name) > len(suffix) + 1:
                name = name[: -len(suffix) - 1]
        if main and not name.endswith(main):
            name = f"{name}_{main}"
        return "_".join((name, *suffixes))


_KEPT_LABELS: Final = 4096


def _tokenized(name: str, unit: str, kind: Kind) -> str:
    """Return a name of allowed characters with its suffixes, none twice."""
    tokens = [token for token in _NOT_IN_A_NAME.split(name) if token]
    main, per = map(_clean, _unit_words(unit))
    per = "" if per == "per_" else per.removesuffix("_")
    if per in tokens:
        per = ""
    if main in tokens:
        main = ""
    if per:
        main = main.removesuffix("_")
    tokens += filter(None, (main, per))
    suffix = "total" if kind is Kind.COUNTER else "ratio" if unit == "1" and kind is Kind.GAUGE else ""
    if suffix:
        tokens = [*(token for token in tokens if token != suffix), suffix]
    return "_".join(tokens)


def _unit_words(unit: str) -> tuple[str, str]:
    """Return a UCUM unit as words and as `per_` words; what stands in braces is a comment and left out."""
    main, _, per = (part.strip() for part in (unit or "").partition("/"))
    main = "" if {"{", "}"} & set(main) else _UNITS.get(main, main)
    per = "" if {"{", "}"} & set(per) else _PER_UNITS.get(per, per)
    return main, f"per_{per}" if per else ""


def _clean(unit: str) -> str:
    return _NOT_IN_A_NAME.sub("_", unit).removeprefix("_")
