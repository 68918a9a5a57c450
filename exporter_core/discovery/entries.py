"""One entry point of one installed distribution, and what can be said of it without importing anything.

The words here are those of packaging: distribution, version, entry point, group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

EXPORTER_PREFIX = "exporter_core.exporters.v"
OBSERVER_PREFIX = "exporter_core.observers.v"
SUPPORTED_CONTRACT = 1
# These repeat exporter_core.contract, which imports pluggy; a test holds the two equal.

INDEXED_PREFIX = "exporter_core."
"""What the groups of exporter-core start with, whose entry points are all read."""

SDK_GROUP = "opentelemetry_metrics_exporter"
"""The group in which distributions register exporters of the OpenTelemetry SDK; its entry points are read too."""


def is_indexed(group: str) -> bool:
    """Whether the entry points of this group are read at all."""
    return group.startswith(INDEXED_PREFIX) or group == SDK_GROUP


def is_exporter_group(group: str) -> bool:
    """Whether the group is one of exporters: of a version of the contract, or of the OpenTelemetry SDK."""
    return group.startswith(EXPORTER_PREFIX) or group == SDK_GROUP


def is_observer_group(group: str) -> bool:
    """Whether the group is one of observers."""
    return group.startswith(OBSERVER_PREFIX)


class PluginEntry:
    """One entry point as its distribution declares it. Immutable, hashable; nothing was imported to make it.

    Args:
        name: the entry point's name, such as ``"sqlite"``.
        value: what it refers to, ``"module:attribute"`` with whatever extras follow, as written.
        group: the entry-point group, such as ``"exporter_core.exporters.v1"``.
        distribution: the distribution's name as its METADATA spells it, else as its metadata directory does.
        version: the distribution's version; empty if it has none.
        location: the metadata directory, or a text that says where it comes from for what has no directory.
    """

    __slots__ = ("distribution", "group", "location", "name", "value", "version")

    name: str
    value: str
    group: str
    distribution: str
    version: str
    location: str

    def __init__(  # noqa: PLR0917 - the six fields, in the order in which fields() gives them back
        self, name: str, value: str, group: str, distribution: str, version: str, location: str
    ) -> None:
        put = object.__setattr__
        put(self, "name", name)
        put(self, "value", value)
        put(self, "group", group)
        put(self, "distribution", distribution)
        put(self, "version", version)
        put(self, "location", location)

    @property
    def contract_version(self) -> int | None:
        """The major version of the contract that the group names; None if what follows the ``v`` is no version."""
        digits = self.group.rpartition(".v")[2]
        if digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0") and len(digits) < 10:  # noqa: PLR2004 - more digits are no version, and int() limits its input
            return int(digits)
        return None

    @property
    def of_sdk(self) -> bool:
        """Whether it is an exporter of the OpenTelemetry SDK, which knows nothing of the contract; see the bridge."""
        return self.group == SDK_GROUP

    @property
    def supported(self) -> bool:
        """Whether it can be used: the SDK's exporters can, the others if this core knows their contract version."""
        return self.of_sdk or self.contract_version == SUPPORTED_CONTRACT

    @property
    def qualified_name(self) -> str:
        """``distribution:name``, which selects this entry whatever else is installed."""
        return f"{self.distribution}:{self.name}"

    def fields(self) -> tuple[str, str, str, str, str, str]:
        """The six fields in the order of the constructor."""
        return self.name, self.value, self.group, self.distribution, self.version, self.location

    def __eq__(self, other: object) -> bool:
        return self.fields() == other.fields() if isinstance(other, PluginEntry) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fields())

    def __repr__(self) -> str:
        name, value, group, distribution, version, location = self.fields()
        return (
            f"PluginEntry(name={name!r}, value={value!r}, group={group!r}, "
            f"distribution={distribution!r}, version={version!r}, location={location!r})"
        )

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"PluginEntry is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"PluginEntry is immutable: cannot delete {name!r}")

    def __reduce__(self) -> tuple[type[PluginEntry], tuple[str, ...]]:
        return PluginEntry, self.fields()


def normalize(name: str) -> str:
    """The distribution name as PEP 503 compares it: lower case, runs of ``-``, ``_`` and ``.`` as one ``-``."""
    plain = name.lower().replace("_", "-").replace(".", "-")
    while "--" in plain:
        plain = plain.replace("--", "-")
    return plain


def conflicts(entries: Iterable[PluginEntry]) -> dict[str, tuple[PluginEntry, ...]]:
    """The names that more than one supported entry gives, with those entries; a repeated identical line counts once.

    Shadowed entries have no part in one.
    """
    of_name: dict[str, dict[tuple[str, str], PluginEntry]] = {}
    entries = list(entries)
    hidden = shadowed(entries)
    for entry in entries:
        if entry.supported and entry not in hidden:
            of_name.setdefault(entry.name, {}).setdefault((normalize(entry.distribution), entry.value), entry)
    return {name: tuple(found.values()) for name, found in of_name.items() if len(found) > 1}


def shadowed(entries: Iterable[PluginEntry]) -> dict[PluginEntry, PluginEntry]:
    """The SDK's exporters whose name another entry gives under the contract, each with that entry.

    A plain name means the exporter of the contract: every installation has the SDK's own ``console``.
    """
    entries = list(entries)
    ours = {entry.name: entry for entry in reversed(entries) if not entry.of_sdk}
    return {entry: ours[entry.name] for entry in entries if entry.of_sdk and entry.name in ours}
