# One command does the main job (make run), one proves it (make test). Both install their requirements, from PyPI alone,
# and work offline on the second call.

# The interpreter that the environment is made with; any CPython from 3.11 on. PYTHON=/path/to/python chooses another.
PYTHON ?= python3
VENV   ?= .venv
UV     := .tools/bin/uv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# Seconds for which make run watches this machine.
DURATION ?= 10

PLUGINS      := $(wildcard plugins/*/pyproject.toml)
PUBLIC_USERS := $(wildcard plugins/*/exporter_core_* tests/contract/v1_plugin/exporter_core_*)

# uv's cache stays in the project, so that the next call finds it whatever HOME is.
export UV_CACHE_DIR           ?= $(CURDIR)/.tools/cache
export UV_PYTHON_DOWNLOADS    := never
# Certificates are the system's, and those that pip or OpenSSL is told of: a company's proxy has one of its own.
export UV_SYSTEM_CERTS        ?= true
ifdef PIP_CERT
export SSL_CERT_FILE          ?= $(PIP_CERT)
endif
ifdef SSL_CERT_FILE
export PIP_CERT               ?= $(SSL_CERT_FILE)
endif
# The checker's worker processes share what Hypothesis has learnt of the sources; each would begin anew otherwise.
export HYPOTHESIS_STORAGE_DIRECTORY ?= $(CURDIR)/.hypothesis
# Hundreds of processes import the same modules: write byte code, even if the machine's settings forbid it.
export PYTHONDONTWRITEBYTECODE :=
# pyright would ask the npm registry for a newer pyright.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- setting up ------------------------------------------------------------------------------------------------------

NEW_ENOUGH = $(shell $(PYTHON) -c 'import sys; print(sys.version_info >= (3, 11))' 2>/dev/null)
need_python = $(if $(filter True,$(NEW_ENOUGH)),,$(error exporter-core needs Python 3.11 or newer, which $(PYTHON) is not; set PYTHON=/path/to/python))

# uv comes from PyPI: into a virtual environment, or beside one where the machine has pip but no venv. An older pip trusts
# the system's certificates only when it is told to.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check

$(UV):
	@$(need_python)rm -rf .tools
	@$(PYTHON) -m venv .tools 2>/dev/null >&2 && { .tools/bin/python $(PIP_INSTALL) uv 2>/dev/null \
	        || .tools/bin/python $(PIP_INSTALL) --use-feature=truststore uv; } \
	    || { rm -rf .tools; $(PYTHON) $(PIP_INSTALL) --target .tools uv; } \
	    || { echo "make: uv cannot be installed: $(PYTHON) needs pip or venv, and PyPI must be reachable" >&2; exit 2; }

# The stamp makes a second call do nothing, and so work offline.
$(STAMP): $(UV) pyproject.toml constraints.txt $(PLUGINS)
	@$(need_python)test -x $(BIN)/python || $(UV) venv -q -p "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@$(UV) pip install -q --compile-bytecode -p $(BIN)/python -c constraints.txt \
	    -e '.[cli,host,conformance,net]' $(foreach plugin,$(PLUGINS),-e $(dir $(plugin))) --group dev
	@touch $@

# The tests of the HTML report look at it in a real browser; a machine that has none gets Debian's, in .tools.
.PHONY: browser
browser: $(UV)
	@$(PYTHON) .ci/browser.py --fetch >/dev/null || true # the tests that need it say so

# The tests of exporter-core-prometheus write to real servers; a machine that has none gets Debian's, in .tools.
.PHONY: servers
servers: $(UV)
	@$(PYTHON) .ci/servers.py --fetch >/dev/null || true # the tests that need them say so

.PHONY: setup
setup: $(STAMP) browser servers ## install everything into .venv, and what the tests start into .tools if it is not there

.PHONY: constraints
constraints: $(UV) ## renew constraints.txt, the pinned versions
	$(UV) pip compile -q --upgrade --universal --python-version 3.11 --no-header --no-annotate --no-emit-package exporter-core \
	    pyproject.toml $(PLUGINS) --all-extras --group dev -o constraints.txt

# --- the main job ----------------------------------------------------------------------------------------------------

.PHONY: run
run: $(STAMP) ## this machine's metrics into SQLite, for DURATION seconds (10)
	@$(BIN)/exporter-core run --duration $(DURATION)

# --- proving it ------------------------------------------------------------------------------------------------------

# Processes that run tests: two more than there are processors, since many tests wait for a process or for a time-out.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 2)

# On CI, failed tests are run once more, alone, as CPython's own runner does (--rerun); both results are in the log, and
# one that passes now is a fault to mend all the same. Status 1 of pytest: all ran, some failed.
again = || { [ $$? = 1 ] && [ "$$CI" ] && echo 'Once more, alone:' && $(1) -x --last-failed --last-failed-no-failures none; }

.PHONY: test
test: $(STAMP) browser servers ## run every test but those that take long
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(call again,$(BIN)/pytest -q)

# Documents in which commands check exporters, or look into every plugin.
LONG_SESSIONS := tests/docs tests/cli/test_documentation.py

.PHONY: test-docs
test-docs: $(STAMP) ## run the long sessions of the documents, which make nightly runs too
	@$(BIN)/pytest -q -n $(WORKERS) -m nightly $(LONG_SESSIONS) $(call again,$(BIN)/pytest -q -m nightly)

