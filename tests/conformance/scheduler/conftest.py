"""The zoo of races, for the tests that go through it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def _load_races():
    specification = importlib.util.spec_from_file_location("scheduler_races", Path(__file__).with_name("races.py"))
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


_races = _load_races()


@pytest.fixture
def races():
    return _races


def pytest_generate_tests(metafunc):
    if "race" in metafunc.fixturenames:
        metafunc.parametrize("race", _races.RACES, ids=lambda race: race.name.replace(" ", "-"))
