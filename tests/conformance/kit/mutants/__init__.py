"""Deliberately wrong exporters: the reference exporters, each with one fault that one clause is there to find."""

from kit.mutant import MUTANTS as MUTANTS
from kit.mutants import amounts, answers, branches, data, deadlines, depth, interface, lives, racing, shutdown  # noqa: F401 - they list themselves
