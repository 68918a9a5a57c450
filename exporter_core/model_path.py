"""Follows the location of a pydantic error through the model's types.

Pydantic puts the labels of union alternatives between the keys; here they are told apart, so that what remains is the
path of keys and positions that a person wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

__all__ = ["Place", "UnionStep", "option_names", "resolve"]

_KEY: Final = "[key]"  # pydantic's mark for an error about a mapping's key instead of its value


@dataclass(frozen=True, slots=True)
class UnionStep:
    """A union on the way: the path that leads to it and the label of the alternative that was taken."""

    path: tuple[str | int, ...]
    branch: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where an error stands: the path a person wrote, the unions passed, the valid keys beside the last one."""

    path: tuple[str | int, ...]
    unions: tuple[UnionStep, ...]
    siblings: tuple[str, ...]
    is_key: bool

    def union_at(self, depth: int) -> tuple[str | int, ...] | None:
        """The path of the union number ``depth`` on the way, None when there are fewer."""
        return self.unions[depth].path if depth < len(self.unions) else None


def resolve(model: type[BaseModel], location: Sequence[str | int]) -> Place:
    """Split an error's location into the path of keys and the alternatives of unions."""
    path: list[str | int] = []
    unions: list[UnionStep] = []
    siblings: tuple[str, ...] = ()
    current: Any = model  # Any: a type expression
    parts = list(location)
    is_key = bool(parts) and parts[-1] == _KEY
    if is_key:
        parts.pop()
    while parts:
        alternatives = _alternatives(current)
        part = parts.pop(0)
        if len(alternatives) > 1:
            unions.append(UnionStep(tuple(path), str(part)))
            current = _branch(alternatives, str(part), parts)
            continue
        current = alternatives[0] if alternatives else None
        siblings = option_names(current) if _is_model(current) else ()
        path.append(part)
        current = _inside(current, part)
    return Place(tuple(path), tuple(unions), siblings, is_key)


def option_names(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys that a model takes, as people write them: aliases where there are any."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if alias is None:
            names.append(name)
        elif isinstance(alias, str):
            names.append(alias)
            if _takes_names(model):
                names.append(name)
        else:
            choices = getattr(alias, "choices", [alias])
            names.extend(choice if isinstance(choice, str) else str(choice.path[0]) for choice in choices)
    return tuple(names)


def _takes_names(model: type[BaseModel]) -> bool:
    config = model.model_config
    return bool(config.get("populate_by_name") or config.get("validate_by_name"))


def _is_model(annotation: object) -> bool:
    from pydantic import BaseModel  # noqa: PLC0415 - importing this module stays light

    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _bare(annotation: Any) -> Any:  # Any: a type expression
    """The type without Annotated and without a named alias around it."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        else:
            return annotation


def _alternatives(annotation: Any) -> list[Any]:  # Any: type expressions
    """The members of a union without None, nested unions laid flat; the type alone when it is no union."""
    annotation_bare = _bare(annotation)
    if get_origin(annotation_bare) not in {Union, UnionType}:
        return [annotation_bare]
    members: list[Any] = []
    for member in get_args(annotation_bare):
        if member is type(None):
            continue
        inner = _alternatives(member)
        members.extend(inner if len(inner) > 1 else [member])
    return members if len(members) > 1 else [_bare(member) for member in members]


def _branch(alternatives: Sequence[Any], label: str, rest: Sequence[str | int]) -> Any:  # Any: type expressions
    """The alternative that a label of pydantic stands for; None when it cannot be told."""
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
    """Every literal value of a model's fields: those that may be the tag of a discriminated union."""
    values: set[str] = set()
    for field in model.model_fields.values():
        annotation = _bare(field.annotation)
        if get_origin(annotation) is Literal:
            values.update(str(value) for value in get_args(annotation))
    return values


def _inside(annotation: Any, part: str | int) -> Any:  # Any: type expressions
    """The type of what stands under one key or position."""
    if _is_model(annotation):
        for name, field in annotation.model_fields.items():
            alias = field.validation_alias
            if part in {name, alias if isinstance(alias, str) else name, *_alias_choices(alias)}:
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


def _alias_choices(alias: object) -> list[str]:
    return [choice for choice in getattr(alias, "choices", ()) if isinstance(choice, str)]
