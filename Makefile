# Every target makes its own environment; a machine needs Python 3.11 or newer, make, Go and a package manager.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo demo-down check format lint types unit test bench lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | awk -F '\t' '{printf "  %-10s %s\n", $$1, $$2}'

demo: $(READY) ## sandbox up, deploy Redis, kill the worker in the middle, show that nothing was lost
	@$(BIN)/python -m sandbox.demo up

demo-down: $(READY) ## take the demo's sandbox and worker down and remove what they left
	@$(BIN)/python -m sandbox.demo down

check: $(READY) lint types unit ## format, lint, types, import rules, unit and workflow tests (about 2 minutes warm)

format: $(READY) ## write the code in the agreed form
	$(BIN)/ruff format -q .
	$(BIN)/ruff check -q --fix .

lint: $(READY)
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/python -m pytest -q -n 2 -m "not sandbox and not crash and not real"

test: $(READY) check ## everything: checks, and all tests on whole sandboxes (builds Kubernetes once, about 7 minutes)
	$(BIN)/python -m sandbox.binaries
	$(BIN)/python -m pytest -m "sandbox or crash"
	$(BIN)/python -m pytest -m real

bench: $(READY) ## measure: deploy, command line, resume after a kill, real nodes
	$(BIN)/python bench/cli.py
	$(BIN)/python bench/resume.py
	$(BIN)/python bench/deploy.py
	$(BIN)/python bench/nodes.py

lock: $(READY) ## renew the locked requirements (needs uv)
	uv pip compile pyproject.toml --generate-hashes --python-version 3.11 --no-emit-index-url \
	  --no-emit-find-links --no-header -q -o requirements/runtime.lock
	uv pip compile pyproject.toml --all-extras --group dev -c requirements/runtime.lock --generate-hashes --python-version 3.11 \
	  --no-emit-index-url --no-emit-find-links --no-header -q -o requirements/dev.lock

clean: ## remove the environment and what tools left
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache

$(READY): requirements/dev.lock pyproject.toml tools/environment.sh
	@sh tools/environment.sh .venv
	@touch $@
