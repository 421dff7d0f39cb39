# `make` without a target lists the targets. Packages come from the lock files and are installed inside this repository only.

.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
PAGES := graphiql dashboard
PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --hypothesis-seed 0
unexport PYTHONDONTWRITEBYTECODE  # with it, each process would compile all modules of this checkout when it starts
PACKAGES := observability runtime storage graphql_api triggers infra dropzone tests

.PHONY: help setup run test system browser check image push plan deploy smoke destroy infra-check schema audit conformance differential emulator torture attack soak alerts load dashboard lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: setup ## start all processes, submit an example at the first start, and serve until Ctrl-C
	@$(BIN)/python -m infra.embedded --greet

test: setup .venv/developer ## run the tests on free ports, in three processes, except those of `make system` and `make browser`
	@$(PYTEST) -m "not browser and not system"

system: setup .venv/developer ## run the tests that start, kill and restart whole stacks, fill a disk, or wait for time limits
	@$(PYTEST) -m "system and not browser"

browser: setup .venv/developer ## run the browser tests in Chromium, if it is installed
	@$(BIN)/python -m pytest -m browser

check: setup .venv/developer ## run the linters and type checkers, and compare texts, links, imports and schema.graphql with the rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "some files are not formatted; run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy $(PACKAGES:%=-p %)
	@! [ -x graphql_api/web/dashboard/node_modules/.bin/tsc ] || npm run --silent --prefix graphql_api/web/dashboard check
	@$(BIN)/python -m pytest --quiet tests/test_layout.py tests/test_links.py tests/test_plain_english.py
	@$(BIN)/python -m graphql_api.schema | diff -u schema.graphql - || { echo "schema.graphql differs from the code; run: make schema"; exit 1; }

audit: setup .venv/developer ## run GraphQL audits, a schema linter, a certified OpenID provider and common Node and Python clients against the API
	@cd tests/graphql_api/audit && npm ci --no-audit --no-fund --loglevel=error
	@cd tests/clients && npm ci --no-audit --no-fund --loglevel=error
	@cd tests/identity_provider && npm ci --no-audit --no-fund --loglevel=error
	@test -d tests/clients/.venv || $(BIN)/uv venv --quiet tests/clients/.venv
	@$(BIN)/uv pip install --quiet --python tests/clients/.venv --requirements tests/clients/generated.lock
	@$(BIN)/python -m pytest tests/graphql_api/audit tests/clients tests/identity_provider

conformance: setup .venv/developer ## run Google's own system tests against the embedded Firestore
	@$(BIN)/python -m tests.conformance.google

differential: setup .venv/developer ## compare the embedded Firestore with Google's emulator, if the emulator is installed
	@$(BIN)/python -m pytest tests/differential

emulator: setup .venv/developer ## run tests of the whole product over Google's emulator, if the emulator is installed
	@$(BIN)/python -m tests.google_emulator

torture: setup .venv/developer ## kill Firestore 200 times, then Firestore and the API under 100 subscribers, then all processes during 120 changes, then the function during 50,000 samples; SHORT=1 is the short form
	@$(if $(SHORT),,TORTURE_KILLS=200 TORTURE_SUBSCRIBERS=100 TORTURE_SECONDS=60 TORTURE_RATE=150 TORTURE_CHANGES=120 TORTURE_SAMPLES=50000) \
	  $(BIN)/python -m pytest -s tests/torture --timeout 1800

attack: setup .venv/developer ## run hostile clients against fresh stacks and measure what another tenant sees; OPTIONS=--short is the short form
	@$(BIN)/python -m tests.attack $(OPTIONS)

soak: setup .venv/developer ## run the stack under 60 % load for an hour, kill processes and look for leaks; OPTIONS="--minutes 10 --chaos-minutes 0" is short and kills none
	@$(BIN)/python -m tests.soak $(OPTIONS)

alerts: setup .venv/developer ## cause each alert on a running stack and end its cause, if Prometheus is installed
	@$(BIN)/python -m pytest tests/alerts

