"""Docstrings say what a thing is or does, verb or noun first; none opens with a question word."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FROZEN = ROOT / "exporter_core" / "contract.py"  # its words are those of contract v1
MODULES = sorted({*ROOT.glob("exporter_core/**/*.py"), *ROOT.glob("plugins/*/exporter_core_*/**/*.py")} - {FROZEN})
OPENING = re.compile(r"\s*(Whether|That|What|As|Who|Whom|Whose|How|Which|When|Where|Why)\b")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of the docstrings of the module, its classes, functions and attributes."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield statement.lineno, text


def found_in(source: str) -> list[str]:
    return [f"{line}: {text.strip().splitlines()[0]}" for line, text in docstrings(source) if OPENING.match(text)]


@pytest.mark.parametrize("module", MODULES, ids=[str(module.relative_to(ROOT)) for module in MODULES])
def test_no_docstring_opens_with_a_question_word(module):
    assert found_in(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""What this is for."""',
        'class A:\n    """Who calls whom."""',
        'class A:\n    b: int\n    """How many."""',
        'LIMIT = 1\n"""Where it ends."""',
        'def f():\n    """\n    Whether it is so.\n    """',
        'async def f():\n    """When it ends."""',
        'if True:\n    def f():\n        """That it is."""',
    ],
)
def test_each_kind_of_docstring_is_looked_at(source):
    assert len(found_in(source)) == 1


@pytest.mark.parametrize("text", ["Return True if it is so.", "Asynchronous calls.", "Whatever a plugin raises.", ""])
def test_other_words_pass(text):
    assert found_in(f'"""{text}"""') == []
