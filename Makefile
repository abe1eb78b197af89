# `make` alone lists the targets. `make run` and `make test` need Python 3.11+ and make, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
# Behind a private certificate uv fails without this where pip works.
export UV_SYSTEM_CERTS := 1
# Start-up would take seconds instead of half of one.
unexport PYTHONDONTWRITEBYTECODE

LOCAL := -e gen/python -e clients/python/client -e clients/python/fastapi -e .
LOCK_INPUTS := requirements.lock pyproject.toml gen/python/pyproject.toml clients/python/client/pyproject.toml \
	clients/python/fastapi/pyproject.toml
NOT_LOCKED := --no-emit-package usageflow-proto --no-emit-package usageflow-client --no-emit-package usageflow-fastapi

.PHONY: help setup run demo services test sandbox bench lint format prove soak proto proto-check schema lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready ## make the environment (.venv); the other targets do it themselves

# A changed lock makes the environment anew, because packages that share files break one another when one of them is removed
# in place; a changed pyproject only installs our own packages again.
.venv/.ready: $(LOCK_INPUTS)
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed: install Python 3.11 or newer" >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $$($(PYTHON) --version) is too old: install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }
	wanted=$$($(PYTHON) -c 'import hashlib; print(hashlib.sha256(open("requirements.lock", "rb").read()).hexdigest())')
	if [ "$$(cat .venv/.made-from 2>/dev/null || true)" != "$$wanted" ]; then
	  echo "setting up .venv (once)" >&2
	  rm -rf .venv
	  $(PYTHON) -m venv .venv || { echo "make: python's venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	  $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	fi
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(LOCAL)
	$(BIN)/python -m compileall -q src gen/python clients/python
	echo "$$wanted" > .venv/.made-from
	touch $@

run: .venv/.ready ## serve everything on 127.0.0.1:50051, data in ./.usageflow
	@exec $(BIN)/usageflow serve

demo: .venv/.ready ## the service, the quick-start app and real traffic; both sides must agree
	@exec $(BIN)/python tools/demo.py

services: ## install the servers that tests start (root on Debian), else say what to install
	@exec tools/services.sh

test: .venv/.ready ## every test
	@if [ "$$(id -u)" = 0 ]; then tools/services.sh; fi
	exec $(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

sandbox: .venv/.ready ## billing at a Stripe sandbox (STRIPE_TEST_KEY=sk_test_...)
	@[ -n "$${STRIPE_TEST_KEY:-}" ] || { echo "make: STRIPE_TEST_KEY is not set: set it to a test key of Stripe (sk_test_...)" >&2; exit 1; }
	exec $(BIN)/python -m pytest tests/sandbox -q -s $(ARGS)

lint: .venv/.ready proto-check ## style, types, layers, contract
	@$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

format: .venv/.ready ## format the code
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/buf format -w

prove: .venv/.ready ## what must hold, at full size, with real processes (CASE=name for one)
	@exec $(BIN)/python -m tools.prove $(CASE)

soak: .venv/.ready ## billing under random scripts of faults (MINUTES=30; SEEDS="7 12" for given ones)
	@exec $(BIN)/python -m tools.soak --minutes $(or $(MINUTES),30) $(SEEDS)

bench: .venv/.ready ## the budgets, measured (ROW=name for one); writes bench/out/latest.json
	@exec $(BIN)/python -m bench $(ROW) $(ARGS)

.venv-gen/.ready: gen/requirements.txt
	@rm -rf .venv-gen
	$(PYTHON) -m venv .venv-gen
	.venv-gen/bin/python -m pip install --quiet --disable-pip-version-check -r gen/requirements.txt
	touch $@

proto: .venv-gen/.ready ## write the stubs anew (needs Python 3.11 or 3.12)
	@tools/gen_proto.sh gen/python

proto-check: ## prove that the committed stubs are fresh
	@PYTHON="$(PYTHON)" MAKE="$(MAKE)" tools/check_proto.sh

schema: .venv/.ready ## write the JSON schema of policy files anew
	@$(BIN)/usageflow schema > spec/policy-file.schema.json

lock: .venv/.ready ## resolve requirements.lock anew
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --group dev --group bench pyproject.toml \
	  $(NOT_LOCKED) $(ARGS) -o requirements.lock

clean: ## remove environments and caches; keeps .usageflow
	@rm -rf .venv .venv-gen .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
