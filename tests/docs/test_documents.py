"""Every snippet and command in the documents is run, and prints what the document says it prints."""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from exporter_core.config import load_config

pytestmark = pytest.mark.usefixtures("warm_python")

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
IDS = [str(document.relative_to(ROOT)) for document in DOCUMENTS]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED_AS = re.compile(r"# ([\w./-]+\.(?:py|yaml))\n")
LONG = re.compile(r"^\$ exporter-core (check|list --check)", re.MULTILINE)  # commands that run every clause, or plugin
PRINTED = re.compile(r"print\(.*\)  # (.+)$", re.MULTILINE)


def blocks(document: Path, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(document.read_text(encoding="utf-8")) if name == language]


def save_files(document: Path, folder: Path) -> None:
    for language in ("python", "yaml"):
        for text in blocks(document, language):
            if name := SAVED_AS.match(text):
                (folder / name[1]).write_text(text, encoding="utf-8")


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PATH": path,
        "PYTHONPATH": str(folder),
        "HOME": str(folder),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(one, marks=[pytest.mark.nightly] * ("check(" in "".join(blocks(one, "python"))))
        for one in DOCUMENTS
    ],
    ids=IDS,
)
def test_python_snippets_run_and_print_what_they_say(document: Path, tmp_path: Path) -> None:
    save_files(document, tmp_path)
    program = [text for text in blocks(document, "python") if not SAVED_AS.match(text)]
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(program)],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [expected for text in program for expected in PRINTED.findall(text)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_toml_and_whole_config_files_are_valid(document: Path, tmp_path: Path) -> None:
    for text in blocks(document, "toml"):
        tomllib.loads(text)
    for number, text in enumerate(blocks(document, "yaml")):
        if re.search(r"^file_format:", text, re.MULTILINE):
            file = tmp_path / f"{number}.yaml"
            file.write_text(text, encoding="utf-8")
            load_config(file, environ={})


# tests/cli/test_documentation.py and test_tutorial.py run these as one session and compare what their commands print.
SESSIONS = {"command-line.md", "tutorial-conformance.md"}
OTHERS = [
    pytest.param(document, marks=[pytest.mark.nightly] * bool(LONG.search(document.read_text("utf-8"))))
    for document in DOCUMENTS
    if document.name not in SESSIONS
]


@pytest.mark.timeout(600)  # processes, one after the other
@pytest.mark.parametrize("document", OTHERS, ids=lambda document: document.name)
def test_commands_do_what_they_say(document: Path, tmp_path: Path) -> None:
    save_files(document, tmp_path)
    targets = re.findall(r"^([\w-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    ours = {path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")} | {"exporter-core"}
    for text in blocks(document, "console"):
        for command in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
            words = shlex.split(command, comments=True)
            if words[0] == "make":
                # CI and whoever clones the repository run these; here they would run this test again.
                assert words[1] in targets, command
            elif words[:2] == ["pip", "wheel"]:
                # The packaging tests build wheels and install them; here it is enough that the distributions exist.
                assert words[2:5] == ["--no-deps", "-w", "dist"], command
                assert all((ROOT / folder / "pyproject.toml").is_file() for folder in words[5:]), command
            elif words[:2] == ["pip", "install"]:
                named = words[4:] if words[2:4] == ["--find-links", "dist"] else words[2:]
                assert {word.partition("[")[0] for word in named} <= ours, command
            else:
                ran = subprocess.run(
                    ["bash", "-euc", command],
                    cwd=tmp_path,
                    env=environment(tmp_path),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=400,
                    check=False,
                )
                assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=IDS)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readmes_typo_is_reported_as_it_says(tmp_path: Path) -> None:
    readme = ROOT / "README.md"
    save_files(readme, tmp_path)
    file = tmp_path / "metrics.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("path:", "pth:"), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "exporter_core", "validate", "metrics.yaml"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr in blocks(readme, "text")


def test_the_layout_names_every_public_module_of_the_core() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Layout")[2].partition("\n## ")[0]
    modules = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "exporter_core").iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }
    named = {name.removeprefix("exporter_core/") for name in re.findall(r"`([\w/.]+)`", table)}
    assert modules - named == set()


def test_no_text_of_the_picture_is_stretched() -> None:
    picture = (ROOT / "docs" / "run.svg").read_text(encoding="utf-8")
    texts = re.findall(r'<text [^>]*textLength="([\d.]+)"[^>]*>([^<\n]+)</text>', picture)
    assert texts
    for length, text in texts:
        assert float(length) == pytest.approx(12.2 * len(html.unescape(text)), abs=0.2), text
