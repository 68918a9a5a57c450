"""Pluggy's part: holding the contract's specification and making the calls.

One plugin manager per exporter, holding that exporter alone: with several in one, every implementation would be called
and a batch sent more than once. Methods need no decorator: one that has an operation's name implements it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

from exporter_core.contract import OPERATIONS, PROJECT_NAME, ExporterSpec
from exporter_core.errors import ContractError

if TYPE_CHECKING:
    from types import ModuleType

    from pluggy import HookimplOpts, HookRelay, HookspecOpts


class _OneExporter(pluggy.PluginManager):
    def parse_hookspec_opts(self, module_or_class: ModuleType | type, name: str) -> HookspecOpts | None:
        """Look at the operations alone: there is nothing else in the specification, and each look is slow."""
        return super().parse_hookspec_opts(module_or_class, name) if name in OPERATIONS else None

    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:
        """Take every method with an operation's name, decorated or not; the verifier has looked at them."""
        if name not in OPERATIONS:
            return None
        return super().parse_hookimpl_opts(plugin, name) or {
            "wrapper": False,
            "hookwrapper": False,
            "optionalhook": False,
            "tryfirst": False,
            "trylast": False,
            "specname": None,
        }


def bind(exporter: object) -> HookRelay:
    """Return the hooks of a plugin manager that holds this exporter alone. The exporter's class has been verified.

    Raises:
        ContractError: pluggy does not see an operation (an unusual ``__dir__``): calls of it would silently do nothing.
    """
    manager = _OneExporter(PROJECT_NAME)
    manager.add_hookspecs(ExporterSpec)
    manager.register(exporter)
    for name in OPERATIONS:
        if not getattr(manager.hook, name).get_hookimpls():
            exporter_class = type(exporter)
            raise ContractError(
                f"{exporter_class.__module__}.{exporter_class.__qualname__} hides its operation {name!r}: "
                "dir() of an instance has to have it"
            )
    return manager.hook
