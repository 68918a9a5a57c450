"""A subject whose secrets are told before it has them, so that they can be masked in what it writes when it dies."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from exporter_core.conformance.subject import Subject
from exporter_core.masking import secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from exporter_core.exporter import ExporterConfig


@dataclass(frozen=True)
class Telling(Subject):
    """Tells every secret of its options and its harness, each once, in the process that it was made in."""

    tell: Callable[[list[str]], object] = lambda _secrets: None
    told: set[str] = field(default_factory=set)
    process: int = field(default_factory=os.getpid)

    @classmethod
    def of(cls, subject: Subject, tell: Callable[[list[str]], object]) -> Self:
        """The same subject, and what is told of its secrets."""
        one = cls(**vars(subject), tell=tell)
        if subject.harness is not None and subject.harness.secret:
            one._tell([subject.harness.secret])
        return one

    def validated(self, config: Mapping[str, Any]) -> ExporterConfig:  # Any: options
        """The options, whose secrets have been told."""
        options = super().validated(config)
        self._tell(secrets_of(options))
        return options

    def _tell(self, secrets: Iterable[str]) -> None:
        new = set(secrets) - self.told
        if new and os.getpid() == self.process:
            self.told.update(new)
            self.tell(sorted(new))
