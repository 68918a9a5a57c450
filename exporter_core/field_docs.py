"""The fields of a pydantic model, for its JSON Schema: the docstrings below them, and defaults that can be written.

The docstrings are read from the source when somebody asks. pydantic's ``use_attribute_docstrings`` reads them whenever
a class is made, which was a tenth of the time from a program's start to its first export.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel


def field_docs(model: type) -> dict[str, str]:
    """Return the docstring of each field that has one where it is defined last; none of a class without source."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if getattr(cls, "model_fields", None):
            found |= _docs_within(cls)
    return {name: text for name, text in found.items() if text}


def build_defaults(model: type[BaseModel]) -> None:
    """Build the models whose values are defaults here: pydantic 2.11 writes none of a model with ``defer_build``."""
    for field in model.model_fields.values():
        default = type(field.default)
        if hasattr(default, "model_rebuild"):
            default.model_rebuild()


def _docs_within(cls: type) -> dict[str, str]:
    """Return the docstring of each field that this class defines, empty for none."""
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, str] = {}
    for statement, after in pairwise([*getattr(definition, "body", ()), ast.Pass()]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            found[statement.target.id] = inspect.cleandoc(text) if isinstance(text, str) else ""
    return found
