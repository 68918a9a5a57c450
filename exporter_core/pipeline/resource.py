"""The resource of one process: that of the config, with a ``service.instance.id`` of the process's own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from exporter_core.config import sdk_resource
from exporter_core.forking import renew_after_fork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter_core.config import ResourceSettings

_INSTANCE_ID = "service.instance.id"


class ProcessResource:
    """Gives the resource of this process when it is called.

    The ``service.instance.id`` of the file's attributes, or of ``OTEL_RESOURCE_ATTRIBUTES``, is the same in forked
    children; without one, each process has a random one, so that the workers of a service have series of their own.

    Args:
        settings: the config's resource.
        environ: the environment.

    Raises:
        SetupError: a resource detector failed.
    """

    def __init__(self, settings: ResourceSettings, environ: Mapping[str, str]) -> None:
        self._resource = sdk_resource(settings, environ)
        given = settings.attributes.get(_INSTANCE_ID)
        self._given = OTELResourceDetector().detect().attributes.get(_INSTANCE_ID) if given is None else given
        self._renew_after_fork()
        renew_after_fork(self)

    def __call__(self) -> Resource:
        """Return the resource; the same object until the process forks."""
        return self._of_process

    def _renew_after_fork(self) -> None:
        instance = str(uuid4()) if self._given is None else self._given
        self._of_process = self._resource.merge(Resource({_INSTANCE_ID: instance}))
