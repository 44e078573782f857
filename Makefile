# Everything a person or a machine does with this repository starts here; `make` alone lists it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
AZ     := .venv-az/bin/python
RIVALS := .venv-bench/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-long image-test bench bench-quick check lint format docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | awk -F'|' '{printf "  %-12s %s\n", $$1, $$2}'

# `venv` is a package of its own on Debian; where it is missing, pip can bring `virtualenv`.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV) 2>/dev/null || { $(PYTHON) -m pip install --quiet --user --break-system-packages virtualenv && $(PYTHON) -m virtualenv --quiet $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## export an embedded tenant and show what came out
	@$(BIN)/m365-export demo --users 200 --out demo-export

test: $(STAMP) lint ## all checks and all tests but the long ones
	$(BIN)/python -m pytest -n auto -m "not long and not image"

# azure-cli is large and pins its own msal, so it gets an environment of its own.
$(AZ):
	$(PYTHON) -m venv .venv-az
	$(AZ) -m pip install --quiet --disable-pip-version-check azure-cli

# Many groups, each with servers of its own.
SIDE_BY_SIDE := tests/long/test_deaths.py tests/long/test_fault_schedules.py

test-long: $(STAMP) $(AZ) image-test ## the heavy stages: generated commands, real S3 server, many faults and kills, image
	$(BIN)/python -m pytest -n auto -m long $(SIDE_BY_SIDE)
	AZURE_CLI_PYTHON=$(CURDIR)/$(AZ) $(BIN)/python -m pytest -m long $(SIDE_BY_SIDE:%=--ignore=%)

image-test: $(STAMP) ## build image and compose for real, and try them (Debian, as root: installs podman)
	$(BIN)/python -m pytest -m image --timeout 1800

# What the exporter is compared with is no dependency of its own, so it gets an environment of its own.
$(RIVALS): benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench 2>/dev/null || $(PYTHON) -m virtualenv --quiet .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	@touch $@

bench: $(STAMP) $(RIVALS) ## measure, and write docs/performance.md; fails when the export became slower
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP) $(RIVALS) ## the same in small, to see that it works; figures mean nothing
	$(BIN)/python -m benchmarks --quick

check: $(STAMP) lint ## format, lint, types, import contracts, fast tests
	$(BIN)/python -m pytest -n auto -m "not long and not image and not slow" tests/unit tests/contract

lint: $(STAMP) ## format, lint, types, import contracts, deployment files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/python -m pytest tests/deploy

format: $(STAMP) ## rewrite the code in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## write the pages that follow from the code
	$(BIN)/python -m pipeline.guide docs

COMPILE := uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11

lock: ## resolve the dependencies anew (needs uv)
	$(COMPILE) --upgrade --extra s3 --extra gcs --extra otlp --extra dask --extra dev pyproject.toml -o requirements.lock
	$(COMPILE) --constraints requirements.lock --extra s3 --extra gcs --extra otlp pyproject.toml -o deploy/image/runtime.lock
	$(COMPILE) --constraints requirements.lock --extra s3 --extra gcs --extra otlp --extra dask pyproject.toml -o deploy/image/workers.lock
	$(COMPILE) --constraints requirements.lock deploy/image/stores.in -o deploy/image/stores.lock
	$(COMPILE) --constraints requirements.lock deploy/image/build.in -o deploy/image/build.lock
	$(COMPILE) --constraints requirements.lock benchmarks/requirements.in -o benchmarks/requirements.txt

clean: ## remove everything that can be made again
	rm -rf $(VENV) .venv-az .venv-bench demo-export dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
