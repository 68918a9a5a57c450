"""Check with pyright that the types of every public name are complete; print the incomplete ones and end with 1.

Public are the names in ``exporter_core.__all__``, with all public members, and ``exporter_core.testing``.
"""

from __future__ import annotations

import json
import subprocess
import sys

import exporter_core


def is_public(symbol: str, public: set[str]) -> bool:
    """Return True for a public name, or a public part of one."""
    parts = symbol.split(".")
    prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return bool(prefixes & public) and not any(part[0] == "_" and part != "__init__" for part in parts)


def main() -> int:
    """Run pyright from PATH; return the exit status."""
    done = subprocess.run(
        ["pyright", "--outputjson", "--ignoreexternal", "--verifytypes", "exporter_core"],  # noqa: S607 - from PATH
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)["typeCompleteness"]
    except (ValueError, KeyError):
        print(done.stdout + done.stderr)
        return 1
    public = {"exporter_core.testing"}
    for name in exporter_core.__all__:
        value = getattr(exporter_core, name)
        public |= {f"exporter_core.{name}", f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', '')}"}
    looked_at = [symbol for symbol in report["symbols"] if is_public(symbol["name"], public)]
    incomplete = [symbol for symbol in looked_at if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
    for symbol in incomplete:
        print(symbol["name"], *(diagnostic["message"] for diagnostic in symbol["diagnostics"]), sep="\n    ")
    if not looked_at:
        print(f"pyright found no public name in {report['moduleName']}")
    return 1 if incomplete or not looked_at else 0


if __name__ == "__main__":
    sys.exit(main())
