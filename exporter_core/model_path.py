"""Resolution of a pydantic error's location through the model's types.

Pydantic puts the labels of union alternatives between the keys. Without them, the path of keys and positions remains
that a person wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

_KEY: Final = "[key]"  # pydantic's mark for an error about a mapping's key instead of its value


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an error: the path that a person wrote, and its surroundings."""

    path: tuple[str | int, ...]
    unions: tuple[tuple[tuple[str | int, ...], str], ...]
    """The unions on the way: the path that leads to each, and the label of the alternative that was taken."""
    siblings: tuple[str, ...]
    """The valid keys beside the last one."""
    is_key: bool
    """True for an error about a mapping's key instead of its value."""

    def union_at(self, depth: int) -> tuple[str | int, ...] | None:
        """Return the path of the union number ``depth`` on the way, None when there are fewer."""
        return self.unions[depth][0] if depth < len(self.unions) else None


def resolve(model: type[BaseModel], location: Sequence[str | int]) -> Place:
    """Split an error's location into the path of keys and the alternatives of unions."""
    path: list[str | int] = []
    unions: list[tuple[tuple[str | int, ...], str]] = []
    siblings: tuple[str, ...] = ()
    current: Any = model  # Any: a type expression
    is_key = bool(location) and location[-1] == _KEY
    parts = list(location[:-1] if is_key else location)
    while parts:
        alternatives = _alternatives(current)
        part = parts.pop(0)
        if len(alternatives) > 1:
            unions.append((tuple(path), str(part)))
            current = _branch(alternatives, str(part), parts)
            continue
        current = alternatives[0] if alternatives else None
        siblings = option_names(current) if _is_model(current) else ()
        path.append(part)
        current = _inside(current, part)
    return Place(tuple(path), tuple(unions), siblings, is_key)


def option_names(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys that a model takes, as people write them: aliases where there are any."""
    return tuple(key for name, field in model.model_fields.items() for key in _keys(model, name, field))


def _keys(model: type[BaseModel], name: str, field: FieldInfo) -> list[str]:
    """Return the keys of one field."""
    alias = field.validation_alias
    if alias is None:
        return [name]
    if isinstance(alias, str):
        by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
        return [alias, name] if by_name else [alias]
    choices = getattr(alias, "choices", [alias])
    return [choice if isinstance(choice, str) else str(choice.path[0]) for choice in choices]


def _is_model(annotation: object) -> bool:
    from pydantic import BaseModel  # noqa: PLC0415 - importing this module stays light

    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bare(annotation: Any) -> Any:  # Any: a type expression
    """Return the type without Annotated and without a named alias around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def _alternatives(annotation: Any) -> list[Any]:  # Any: type expressions
    """Return the members of a union without None, nested unions laid flat; the type alone when it is no union."""
    union = _bare(annotation)
    if get_origin(union) not in {Union, UnionType}:
        return [union]
    members: list[Any] = []
    for member in get_args(union):
        if member is not type(None):
            inner = _alternatives(member)
            members.extend(inner if len(inner) > 1 else [member])
    return members if len(members) > 1 else [_bare(member) for member in members]


def _branch(alternatives: Sequence[Any], label: str, rest: Sequence[str | int]) -> Any:  # Any: type expressions
    """Return the alternative that a label of pydantic stands for; None when it cannot be told."""
    for member in alternatives:
        bare = _bare(member)
        tags = [getattr(extra, "tag", None) for extra in getattr(member, "__metadata__", ())]
        if label in tags or label == getattr(bare, "__name__", None):
            return bare
    for member in alternatives:
        bare = _bare(member)
        if _is_model(bare) and label in _literals(bare):
            return bare
    wanted = list if rest and isinstance(rest[0], int) else dict
    return next((_bare(member) for member in alternatives if get_origin(_bare(member)) is wanted), None)


def _literals(model: type[BaseModel]) -> set[str]:
    """Return every literal value of a model's fields: those that may be the tag of a discriminated union."""
    annotations = [_bare(field.annotation) for field in model.model_fields.values()]
    literals = [annotation for annotation in annotations if get_origin(annotation) is Literal]
    return {str(value) for literal in literals for value in get_args(literal)}


def _inside(annotation: Any, part: str | int) -> Any:  # Any: type expressions
    """Return the type of the value under one key or position."""
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            if part in {name, *_keys(annotation, name, field)}:
                return field.annotation
        return None
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if not arguments or not isinstance(origin, type):
        return None
    if issubclass(origin, Mapping):
        return arguments[-1]
    if origin is tuple and isinstance(part, int) and arguments[-1] is not Ellipsis:
        return arguments[part] if part < len(arguments) else None
    return arguments[0]
