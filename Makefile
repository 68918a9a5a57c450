# One command does the main job (make run), one proves it (make test); both set up what they need.

# The interpreter that the environment is made with; any CPython from 3.11 on. PYTHON=/path/to/python chooses another.
PYTHON ?= python3
VENV   ?= .venv
UV     := .tools/bin/uv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

PLUGINS := $(wildcard plugins/*/pyproject.toml)

.DEFAULT_GOAL := help

.PHONY: help
help: ## show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- setting up ------------------------------------------------------------------------------------------------------

# uv comes from PyPI: into a virtual environment, or beside one where the machine has pip but no venv.
$(UV):
	@rm -rf .tools
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "make: exporter-core needs Python >= 3.11; set PYTHON=/path/to/python" >&2; exit 2; }
	@$(PYTHON) -m venv .tools 2>/dev/null && .tools/bin/python -m pip install -q uv \
	    || { rm -rf .tools; $(PYTHON) -m pip install -q --target .tools uv; }

# The stamp makes a second call do nothing, and so work offline.
$(STAMP): $(UV) pyproject.toml constraints.txt $(PLUGINS)
	@test -x $(BIN)/python || $(UV) venv -q --no-python-downloads -p $(PYTHON) $(VENV)
	@$(UV) pip install -q --compile-bytecode -p $(BIN)/python -c constraints.txt \
	    -e '.[cli,host]' $(foreach plugin,$(PLUGINS),-e $(dir $(plugin))) --group dev
	@touch $@

.PHONY: setup
setup: $(STAMP) ## install everything into .venv

.PHONY: constraints
constraints: $(UV) ## renew constraints.txt, the pinned versions
	$(UV) pip compile -q --upgrade --universal --python-version 3.11 --no-header --no-annotate --no-emit-package exporter-core \
	    pyproject.toml $(PLUGINS) --all-extras --group dev -o constraints.txt
