# What each target does is in README.md; everything runs from .venv, which set-up makes.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory --no-builtin-rules

# Every worker and child of the tests compiles what it reads, unless the first one may keep it.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A user-wide PIP_USER would send packages to the home folder instead of the virtualenv.
PIP_INSTALL := env -u PIP_USER $(PYTHON) -m pip --python $(BIN)/python \
	--disable-pip-version-check -qq install --root-user-action=ignore
POLICIES := $(filter-out %_test.yaml,$(wildcard config/policies/*.yaml))
SEEDS ?= 50
FIRST ?= 0
N ?= 2000
HOURS ?= 24
ONLY ?= *

.PHONY: demo test check sim shrink faults figures mutants day browser fuzz bench docs lock system-deps setup

demo: setup
	@$(BIN)/liqguard demo

# More workers than cores: many tests wait for sockets and processes.
test: setup
	@$(BIN)/python -m pytest -q -n 4 --dist worksteal --ignore=tests/browser

check: setup
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary bot strategies tests bench docs
	@out=$$($(BIN)/lint-imports --no-logo 2>&1) || { printf '%s\n' "$$out" >&2; exit 1; }
	@$(BIN)/liqguard check $(POLICIES)
	@$(BIN)/liqguard test $(POLICIES)

sim: setup
	@$(BIN)/python tests/sim/run.py --seeds $(SEEDS) --first $(FIRST)

# Of a seed that breaks a promise: the least of its mishaps that still breaks it.
shrink: setup
	@$(BIN)/python tests/sim/run.py --shrink $(SEED)

# Every wait of the write path, met by every fault.
faults: setup
	@$(BIN)/python tests/faults/awaits.py --jobs 2

# A live guard's day, compressed: nothing may grow, and no stream may be stuck.
day: setup
	@$(BIN)/python -m tests.faults.day --hours $(HOURS)

# How fast the guard is, and how often too late: docs/crises.md has the numbers.
figures: setup
	@$(BIN)/python tests/figures/run.py

# Looks at the report in a headless Chromium, with no network; skips, and says so, without one.
browser: setup
	@$(BIN)/python -m pytest -q -rs tests/browser

# N changed policy files, and N changed payloads of a venue.
fuzz: setup
	@$(BIN)/python tests/policy/fuzz.py --files $(N) --first $(FIRST)
	@$(BIN)/python tests/exchange/live/fuzz.py --payloads $(N) --first $(FIRST)

bench: setup
	@for file in bench/$(ONLY).py; do echo "$$file"; $(BIN)/python "$$file"; done

# Rewrites what is made from the code; the tests hold the files to it.
docs: setup
	@$(BIN)/python docs/reference.py
	@$(BIN)/python docs/venues.py
	@$(BIN)/python docs/faults.py
	@$(BIN)/liqguard schema > config/policy.schema.json

# Every planted bug must be caught by one of these seeds, or by each of the tests that it names.
mutants: setup
	@$(BIN)/python tests/sim/mutants.py --seeds $(SEEDS) --first $(FIRST)

# Rewrites requirements.lock; --no-emit-* keep hosts and paths of the machine that ran it out.
lock: setup
	@$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--output-file requirements.lock pyproject.toml

# What pip does not bring: the browser of `make browser`, and a font for it to measure text by.
system-deps:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
		|| command -v google-chrome >/dev/null || { \
		command -v apt-get >/dev/null || { echo "system-deps: expected apt-get, or a Chromium" >&2; exit 1; }; \
		apt-get -qq update; \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
			chromium fonts-dejavu-core >/dev/null; }

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "set-up: needs Python >= 3.11 as $(PYTHON), was '$$($(PYTHON) --version 2>&1 || true)'" >&2; exit 1; }
	@$(PYTHON) -c 'import pip, sys; sys.exit([int(part) for part in pip.__version__.split(".")[:2]] < [22, 3])' 2>/dev/null \
		|| { echo "set-up: needs pip >= 22.3 for $(PYTHON), was '$$($(PYTHON) -m pip --version 2>&1 || true)'" >&2; exit 1; }
	@echo "set-up: installing into $(VENV) from requirements.lock"
	@$(PYTHON) -m venv --without-pip --clear $(VENV)
	@$(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
