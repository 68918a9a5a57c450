"""Escaping of text from plugins, files and the network for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return the text with characters that a terminal would act on, or could not show, written as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
