"""The folder of the contract's snapshot, program and example plugin."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def here() -> Path:
    """The folder of these tests."""
    return Path(__file__).parent
