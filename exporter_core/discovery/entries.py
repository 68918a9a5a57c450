"""Entry points of installed distributions, compared without importing anything.

The words here are those of packaging: distribution, version, entry point, group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

EXPORTER_PREFIX = "exporter_core.exporters.v"
PULL_PREFIX = "exporter_core.pull_exporters.v"
OBSERVER_PREFIX = "exporter_core.observers.v"
SUPPORTED_CONTRACT = 1
# These repeat exporter_core.contract, which imports pluggy, and exporter_core.pull; a test holds them equal.

INDEXED_PREFIX = "exporter_core."
"""The start of the names of exporter-core's own groups, whose entry points are all read."""

SDK_GROUP = "opentelemetry_metrics_exporter"
"""The group in which distributions register exporters of the OpenTelemetry SDK; its entry points are read too."""

SDK_PULL_GROUP = "opentelemetry_pull_metric_exporter"
"""The group in which distributions register pull exporters of the OpenTelemetry SDK, which are metric readers."""


def is_indexed(group: str) -> bool:
    """Return True if the entry points of this group are read at all."""
    return group.startswith(INDEXED_PREFIX) or group in (SDK_GROUP, SDK_PULL_GROUP)


def is_exporter_group(group: str) -> bool:
    """Return True for a group of exporters: of a version of the contract, or of the OpenTelemetry SDK."""
    return group.startswith(EXPORTER_PREFIX) or group == SDK_GROUP


def is_pull_group(group: str) -> bool:
    """Return True for a group of pull exporters: of exporter-core, or of the OpenTelemetry SDK."""
    return group.startswith(PULL_PREFIX) or group == SDK_PULL_GROUP


def is_observer_group(group: str) -> bool:
    """Return True for a group of observers."""
    return group.startswith(OBSERVER_PREFIX)


class PluginEntry(NamedTuple):
    """One entry point as its distribution declares it. Nothing was imported to make it."""

    name: str
    """The entry point's name, such as ``"sqlite"``."""
    value: str
    """The object it refers to, ``"module:attribute"`` with whatever extras follow, as written."""
    group: str
    """The entry-point group, such as ``"exporter_core.exporters.v1"``."""
    distribution: str
    """The distribution's name as its METADATA spells it, else as its metadata directory does."""
    version: str
    """The distribution's version; empty if it has none."""
    location: str
    """The metadata directory; for a distribution without one, a text that says where it comes from."""

    @property
    def contract_version(self) -> int | None:
        """The major version of the contract that the group names; None if the text after the ``v`` is no version."""
        digits = self.group.rpartition(".v")[2]
        if digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0") and len(digits) < 10:  # noqa: PLR2004 - more digits are no version, and int() limits its input
            return int(digits)
        return None

    @property
    def of_sdk(self) -> bool:
        """True for an exporter of the OpenTelemetry SDK, which knows nothing of the contract; see the bridge."""
        return self.group in (SDK_GROUP, SDK_PULL_GROUP)

    @property
    def pull(self) -> bool:
        """True for a pull exporter, which a reader of the kind ``pull`` names."""
        return is_pull_group(self.group)

    @property
    def supported(self) -> bool:
        """True if it can be used: an exporter of the SDK, or of a contract version that this core knows."""
        return self.of_sdk or self.contract_version == SUPPORTED_CONTRACT

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which selects this entry whatever else is installed."""
        return f"{self.distribution}:{self.name}"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"PluginEntry is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"PluginEntry is immutable: cannot delete {name!r}")


def normalize(name: str) -> str:
    """Return the distribution name as PEP 503 compares it: lower case, runs of ``-``, ``_`` and ``.`` as one ``-``."""
    plain = name.lower().replace("_", "-").replace(".", "-")
    while "--" in plain:
        plain = plain.replace("--", "-")
    return plain


def conflicts(entries: Iterable[PluginEntry]) -> dict[str, tuple[PluginEntry, ...]]:
    """Return the names that more than one supported entry of a kind gives, with those entries.

    A repeated identical line counts once. Shadowed entries have no part in a conflict.
    """
    entries = list(entries)
    hidden = shadowed(entries)
    of_name: dict[tuple[str, bool], dict[tuple[str, str], PluginEntry]] = {}
    for entry in entries:
        if entry.supported and entry not in hidden:
            same = of_name.setdefault((entry.name, entry.pull), {})
            same.setdefault((normalize(entry.distribution), entry.value), entry)
    return {name: tuple(found.values()) for (name, _), found in of_name.items() if len(found) > 1}


def outbound(entries: Iterable[PluginEntry]) -> frozenset[PluginEntry]:
    """Return the SDK's entries by which a distribution gives its own exporters of the contract to the SDK's reader.

    They have the exporter's name, or ``exporter_core_NAME`` where the SDK takes that name itself.
    """
    entries = list(entries)
    ours = {(entry.location, entry.name) for entry in entries if entry.group.startswith(EXPORTER_PREFIX)}
    return frozenset(
        entry
        for entry in entries
        if entry.of_sdk
        and not ours.isdisjoint((entry.location, entry.name.removeprefix(prefix)) for prefix in ("", "exporter_core_"))
    )


def shadowed(entries: Iterable[PluginEntry]) -> dict[PluginEntry, PluginEntry]:
    """Return the SDK's exporters whose name another entry gives under the contract, each with that entry.

    A plain name means the exporter of the contract: every installation has the SDK's own ``console``.
    """
    entries = list(entries)
    ours = {(entry.name, entry.pull): entry for entry in reversed(entries) if not entry.of_sdk}
    of_sdk = [entry for entry in entries if entry.of_sdk and (entry.name, entry.pull) in ours]
    return {entry: ours[entry.name, entry.pull] for entry in of_sdk}
