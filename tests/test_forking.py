"""uWSGI forks in C, where no fork hook of the interpreter runs; its own hooks stand in."""

import sys
from types import ModuleType

import pytest

from exporter_core import forking


@pytest.fixture
def uwsgi(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("uwsgi")
    monkeypatch.setitem(sys.modules, "uwsgi", module)
    return module


def test_hooks_that_others_have_set_run_after_the_childs_beginning(
    uwsgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(forking, "notice", lambda: called.append("notice"))
    uwsgi.__dict__["post_fork_hook"] = lambda: called.append("application")

    class Decorators:
        """Finds and loads the module that sets hooks when it is imported."""

        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            from importlib.machinery import ModuleSpec

            return ModuleSpec(name, self) if name == "uwsgidecorators" else None  # type: ignore[arg-type]

        def create_module(self, spec: object) -> None:
            return None

        def exec_module(self, module: ModuleType) -> None:
            uwsgi.__dict__.update(spooler="theirs", post_fork_hook=lambda: called.append("decorators"))

    monkeypatch.delitem(sys.modules, "uwsgidecorators", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Decorators(), *sys.meta_path])
    uwsgi.__dict__["spooler"] = "the application's"
    forking._watch_uwsgi()
    monkeypatch.delitem(sys.modules, "uwsgidecorators")
    uwsgi.__dict__["post_fork_hook"]()
    assert called == ["notice", "application", "decorators"]
    assert uwsgi.__dict__["spooler"] == "the application's"


def test_a_uwsgi_without_a_master_has_no_decorators(uwsgi: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(forking, "notice", lambda: called.append("notice"))
    monkeypatch.setitem(sys.modules, "uwsgidecorators", None)  # an import of it fails
    forking._watch_uwsgi()
    uwsgi.__dict__["post_fork_hook"]()
    assert called == ["notice"]
