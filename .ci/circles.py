"""Find circles of modules: modules that import one another, directly or through others.

usage: circles.py PACKAGE... (default: exporter_core and the packages of all plugins)

Imports for type checking alone do not count; those inside functions do. Ends with 1 and the imports of each circle.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


def main(packages: Sequence[str]) -> int:
    """Print every circle in the packages; return the exit status."""
    found = sorted(map(sorted, circles(imports_of(packages))))
    graph = imports_of(packages) if found else {}
    for circle in found:
        print(f"a circle of {len(circle)} modules; move code until each of them imports only what stands above it:")
        for module in circle:
            print(f"  {module} imports {', '.join(sorted(graph[module].intersection(circle)))}")
    return 1 if found else 0


def imports_of(packages: Sequence[str]) -> dict[str, set[str]]:
    """Return the modules that each module of the packages imports."""
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=True, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Return each largest group of modules in which every module reaches every other one."""
    reached = {module: _reached(module, imports) for module in imports}
    return {
        frozenset(other for other in within if module in reached[other])
        for module, within in reached.items()
        if module in within
    }


def _reached(module: str, imports: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [module]
    while left:
        new = imports[left.pop()] - found
        found |= new
        left += new
    return found


if __name__ == "__main__":
    sys.exit(
        main(sys.argv[1:] or ["exporter_core", *(path.name for path in sorted(ROOT.glob("plugins/*/exporter_core_*")))])
    )
