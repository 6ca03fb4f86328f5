# `make demo` and `make test` do all the set-up themselves; `make` alone lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
READY := .venv/.ready
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
SHARE := exporter/share
COMPILE := $(BIN)/python -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host --constraint requirements-dev.lock --output-file -
DEMO ?=
BUILDER ?= docker
IMAGE ?= infermeter
DATE = $(shell git log -1 --format=%ct)
TESTS ?=
SERVER ?=

.PHONY: help setup demo test test-alerts test-deploy test-page test-faults test-clients soak coverage check format docs site lock lock-hashes dist sbom kernel image test-packaging test-kernel test-image e2e e2e-vllm e2e-servers bench fuzz stacks dashboards test-live clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## a virtual environment in .venv with everything pinned

$(RUNTIME): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: PYTHON=... names one" >&2; exit 1; }
	@.ci/need python3-venv
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@echo "installing the program into .venv"
	@$(INSTALL) --constraint requirements-dev.lock hatchling editables
	@$(INSTALL) --constraint requirements-dev.lock --no-build-isolation --editable .
	@touch $@

$(READY): $(RUNTIME)
	@echo "installing what it is developed with into .venv"
	@$(INSTALL) --requirement requirements-dev.lock
	@touch $@

kernel: $(RUNTIME)  ## the compiled decoder, built and installed into .venv; without it the program decodes in Python
	@.ci/need gcc libc6-dev
	@$(INSTALL) --constraint requirements-dev.lock --no-build-isolation --no-deps --force-reinstall ./exporter/kernel

demo: $(RUNTIME)  ## the product at work on this machine, without a GPU (DEMO="--scenario idle --duration 30s")
	@$(BIN)/infermeter demo $(DEMO)

test: $(READY)  ## the fast suite (TESTS="tests/unit -k cost")
	@.ci/need prometheus prometheus-alertmanager gcc libc6-dev systemd
	@$(PYTEST) --numprocesses auto --dist loadfile $(TESTS)

test-alerts: $(READY)  ## the alerts in a real Prometheus and a real Alertmanager
	@.ci/need prometheus prometheus-alertmanager
	@$(PYTEST) tests/alerts -m e2e_alerts

test-faults: $(READY)  ## faults thrown at the real command: disks, descriptors, clocks, memory, signals, floods (3 minutes)
	@.ci/need gcc libc6-dev
	@$(PYTEST) tests/faults -m "faults or not faults"

test-clients: $(READY)  ## senders of OTLP that others wrote at the real command: grpc-go, OpenTelemetry's SDK for Node, Rotel, h2load (2 minutes)
	@.ci/need golang-go golang-google-grpc-dev nodejs npm nghttp2-client
	@$(PYTEST) tests/clients -m clients

soak: $(READY)  ## 20,000 spans/s for an hour with reloads, GPU faults and senders that come and go; then floods, a standstill, a collector that is down: 20 minutes (MINUTES=60)
	@.ci/need gcc libc6-dev
	@MINUTES=$(or $(MINUTES),60) $(PYTEST) -o faulthandler_timeout=$(shell expr $(or $(MINUTES),60) \* 180) tests/soak -m soak -s

test-page: $(READY)  ## the status page in a real Chromium: figures, behaviour, accessibility
	@.ci/need chromium
	@$(PYTEST) --numprocesses 3 tests/page -m page

test-deploy: $(READY)  ## deploy/ by validators from npm, kubectl's kustomize, vmalert, every case of the chart's rules, the Compose demo's processes (3 minutes)
	@.ci/need prometheus nodejs npm victoria-metrics
	@$(PYTEST) tests/deploy -m deploy

coverage: $(READY)  ## the fast suite, and what it leaves untried
	@.ci/need prometheus prometheus-alertmanager gcc libc6-dev
	@$(PYTEST) --cov --cov-report=term --cov-fail-under=95