.PHONY: nightly
nightly: $(STAMP) browser servers ## run the tests that take long
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadscope -m nightly
	@$(BIN)/pytest -q -n $(WORKERS) --dist loadscope -m hypothesis --hypothesis-profile thorough

# The lowest versions that the pyproject.toml files allow, on the oldest Python here. Property tests vary the data, not
# the versions, and take longer than all the others: make test runs them.
LOWEST := .venv-lowest
LOWEST_TESTS := $(addprefix tests/,config guard otlp pipeline reader) \
    $(filter-out %/test_conformance.py,$(wildcard plugins/*/tests/test_*.py))

$(LOWEST)/.installed: $(UV) pyproject.toml $(PLUGINS)
	@$(need_python)rm -rf $(LOWEST)
	@$(UV) venv -q -p "$$($(PYTHON) .ci/pythons.py | tail -n 1 | cut -d' ' -f2-)" $(LOWEST)
	@$(UV) pip install -q --compile-bytecode -p $(LOWEST)/bin/python --resolution lowest-direct \
	    -e '.[cli,host,conformance,net]' $(foreach plugin,$(PLUGINS),-e $(dir $(plugin))) --group dev
	@touch $@

.PHONY: test-lowest
test-lowest: $(LOWEST)/.installed servers ## run the tests that depend on versions, with the lowest versions allowed
	@$(LOWEST)/bin/pytest -q -n $(WORKERS) --dist loadscope -m 'not hypothesis and not nightly' $(LOWEST_TESTS) \
	    $(call again,$(LOWEST)/bin/pytest -q)

# Runs for each of the reference exporters; half of them with every core kept busy.
RUNS ?= 200

.PHONY: false-alarms
false-alarms: $(STAMP) ## look for false alarms of the conformance checker, in RUNS runs (200)
	@PYTHONPATH=tests/conformance $(BIN)/python -m kit.false_alarms $(RUNS)

.PHONY: strangers
strangers: $(STAMP) ## check the exporters that were written from the documentation alone, wrong ones and right ones
	@cd tests/conformance && ../../$(BIN)/python -m third_party.score --jobs 2

.PHONY: test-all
test-all: $(UV) ## run every test on every CPython from 3.11 on that this machine has
	@$(PYTHON) .ci/pythons.py | while read -r venv python; do \
	    echo "--- $$python"; \
	    $(MAKE) --no-print-directory test VENV=$$venv PYTHON=$$python </dev/null || exit; \
	done

.PHONY: check
check: lint types imports contract ## check style, types, layers, circles and the frozen contract

.PHONY: lint
lint: $(STAMP) ## check style (make format fixes it)
	@$(BIN)/ruff check -q .
	@$(BIN)/ruff format -q --check . || { echo "make format fixes this"; exit 1; }
	@echo "style: fine"

.PHONY: format
format: $(STAMP) ## fix style where a program can
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format -q .

# pyright, which finds installed packages through the first python on PATH, checks the public names and who uses them.
.PHONY: types
types: $(STAMP) ## check types, and that those of the public names are complete
	@$(BIN)/mypy --no-error-summary exporter_core $(PUBLIC_USERS)
	@MYPYPATH=tests/conformance $(BIN)/mypy --no-error-summary -p kit
	@PATH="$(CURDIR)/$(BIN):$$PATH"; out=$$(pyright $(PUBLIC_USERS) 2>&1) || { echo "$$out"; exit 1; }
	@PATH="$(CURDIR)/$(BIN):$$PATH" python .ci/public_types.py
	@echo "types: fine"

.PHONY: imports
imports: $(STAMP) ## check that modules import only modules of the layers below, and none in a circle
	@out=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$out"; exit 1; }
	@$(BIN)/python .ci/circles.py
	@echo "imports: fine"

.PHONY: contract
contract: $(STAMP) ## check that the contract is unchanged
	@$(BIN)/python tests/contract/freeze.py --check

.PHONY: freeze
freeze: $(STAMP) ## write the snapshot of a new major version of the contract
	@$(BIN)/python tests/contract/freeze.py

.PHONY: matrix
matrix: $(STAMP) ## check the exporters that people install from PyPI: docs/matrix.html and docs/matrix.json
	@$(BIN)/python .ci/mutants.py
	@$(BIN)/python .ci/matrix.py

.PHONY: clauses
clauses: $(STAMP) ## write docs/clauses.md, the page of the conformance checker's clauses
	@PYTHONPATH=tests/conformance $(BIN)/python -m kit.catalogue >docs/clauses.md

.PHONY: services
services: $(STAMP) ## run real servers against healthy, hung and refusing backends, and print what was delivered
	@PYTHONPATH=tests/support $(BIN)/python tests/services/table.py

.PHONY: bench
bench: $(STAMP) servers ## run the benchmarks
	@missed=; for program in benchmarks/[!_]*.py; do $(BIN)/python $$program || missed="$$missed $$program"; done; \
	    test -z "$$missed" || { echo "make: a bound is missed in$$missed" >&2; exit 1; }

.PHONY: clean
clean: ## remove everything that make has created
	@rm -rf .venv .venv-* .tools .artefacts dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
