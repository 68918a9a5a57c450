"""Deliberately wrong exporters: the reference exporters, each with one fault that one clause is there to find."""

from kit.mutant import MUTANTS as MUTANTS
from kit.mutants import (  # noqa: F401 - they list themselves
    amounts,
    answers,
    branches,
    data,
    deadlines,
    depth,
    endings,
    held,
    interface,
    lives,
    racing,
    replies,
    shutdown,
    traces,
)
