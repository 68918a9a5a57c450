"""The contract is what was frozen; every single step away from it is found; a new major version can be frozen."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exporter_core
from exporter_core import contract

pytestmark = pytest.mark.usefixtures("warm_python")

CONTRACT, CONTEXT, ERRORS = "contract.py", "context.py", "errors.py"


def freeze(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return copied(tmp_path)


def copied(folder: Path) -> Path:
    """A folder with a copy of the package's foundation modules, to be changed."""
    package = Path(exporter_core.__file__).parent
    copy = folder / "root" / "exporter_core"
    copy.mkdir(parents=True)
    for module in ("__init__.py", "lazy.py", "log.py", "sync.py", "forking.py", "clock.py", CONTRACT, CONTEXT, ERRORS):
        shutil.copy(package / module, copy / module)
    return copy.parent


def change(source: Path, module: str, old: str, new: str) -> None:
    path = source / "exporter_core" / module
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {module}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_the_contract_is_what_was_frozen(here: Path) -> None:
    done = freeze(here / "freeze.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_unchanged_copy_is_not_a_difference(here: Path, source: Path) -> None:
    done = freeze(here / "freeze.py", "--check", "--root", str(source))
    assert (done.returncode, done.stdout) == (0, "contract v1: unchanged\n")


EXPORT = "def export(self, context: Context, metrics: MetricsData) -> None:"
FLUSH_DOC = '"""Return when everything accepted before is delivered, or raise.'
SIXTH = """    @hookspec
    def pause(self) -> None:
        \"\"\"Stop for a while.\"\"\"

    @hookspec(firstresult=True)
    def export("""

# One step each: where, what stands there, what comes in its place, what the complaint starts with.
MUTATIONS = {
    "a parameter renamed": (CONTRACT, EXPORT, EXPORT.replace("metrics:", "data:"), "operations > export > arguments"),
    "parameters swapped": (
        CONTRACT,
        EXPORT,
        "def export(self, metrics: MetricsData, context: Context) -> None:",
        "operations > export > arguments",
    ),
    "a parameter dropped": (CONTRACT, ", metrics: MetricsData", "", "operations > export > arguments"),
    "a parameter added": (
        CONTRACT,
        EXPORT,
        EXPORT.replace(")", ", retry: int)"),
        "operations > export > arguments",
    ),
    "an optional parameter added": (
        CONTRACT,
        EXPORT,
        EXPORT.replace(")", ", retry: int = 0)"),
        "operations > export > signature",
    ),
    "a parameter made keyword-only": (
        CONTRACT,
        EXPORT,
        EXPORT.replace("context,", "context, *,").replace("Context,", "Context, *,"),
        "operations > export > ",
    ),
    "a parameter's type changed": (
        CONTRACT,
        EXPORT,
        EXPORT.replace("MetricsData", "object"),
        "operations > export > signature",
    ),
    "a result's type changed": (CONTRACT, EXPORT, EXPORT.replace("None", "bool"), "operations > export > signature"),
    "an operation made async": (CONTRACT, EXPORT, f"async {EXPORT}", "operations > export > signature"),
    "an operation renamed": (CONTRACT, "def force_flush(", "def flush(", "operations > flush > "),
    "an operation added": (
        CONTRACT,
        "    @hookspec(firstresult=True)\n    def export(",
        SIXTH,
        "operations > pause > ",
    ),
    "an operation that is none to pluggy any more": (
        CONTRACT,
        "    @hookspec(firstresult=True)\n    def shutdown(",
        "    def shutdown(",
        "operations > shutdown > arguments",
    ),
    "firstresult dropped": (
        CONTRACT,
        "    @hookspec(firstresult=True)\n    def shutdown(",
        "    @hookspec\n    def shutdown(",
        "operations > shutdown > options > firstresult",
    ),
    "a hook made historic": (
        CONTRACT,
        "    @hookspec(firstresult=True)\n    def shutdown(",
        "    @hookspec(historic=True)\n    def shutdown(",
        "operations > shutdown > options > firstresult",
    ),
    "a word of an operation changed": (
        CONTRACT,
        FLUSH_DOC,
        FLUSH_DOC.replace("delivered", "queued"),
        "operations > force_flush > wording",
    ),
    "a promise dropped": (
        CONTRACT,
        " The metrics may be reused once this returns: what is kept is copied. They are never changed.\n",
        "\n",
        "operations > export > wording",
    ),
    "a word of the specification changed": (
        CONTRACT,
        "may take a leading part",
        "must take all",
        "wording > ExporterSpec",
    ),
    "a word of the module changed": (
        CONTRACT,
        "Returning means done;",
        "Returning means queued;",
        "wording > contract",
    ),
    "a kind's value changed": (
        CONTRACT,
        'GAUGE = "gauge"\n',
        'GAUGE = "Gauge"\n',
        "instrument kinds > members > GAUGE",
    ),
    "a kind renamed": (CONTRACT, "    HISTOGRAM =", "    DISTRIBUTION =", "instrument kinds > members > DISTRIBUTION"),
    "a kind dropped": (
        CONTRACT,
        '    OBSERVABLE_GAUGE = "observable_gauge"\n',
        "",
        "instrument kinds > members > OBSERVABLE_GAUGE",
    ),
    "a kind added": (
        CONTRACT,
        "    HISTOGRAM =",
        '    SUMMARY = "summary"\n    HISTOGRAM =',
        "instrument kinds > members > SUMMARY",
    ),
    "kinds that are no strings": (CONTRACT, "import StrEnum", "import Enum as StrEnum", "instrument kinds > bases"),
    "the exporters' group changed": (
        CONTRACT,
        '"exporter_core.exporters.v1"',
        '"exporter_core.v1"',
        "constants > EXPO",
    ),
    "the observers' group changed": (CONTRACT, "core.observers.v1", "core.observers.v2", "constants > OBSERVER_GROUP"),
    "the project's name changed": (
        CONTRACT,
        'PROJECT_NAME: Final = "exporter_core"',
        'PROJECT_NAME: Final = "x"',
        "cons",
    ),
    "a marker of another project": (
        CONTRACT,
        "HookimplMarker(PROJECT_NAME)",
        'HookimplMarker("x")',
        "markers > hookimpl",
    ),
    "a name not exported any more": (CONTRACT, '    "hookimpl",\n', "", "exported"),
    "a Context method renamed": (CONTEXT, "def raise_if_done(", "def check(", "context > Context > members > check"),
    "a Context parameter renamed": (
        CONTEXT,
        "def wait(self, seconds",
        "def wait(self, timeout",
        "context > Context > me",
    ),
    "a Context default dropped": (
        CONTEXT,
        "| str | None = None) -> None",
        "| str | None) -> None",
        "context > Context",
    ),
    "a Context method made async": (
        CONTEXT,
        "    def cancel(",
        "    async def cancel(",
        "context > Context > members > ca",
    ),
    "a Context result changed": (
        CONTEXT,
        "def remaining(self) -> float | None",
        "def remaining(self) -> float",
        "context > Context > members > remaining",
    ),
    "a Context property made a method": (
        CONTEXT,
        "    @property\n    def done(",
        "    def done(",
        "context > Context > members > done",
    ),
    "a Context constructor made keyword-only": (
        CONTEXT,
        "def with_timeout(cls, seconds",
        "def with_timeout(cls, *, seconds",
        "context > Context > members > with_timeout",
    ),
    "a handle's method renamed": (CONTEXT, "    def unregister(self)", "    def remove(self)", "context > DoneHandle"),
    "an error's base changed": (
        ERRORS,
        "class DeadlineExceededError(ExporterCoreError, TimeoutError)",
        "class DeadlineExceededError(ExporterCoreError)",
        "errors > DeadlineExceededError > bases",
    ),
    "an error's parameter made required": (
        ERRORS,
        'message: str = "", *, exporter: str | None = None, operation: str | None = None) -> None:\n        super',
        "message: str, *, exporter: str | None = None, operation: str | None = None) -> None:\n        super",
        "errors > ExporterError > constructor",
    ),
    "an error not promised any more": (
        ERRORS,
        "nothing was sent. Contract v1.",
        "nothing was sent.",
        "errors > ExporterShutdownError > bases",
    ),
}
assert len(MUTATIONS) >= 25


# Runs the program in a forked process for each root: what it imports itself is imported once.
FOR_EACH_ROOT = """
import json, os, runpy, sys
import argparse, hashlib, importlib, inspect, pathlib, pluggy, typing

program, *roots = sys.argv[1:]
codes = []
for root in roots:
    child = os.fork()
    if child == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(os.path.join(root, name), os.O_WRONLY | os.O_CREAT), descriptor)
        sys.argv = [program, "--check", "--root", root]
        runpy.run_path(program, run_name="__main__")
        sys.exit("the program has not ended the process")
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


@pytest.fixture(scope="module")
def checked(here: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str]]:
    """Exit code, standard output and standard error of the check of each mutation."""
    sources = {}
    for number, (mutation, (module, old, new, _)) in enumerate(MUTATIONS.items()):
        sources[mutation] = copied(tmp_path_factory.mktemp(f"mutation{number}"))
        change(sources[mutation], module, old, new)
    run = [sys.executable, "-c", FOR_EACH_ROOT, str(here / "freeze.py"), *map(str, sources.values())]
    codes = json.loads(subprocess.run(run, capture_output=True, text=True, timeout=100, check=True).stdout)
    return {
        mutation: (code, (source / "out").read_text("utf-8"), (source / "err").read_text("utf-8"))
        for code, (mutation, source) in zip(codes, sources.items(), strict=True)
    }


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_one_step_away_is_found(mutation: str, checked: dict[str, tuple[int, str, str]]) -> None:
    complaint = MUTATIONS[mutation][3]
    code, out, err = checked[mutation]
    *differences, way_out = out.splitlines() or [err]
    assert code == 1
    assert err == ""
    assert any(line.startswith(complaint) and ": was " in line for line in differences), out
    assert way_out.startswith("Contract v1 is frozen: only a new major version may change it")


def test_a_change_of_code_or_comments_alone_is_no_change_of_the_contract(here: Path, source: Path) -> None:
    change(source, CONTEXT, "        return max(0.0, self._deadline - ", "        return max(0, self._deadline - ")
    change(source, CONTRACT, "\n\nclass ExporterSpec", "\n\n# A comment.\nclass ExporterSpec")
    assert freeze(here / "freeze.py", "--check", "--root", str(source)).returncode == 0


def test_writing_refuses_to_change_a_frozen_version(here: Path, source: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(here / "freeze.py", tmp_path))
    snapshot = Path(shutil.copy(here / "contract-v1.json", tmp_path))
    before = snapshot.read_bytes()
    change(source, CONTRACT, EXPORT, EXPORT.replace("metrics:", "data:"))
    done = freeze(program, "--root", str(source))
    assert done.returncode == 1
    assert "Contract v1 is frozen" in done.stdout
    assert snapshot.read_bytes() == before


def test_a_new_major_version_is_unchecked_until_its_snapshot_is_written(
    here: Path, source: Path, tmp_path: Path
) -> None:
    program = Path(shutil.copy(here / "freeze.py", tmp_path))
    first = Path(shutil.copy(here / "contract-v1.json", tmp_path))
    before = first.read_bytes()
    change(source, CONTRACT, "CONTRACT_VERSION: Final = 1", "CONTRACT_VERSION: Final = 2")
    missing = freeze(program, "--check", "--root", str(source))
    assert (missing.returncode, missing.stdout) == (
        1,
        "contract v2 has no snapshot: make freeze writes contract-v2.json\n",
    )
    assert freeze(program, "--root", str(source)).returncode == 0
    assert freeze(program, "--check", "--root", str(source)).returncode == 0
    assert first.read_bytes() == before


def test_the_groups_carry_the_contracts_major_version() -> None:
    suffix = f".v{contract.CONTRACT_VERSION}"
    assert f"{contract.EXPORTER_GROUP_PREFIX}{contract.CONTRACT_VERSION}" == contract.EXPORTER_GROUP
    assert contract.OBSERVER_GROUP.endswith(suffix)
    assert contract.HARNESS_GROUP.endswith(suffix)


def test_the_operations_are_those_of_the_specification() -> None:
    specified = [name for name in vars(contract.ExporterSpec) if not name.startswith("_")]
    assert tuple(specified) == contract.OPERATIONS
