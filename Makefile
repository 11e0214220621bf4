# Two commands on a machine with Python 3.11, git and make: `make test`, `make reproduce`. Each sets up what it needs.

# The first interpreter that is Python 3.11, the version requirements.lock is for.
PYTHON ?= $(shell for each in python3.11 python3 python; do \
	$$each -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$each && break; done)
EXPERIMENT ?= quick
CORES ?= all
BIN := $(CURDIR)/.venv/bin
STAMP := .venv/.installed

# The rules of the DAG call `tcmax`, which fixes threads and code paths itself (docs/arithmetic.md).
export PATH := $(BIN):$(PATH)
export OMP_NUM_THREADS := 1
# Compiled bytecode is kept: without it every job would compile torch's sources again, seconds each time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup reproduce reference test test-slow lint format smoke benchmarks simulations docs clean

help: ## Show this list.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ —/'

setup: $(STAMP) ## Create .venv from requirements.lock; a second call installs nothing.

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 on the path; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $(STAMP)

reproduce: $(STAMP) ## Run an experiment (EXPERIMENT=quick) through the DAG and write its report.
	snakemake --cores $(CORES) --config experiment=$(EXPERIMENT)
	@echo "Report: reports/$(EXPERIMENT)/report.html"
	@test ! -f config/reference/$(EXPERIMENT).json || tcmax verify $(EXPERIMENT)

reference: $(STAMP) ## Make config/reference, docs/sample-report and README's table anew, after a change of numbers.
	snakemake --cores $(CORES) --config experiment=smoke
	snakemake --cores $(CORES) --config experiment=quick
	tcmax verify smoke --write
	tcmax verify quick --write
	python docs/sample.py

test: $(STAMP) ## Run the tests (under 10 minutes on 2 cores, no network).
	pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(STAMP) ## Run the long tests too.
	pytest -n 2 --dist loadfile

smoke: $(STAMP) ## Run the whole DAG on a small experiment, in about a minute.
	snakemake --cores $(CORES) --config experiment=smoke

lint: $(STAMP) ## Check style, types and the workflow's format.
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow

format: $(STAMP) ## Format everything.
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

benchmarks: $(STAMP) ## Measure speed and memory as ratios.
	python benchmarks/loss.py
	python benchmarks/loading.py
	python benchmarks/resampling.py
	python benchmarks/stage.py
	python benchmarks/search.py
	python benchmarks/arithmetic.py

simulations: $(STAMP) ## Simulate coverage and error rates of every procedure (about an hour).
	python simulations/run.py
	python simulations/sequential.py
	python simulations/suite.py
	python simulations/association.py
	python simulations/edges.py
	python simulations/tuning.py

docs: $(STAMP) ## Rebuild the pages of docs/ that come from code.
	python docs/build.py
	python docs/house.py

clean: ## Remove results and reports, keep the environment.
	rm -rf results/*/ reports/*/ .snakemake