load: setup .venv/developer ## measure Dropzone and its peers side by side, and write docs/performance.md; SHORT=1 takes at most ten minutes and does not write it
	@$(BIN)/python -m tests.load $(if $(SHORT),--short)

image: ## build the container image, with docker or podman
	@sh infra/gcp/image.sh build

push: image ## push the container image to a project: make push PROJECT=... REGION=...
	@sh infra/gcp/image.sh push

plan: ## show what `make deploy` would change: make plan PROJECT=... REGION=...
	@sh infra/gcp/plan.sh

deploy: ## deploy to Google Cloud: make deploy PROJECT=... REGION=...
	@sh infra/gcp/deploy.sh

smoke: setup ## submit samples to a running API and wait for their results: make smoke URL=... KEY=...
	@DROPZONE_KEY="$(if $(URL),$$KEY,$${KEY:-$$(cat .dropzone/api-key 2>/dev/null)})" $(BIN)/python -m infra.smoke $(if $(URL),--url "$(URL)")
	@[ -z "$(PROJECT)" ] || sh infra/gcp/subscription.sh check

destroy: ## delete what `make deploy` created, with all samples: make destroy PROJECT=... REGION=...
	@sh infra/gcp/destroy.sh

infra-check: .venv/infra ## check the image, the manifests, the workflows and the Terraform configuration
	@cd infra/check && npm ci --no-audit --no-fund --loglevel=error
	@.venv-infra/bin/python -m infra.check
	@.venv-infra/bin/python -m pytest --quiet --noconftest --override-ini filterwarnings=default tests/infra/check

schema: .venv/product ## write schema.graphql from the code
	@$(BIN)/python -m graphql_api.schema > schema.graphql

dashboard: .venv/product ## write infra/prometheus/dashboard.json from infra/gcp/signals.json
	@$(BIN)/python -m infra.prometheus > infra/prometheus/dashboard.json

lock: .venv/developer ## update the lock files from pyproject.toml, for all platforms
	@$(BIN)/uv pip compile pyproject.toml --extra server --group build --upgrade $(LOCKING) --output-file requirements.lock
	@$(BIN)/uv pip compile --group dev --upgrade $(LOCKING) --constraint requirements.lock --output-file requirements-dev.lock
	@$(BIN)/uv pip compile --group infra --upgrade $(LOCKING) --output-file requirements-infra.lock

LOCKING := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

clean: ## remove .venv, caches and built pages; submitted samples stay in .dropzone
	@rm -rf .venv .venv-infra $(foreach page,$(PAGES),graphql_api/web/$(page)/node_modules graphql_api/web/$(page)/dist) .mypy_cache .ruff_cache .pytest_cache .hypothesis

setup: .venv/product $(PAGES:%=.venv/%)

.venv/product: requirements.lock
	@sh infra/embedded/set_up.sh requirements.lock
	@touch $@

.venv/developer: requirements-dev.lock .venv/product
	@sh infra/embedded/set_up.sh requirements-dev.lock
	@touch $@

.venv/infra: requirements-infra.lock .venv/developer
	@$(BIN)/uv venv --quiet --clear .venv-infra
	@$(BIN)/uv pip install --quiet --python .venv-infra --require-hashes --requirements requirements-infra.lock
	@touch $@

# `make run` also works without npm or its registry: `/` then shows a notice, and GraphiQL loads from a CDN.
.SECONDEXPANSION:
$(PAGES:%=.venv/%): .venv/%: .venv/product $$(shell find graphql_api/web/$$* -name node_modules -prune -o -name dist -prune -o -type f -print)
	@if command -v npm >/dev/null 2>&1; then \
	  echo "building the page $*"; \
	  (cd graphql_api/web/$* && npm ci --no-audit --no-fund --loglevel=error && npm run --silent build) \
	    || echo "warning: the page $* could not be built; to try again: rm $@; make run"; \
	  touch $@; \
	else \
	  echo "npm is not installed, so the page $* is not built"; \
	fi