check: $(READY)  ## linters, types, import rules, generated files
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@for topic in config:configuration metrics:metrics servers:servers findings:findings; do \
	  $(BIN)/infermeter reference $${topic%:*} | diff -u docs/$${topic#*:}.md - || { echo "docs/$${topic#*:}.md is out of date: make docs" >&2; exit 1; }; \
	done
	@made=$$(mktemp -d) && trap 'rm -rf "$$made"' EXIT && $(BIN)/python -m dashboards.src "$$made" \
	  && diff -ur --exclude=src "$$made" dashboards || { echo "dashboards/*.json are out of date: make dashboards" >&2; exit 1; }
	@$(BIN)/python -m deploy.src --check
	@$(BIN)/python -m docs.src --check

stacks: $(READY)  ## what is generated under deploy/: rules, dashboards, overlays, the chart's files
	@$(BIN)/python -m deploy.src

dashboards: $(READY)  ## the Grafana dashboards, from dashboards/src
	@$(BIN)/python -m dashboards.src dashboards

test-live: $(READY)  ## every panel's query while a Prometheus scrapes the demo's scenarios (6 minutes)
	@.ci/need prometheus
	@$(PYTEST) -o faulthandler_timeout=900 tests/dashboards/test_demo.py -m live

format: $(READY)  ## ruff's fixes and formatting
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(READY)  ## the generated pages under docs/, the manual page and completion
	@$(BIN)/infermeter reference config > docs/configuration.md
	@$(BIN)/infermeter reference metrics > docs/metrics.md
	@$(BIN)/infermeter reference servers > docs/servers.md
	@$(BIN)/infermeter reference findings > docs/findings.md
	@mkdir -p $(SHARE)/man/man1 $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	@$(BIN)/infermeter reference man > $(SHARE)/man/man1/infermeter.1
	@$(BIN)/infermeter completion bash > $(SHARE)/bash-completion/completions/infermeter
	@$(BIN)/infermeter completion zsh > $(SHARE)/zsh/site-functions/_infermeter
	@$(BIN)/infermeter completion fish > $(SHARE)/fish/vendor_completions.d/infermeter.fish
	@$(BIN)/python -m docs.src

site: $(READY)  ## the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

fuzz: $(READY)  ## new inputs for every parser, some minutes (EXECUTIONS=20000)
	@.ci/need gcc libc6-dev
	@test -d .cache/atheris || $(BIN)/python -m pip install --quiet --target .cache/atheris atheris==3.0.0
	@for target in $(notdir $(wildcard tests/fuzz/corpus/*)); do echo "$$target"; \
		PYTHONPATH=.cache/atheris $(BIN)/python tests/fuzz/run.py $$target --executions $(or $(EXECUTIONS),20000) --seconds 60 || exit 1; done

lock: $(READY)  ## the locks anew, from the newest versions that pyproject.toml allows
	@$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager hatchling editables --editable '.[dev]'
	@{ grep '^#' requirements-dev.lock; $(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools; } > requirements-dev.new
	@mv requirements-dev.new requirements-dev.lock
	@$(MAKE) --no-print-directory lock-hashes

lock-hashes: $(READY)  ## what the image is made of, with hashes, in the versions of requirements-dev.lock
	@{ grep '^#' requirements.lock; $(COMPILE) pyproject.toml; } > requirements.new && mv requirements.new requirements.lock
	@{ grep '^#' deploy/image/build.lock; echo hatchling | $(COMPILE) -; } > build.new && mv build.new deploy/image/build.lock
	@for target in 311-x86_64 312-x86_64 313-x86_64 311-aarch64 312-aarch64 313-aarch64; do \
	  $(BIN)/python -m pip install --quiet --quiet --dry-run --ignore-installed --target .cache/none --only-binary :all: --require-hashes \
	    --python-version $${target%-*} $(foreach policy,2_17 2_28 2_34,--platform manylinux_$(policy)_$${target#*-}) --requirement requirements.lock \
	    || { echo "requirements.lock can't be installed on $$target" >&2; exit 1; }; \
	done

dist: $(READY)  ## wheel and source distribution, in dist/
	@rm -rf dist && SOURCE_DATE_EPOCH=$(DATE) $(BIN)/python -m build --no-isolation --outdir dist . > /dev/null && ls dist

sbom: dist  ## what the program is made of, as CycloneDX, in dist/: of the wheel in an environment of requirements.lock
	@rm -rf .cache/runtime && $(PYTHON) -m venv --without-pip .cache/runtime
	@$(BIN)/python -m pip --python .cache/runtime/bin/python install --quiet --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip --python .cache/runtime/bin/python install --quiet --no-deps --no-index dist/*.whl
	@SOURCE_DATE_EPOCH=$(DATE) $(BIN)/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --output-file dist/infermeter.cdx.json .cache/runtime

image: $(READY)  ## the container image (IMAGE=name:tag; PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:... pins its base)
	@$(BUILDER) build $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) --build-arg VERSION=$$($(BIN)/infermeter --version | cut -d ' ' -f 2) \
	  --build-arg REVISION=$$(git rev-parse HEAD) --build-arg SOURCE_DATE_EPOCH=$(DATE) --tag $(IMAGE) .

test-packaging: $(READY)  ## distributions built and installed in an environment of their own, completion in zsh and fish, the manual page, the SBOM
	@.ci/need python3-venv zsh fish mandoc shellcheck
	@$(PYTEST) tests/packaging -m packaging

test-kernel: $(READY)  ## that each comparison in the compiled decoder's C is needed: a test fails without it (half an hour at most)
	@.ci/need gcc libc6-dev
	@$(BIN)/python tests/fuzz/kernel_mutants.py

test-image: $(READY)  ## the image, built without a registry and run as a container would (root; five minutes the first time)
	@.ci/need buildah debootstrap
	@$(PYTEST) -o faulthandler_timeout=900 tests/packaging -m image

e2e: $(READY)  ## a real Triton, LitServe and MLServer beside the sidecar (installs 800 MB under .cache the first time)
	@.ci/need prometheus libpython3.11
	@$(PYTEST) tests/e2e -m e2e

e2e-vllm: $(READY)  ## a real vLLM on the CPU beside the sidecar (2 GB under .cache, some minutes)
	@.ci/need prometheus
	@$(PYTEST) tests/e2e -m e2e_vllm

e2e-servers: $(READY)  ## other real servers beside the sidecar, one after the other (each installed under .cache the first time; SERVER=mlserver for one)
	@.ci/need prometheus libpython3.11 cmake g++
	@$(PYTEST) -o faulthandler_timeout=1800 tests/e2e$(if $(SERVER),/test_$(SERVER).py) -m e2e_servers

bench: $(READY)  ## CPU seconds per million spans, resident memory, time to ready; on a quiet machine
	@$(BIN)/python bench/ingest.py
	@$(BIN)/python bench/footprint.py

clean:  ## removes .venv, caches and what end-to-end tests installed
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
