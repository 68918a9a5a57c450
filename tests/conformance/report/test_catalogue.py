"""docs/clauses.md is what the clauses say of themselves."""

from __future__ import annotations

import re
from pathlib import Path

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.readers import reader_clauses
from kit.catalogue import catalogue

PAGE = Path(__file__).parents[3] / "docs" / "clauses.md"


def test_the_page_is_the_one_that_is_generated() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue(), "make clauses writes it anew"


def test_every_clause_stands_there_with_its_words_and_every_link_has_a_place() -> None:
    page = catalogue()
    headings = {one.lower() for one in re.findall(r"^### (\S+)$", page, re.MULTILINE)}
    every = [*clauses(), *reader_clauses()]
    assert headings == {one.id.lower() for one in every}
    assert set(re.findall(r"\]\(#(\S+?)\)", page)) == headings
    for one in every:
        assert f"> {one.words}\n" in page
