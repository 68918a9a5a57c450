"""One registry of what begins anew in a forked child.

What the parent's threads held at the moment of the fork (a lock, half an event loop, a connection shared with the
parent) cannot be used in the child. Nor may it be finalised there: closing an inherited connection would say goodbye on
the parent's behalf. So the owner of such things registers here, makes new ones in the child, and keeps the inherited
ones untouched until the child ends. Things are told in the order in which they were registered, so what a thing is
built on begins anew before it does.
"""

from __future__ import annotations

import itertools
import logging
import os
import sys
import weakref
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from exporter_core.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)


class RenewedAfterFork(Protocol):
    """Something that begins anew in a forked child."""

    def _renew_after_fork(self) -> None:
        """Make anew what cannot be used in the child. Called there with no other thread alive; it must not block."""


process = object()
"""Another object in each process: code that calls what may fork compares it before and after."""

_UWSGI_HOOKS: Final = ("spooler", "mule_msg_hook", "post_fork_hook")

_pid = os.getpid()
_numbers = itertools.count()
_things: weakref.WeakValueDictionary[int, RenewedAfterFork] = weakref.WeakValueDictionary()
_functions: dict[int, Callable[[], object]] = {}
_inherited: list[object] = []


def renew_after_fork(thing: RenewedAfterFork) -> None:
    """Call ``thing._renew_after_fork()`` in every child that is forked while the thing lives."""
    _things[next(_numbers)] = thing


def call_after_fork(function: Callable[[], object]) -> None:
    """Call a module's function in every forked child."""
    _functions[next(_numbers)] = function


def keep_untouched(*inherited: object) -> None:
    """Keep what belongs to the parent from being finalised in this child."""
    _inherited.extend(inherited)


def notice() -> None:
    """Begin anew if this process was forked in C, without the hooks of ``os.register_at_fork``, as uWSGI does.

    It costs one look at the process id; code that may be the first to run in such a child calls it.
    """
    if os.getpid() != _pid:
        _in_child()


def _in_child() -> None:
    global process, _pid
    process, _pid = object(), os.getpid()
    renewals: dict[int, Callable[[], object]] = dict(_functions)
    for reference in _things.valuerefs():
        thing = reference()
        if thing is not None:
            renewals[reference.key] = thing._renew_after_fork
    for _, renew in sorted(renewals.items()):
        try:
            renew()
        except BaseException as error:  # noqa: BLE001 - the others have to begin anew all the same
            log(_logger, logging.ERROR, "could not begin anew in a forked child: %s", type(error).__qualname__)


def _watch_uwsgi() -> None:
    """Have uWSGI tell of the forks that it makes in C; its module exists in processes that it has started alone.

    Its decorators set the same hooks when they are imported, which must not come later. What the application has set
    before stays.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is None:
        return
    own = {name: getattr(uwsgi, name) for name in _UWSGI_HOOKS if hasattr(uwsgi, name)}
    with suppress(Exception):  # without a master process there are none
        import_module("uwsgidecorators")
    hooks = dict.fromkeys((own.get("post_fork_hook"), getattr(uwsgi, "post_fork_hook", None)))

    def after_fork() -> None:
        notice()
        for hook in filter(None, hooks):
            hook()

    for name, hook in {**own, "post_fork_hook": after_fork}.items():
        setattr(uwsgi, name, hook)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
_watch_uwsgi()
