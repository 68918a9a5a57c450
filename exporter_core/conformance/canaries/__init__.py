"""Wrappers that break one promise each, on the user's own exporter: a clause that they survive proved nothing there."""

from __future__ import annotations

from exporter_core.conformance.canaries.base import Canary as Canary

__all__ = ["Canary"]
