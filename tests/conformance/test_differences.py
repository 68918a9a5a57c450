"""A point that arrived changed is told by the difference alone."""

from dataclasses import replace

from exporter_core.conformance.observe.tokens import Tokens, compare, plain


def difference(name: str, value: object) -> str:
    (point,) = Tokens("d").batch(1).points
    changed = replace(point, fields={**point.fields, name: plain(value)})
    (line,) = compare([point], [changed]).corrupted
    return line.removeprefix(f"{point.token}: ")


def test_of_attributes_only_the_keys_that_differ_are_told() -> None:
    (point,) = Tokens("d").batch(1).points
    attributes = {key: value[1] if isinstance(value, tuple) else value for key, value in point.fields["attributes"]}
    assert difference("attributes", {**attributes, "text": "other"}) == (
        "attributes['text'] is 'other', was 'naïve ⚙ ☃'"
    )
    assert difference("attributes", {**attributes, "more": 1}) == "attributes['more'] is 1 (int), was absent"
    assert difference("scope_attributes", {}) == "scope_attributes['scope.attribute'] is absent, was 'kept'"


def test_of_a_number_its_type_is_told_too() -> None:
    assert difference("value", 0) == "value is 0 (int), was 0.0 (float)"
    assert difference("name", "other") == "name is 'other', was 'conformance.plain'"
