"""The plugin that ``exporter-core new`` makes: it installs, loads and passes its own tests untouched."""

from __future__ import annotations

import re
import shutil

import pytest

from exporter_core.cli import main


@pytest.mark.nightly
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [[], ["--http"]], ids=["file", "http"])
def test_a_new_plugin_installs_and_passes_its_own_tests(build, environment, root, tmp_path, kind):
    core = build(root)
    made = tmp_path / "made" / "my plugin"
    made.parent.mkdir()
    assert main(["new", "my_backend", *kind, "-o", str(made)]) == 0
    plugin = build(made)
    environment.install(f"{core}[cli]", f"{plugin}[test]")
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copytree(made / "tests", outside / "tests")
    program = outside / "program.py"
    program.write_text(
        "import sys, pytest\n"
        "from exporter_core.cli import main\n"
        "assert main(['list', '--check']) == 0\n"
        "assert main(['init', 'my_backend', '-o', 'metrics.yaml']) == 0\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-W', 'error', 'tests']))\n"
    )
    printed = environment.run(program)
    assert "my_backend  ok" in printed
    assert re.search(r"^\d{2} passed", printed, re.MULTILINE)  # the clauses of the contract among them
    assert ("endpoint:" if kind else "# REQUIRED") in (outside / "metrics.yaml").read_text()
