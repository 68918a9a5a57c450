"""The frozen shape of the contract: tell what differs from it, or write it for a new major version.

``freeze.py --check [--root FOLDER]`` ends with 1 and one line a difference between the exporter_core in FOLDER (without
it, the installed one) and the snapshot of its version, ``contract-vN.json`` beside this file. Without ``--check`` it
writes that snapshot, which it refuses where one exists that says something else.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
WAY_OUT = (
    "Contract v{0} is frozen: only a new major version may change it, with CONTRACT_VERSION and the groups raised, and "
    "the adapters for v{0} kept. A new ability is an optional extra protocol."
)

# Any: what a snapshot holds is whatever JSON can hold.


def snapshot() -> dict[str, Any]:
    """What plugins rely on: operations, kinds, groups, markers, Context, and the errors marked with the contract."""
    contract = importlib.import_module("exporter_core.contract")
    context = importlib.import_module("exporter_core.context")
    errors = importlib.import_module("exporter_core.errors")
    mark = f"Contract v{contract.CONTRACT_VERSION}."
    manager = pluggy.PluginManager(contract.PROJECT_NAME)
    manager.add_hookspecs(contract.ExporterSpec)
    return {
        "constants": {name: vars(contract)[name] for name in contract.__all__ if name.isupper()},
        "markers": {name: vars(contract)[name].project_name for name in ("hookspec", "hookimpl")},
        "exported": sorted(contract.__all__),
        "instrument kinds": {
            "bases": bases(contract.InstrumentKind),
            "members": {kind.name: kind.value for kind in contract.InstrumentKind},
            "order": [kind.name for kind in contract.InstrumentKind],
        },
        "operations": {
            name: operation(value, getattr(manager.hook, name, None)) for name, value in public(contract.ExporterSpec)
        },
        "wording": {
            "contract.py": wording(contract),
            "ExporterSpec": wording(contract.ExporterSpec),
            "InstrumentKind": wording(contract.InstrumentKind),
        },
        "context": {cls.__name__: shape(cls) for cls in (context.Context, context.DoneHandle)},
        "errors": {
            name: {"bases": bases(value), "constructor": signature(value.__init__)}
            for name, value in public(errors)
            if inspect.isclass(value) and mark in (value.__doc__ or "")
        },
    }


def operation(function: Any, hook: pluggy.HookCaller | None) -> dict[str, Any]:
    """One operation: what a plugin author reads, and what pluggy makes of it."""
    spec = None if hook is None else hook.spec
    return {
        "signature": signature(function),
        "options": None if spec is None else dict(spec.opts),
        "arguments": None if spec is None else list(spec.argnames),
        "wording": wording(function),
    }


def shape(cls: type) -> dict[str, Any]:
    """The bases and public members of a class, without their wording."""
    members = {}
    for name, value in public(cls):
        if isinstance(value, property):
            members[name] = f"{'read-only' if value.fset is None else 'writable'} property {signature(value.fget)}"
        elif isinstance(value, (classmethod, staticmethod)):
            members[name] = f"{type(value).__name__} {signature(value.__func__)}"
        else:
            members[name] = signature(value) if inspect.isfunction(value) else type(value).__name__
    return {"bases": bases(cls), "members": members}


def signature(function: Any) -> str:
    """The signature as it is written, ``async`` included."""
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}{inspect.signature(function)}"


def wording(thing: object) -> str:
    """A short hash of the docstring; its indentation does not count."""
    return hashlib.sha256(inspect.cleandoc(thing.__doc__ or "").encode()).hexdigest()[:16]


def bases(cls: type) -> list[str]:
    """The names of the classes it derives from."""
    return [base.__name__ for base in cls.__bases__]


def public(thing: object) -> Iterator[tuple[str, Any]]:
    """Its own public attributes, in the order of their names."""
    return ((name, value) for name, value in sorted(vars(thing).items()) if not name.startswith("_"))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of a snapshot under the path that leads to it."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path} > {key}" if path else key)
    else:
        yield path, json.dumps(value)


def differences(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One line for everything that is not the same."""
    old, new = dict(flat(was)), dict(flat(now))
    return [
        f"{path}: was {old.get(path, 'not there')}, is {new.get(path, 'gone')}"
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path)
    ]


def main() -> int:
    """Check or write; the exit status."""
    parser = argparse.ArgumentParser(description="Check the contract against its frozen snapshot, or write a new one.")
    parser.add_argument("--check", action="store_true", help="only check")
    parser.add_argument("--root", type=Path, help="the folder with the exporter_core to look at")
    arguments = parser.parse_args()
    if arguments.root is not None:
        sys.path.insert(0, str(arguments.root))

    now = json.loads(json.dumps(snapshot()))
    version = now["constants"]["CONTRACT_VERSION"]
    path = HERE / f"contract-v{version}.json"
    if not path.exists():
        if arguments.check:
            print(f"contract v{version} has no snapshot: make freeze writes {path.name}")  # noqa: T201 - a program
            return 1
        path.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        print(f"contract v{version}: written to {path.name}")  # noqa: T201 - a program
        return 0
    changed = differences(json.loads(path.read_text(encoding="utf-8")), now)
    if changed:
        print(*changed, WAY_OUT.format(version), sep="\n")  # noqa: T201 - a program
        return 1
    print(f"contract v{version}: unchanged")  # noqa: T201 - a program
    return 0


if __name__ == "__main__":
    sys.exit(main())
