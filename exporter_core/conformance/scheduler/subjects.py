"""The code that may be interrupted: the subject, as modules, packages, classes, functions, or a predicate on code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TypeAlias

from exporter_core.conformance.scheduler.threads import is_machinery

CodePredicate: TypeAlias = Callable[[CodeType], bool]


class Predicate:
    """Wraps a function that says of a code object whether it belongs to the subject.

    A bare function would be taken for a subject itself.
    """

    def __init__(self, function: CodePredicate) -> None:
        self.function = function


Subject: TypeAlias = ModuleType | type | FunctionType | MethodType | str | Predicate


class Interruptible:
    """Tells if a code object belongs to any of the subjects; remembers its answers."""

    def __init__(self, subjects: tuple[Subject, ...]) -> None:
        if not subjects:
            raise TypeError("a schedule needs a subject: a module, its name, a class, a function, or a Predicate")
        self.modules: list[ModuleType] = []
        self._files: set[str] = set()
        self._folders: list[str] = []
        self._codes: set[CodeType] = set()
        self._predicates: list[CodePredicate] = []
        self._answers: dict[int, tuple[CodeType, bool]] = {}  # by id, with the code: hashing one is slow
        for subject in subjects:
            self._add(subject)

    def __call__(self, code: CodeType) -> bool:
        """True if it does."""
        known = self._answers.get(id(code))
        if known is None:
            known = self._answers[id(code)] = code, self._find(code)
        return known[1]

    def _find(self, code: CodeType) -> bool:
        filename = code.co_filename
        if is_machinery(filename):
            return False
        return (
            filename in self._files
            or code in self._codes
            or any(filename.startswith(folder) for folder in self._folders)
            or any(predicate(code) for predicate in self._predicates)
        )

    def _add(self, subject: Subject) -> None:
        if isinstance(subject, str):
            try:
                subject = sys.modules[subject]
            except KeyError:
                raise TypeError(f"the subject {subject!r} is not an imported module") from None
        if isinstance(subject, Predicate):
            self._predicates.append(subject.function)
        elif isinstance(subject, ModuleType):
            self._add_module(subject)
        elif isinstance(subject, type | FunctionType | MethodType):
            self._codes.update(_codes_of(subject))
            module = sys.modules.get(subject.__module__)
            if module is not None:
                self.modules.append(module)
        else:
            raise TypeError(
                f"a subject is a module, its name, a class, a function or a Predicate, not {type(subject).__name__}"
            )

    def _add_module(self, module: ModuleType) -> None:
        filename = getattr(module, "__file__", None)
        if filename is None:
            raise TypeError(f"the subject {module.__name__!r} has no source file")
        if hasattr(module, "__path__"):
            self._folders.append(f"{Path(filename).parent}/")
            prefix = f"{module.__name__}."
            self.modules += [found for name, found in sys.modules.copy().items() if name.startswith(prefix)]
        self._files.add(filename)
        self.modules.append(module)


def _codes_of(subject: type | FunctionType | MethodType) -> Iterator[CodeType]:
    if isinstance(subject, MethodType):
        subject = subject.__func__  # type: ignore[assignment]  # a bound method's function, or another callable
    if isinstance(subject, FunctionType):
        yield from _nested(inspect.unwrap(subject).__code__)
        return
    for member in vars(subject).values():
        function = getattr(member, "__func__", member)  # of a classmethod or staticmethod
        if isinstance(member, property):
            yield from (code for part in (member.fget, member.fset, member.fdel) if part for code in _codes_of(part))  # type: ignore[arg-type]  # plain functions
        elif isinstance(function, FunctionType) or (
            isinstance(function, type) and function.__qualname__.startswith(f"{subject.__qualname__}.")
        ):
            yield from _codes_of(function)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
