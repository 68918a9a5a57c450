"""Names that are included or excluded by patterns, as the configuration schema has them in several places."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_REMEMBERED: Final = 1024  # names whose answer is kept; a filter may be asked at every measurement
_WILDCARDS: Final = {"*": ".*", "?": "."}


class NameFilter:
    """The names that patterns include and do not exclude, as a container that is asked ``name in it``.

    In a pattern ``*`` stands for any characters and ``?`` for any one; everything else, and upper and lower case,
    stands for itself.

    Args:
        included: the patterns of the names to keep; empty keeps all.
        excluded: the patterns of the names to leave out, even if ``included`` has them.
    """

    def __init__(self, included: Iterable[str] = (), excluded: Iterable[str] = ()) -> None:
        keep, leave = _any_of(included or ("*",)), _any_of(excluded)
        self._keeps = lru_cache(_REMEMBERED)(lambda name: bool(keep.fullmatch(name) and not leave.fullmatch(name)))

    def __contains__(self, name: str) -> bool:
        return self._keeps(name)


def has_wildcard(pattern: str) -> bool:
    """Return True if the pattern stands for more than one name."""
    return "*" in pattern or "?" in pattern


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return an expression that matches what any of the patterns does; nothing if there are none."""
    expressions = ("".join(_WILDCARDS.get(sign) or re.escape(sign) for sign in pattern) for pattern in patterns)
    return re.compile("|".join(expressions) or "(?!)", re.DOTALL)
