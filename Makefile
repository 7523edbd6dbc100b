# Every target sets itself up in .venv, from Python 3.11 or newer and the package registries alone.
#   make demo    takes the example song apart through the streaming engine and measures the result
#   make test    lint, types and all tests: what CI runs
#   make check   the same without the slow tests
#   make bench   measures this machine for some twenty minutes, and writes the tables; PARTS="steps peers" for some of it

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
REFERENCE := $(wildcard requirements-reference.txt)
EXAMPLE := examples/lithium
# 1 where packages can be installed, so that nothing that needs them may be skipped.
ROOT_ON_DEBIAN := $(shell [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo 1)

.DEFAULT_GOAL := help
.PHONY: help demo test check bench lint clean ffmpeg audio browser
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.streamsep
	$(BIN)/streamsep stream $(EXAMPLE)/mix.ogg -o demo --stems $(EXAMPLE)

test: lint ffmpeg audio browser
	STREAMSEP_REQUIRE_REFERENCE=1 STREAMSEP_REQUIRE_AUDIO=$(ROOT_ON_DEBIAN) STREAMSEP_REQUIRE_BROWSER=$(ROOT_ON_DEBIAN) \
	  $(BIN)/python -m pytest -n auto --durations 15

check: lint
	STREAMSEP_REQUIRE_REFERENCE=1 $(BIN)/python -m pytest -n auto -m "not slow and not gpu and not audio"

bench: $(VENV)/.streamsep-bench
	$(BIN)/python -m benchmarks.run_all $(PARTS)

lint: $(VENV)/.streamsep-test
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.streamsep: pyproject.toml | $(BIN)/python
	@echo "installing streamsep into $(VENV) (a few minutes the first time)"
	$(PIP) --editable '.[onnx]'
	@touch $@

$(VENV)/.streamsep-test: pyproject.toml $(REFERENCE) | $(BIN)/python
	@echo "installing streamsep and its tests into $(VENV) (a few minutes the first time)"
	$(PIP) --editable '.[test]'
	$(if $(REFERENCE),$(PIP) --no-deps --requirement $(REFERENCE))
	@touch $@ $(VENV)/.streamsep

$(VENV)/.streamsep-bench: pyproject.toml requirements-peers.txt $(REFERENCE) | $(BIN)/python
	@echo "installing streamsep and what it is measured against into $(VENV) (a few minutes the first time)"
	$(PIP) --editable '.[evaluation,live,onnx]'
	$(PIP) --no-deps --requirement requirements-peers.txt
	$(if $(REFERENCE),$(PIP) --no-deps --requirement $(REFERENCE))
	@touch $@ $(VENV)/.streamsep

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "streamsep needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(call system,python3-venv) || exit 1
	$(PYTHON) -m venv $(VENV)

# Only the formats that libsndfile does not read need ffmpeg, so the tests that use it skip themselves without it.
ffmpeg:
	@command -v ffmpeg >/dev/null || $(call system,ffmpeg) || echo "continuing without ffmpeg"

# Virtual sound devices for the tests of real ones, and the library that plays soundfonts; tests skip themselves without.
audio:
	@{ command -v jackd && ls /usr/lib/*/libportaudio.so.2 /usr/lib/*/libfluidsynth.so.3; } >/dev/null 2>&1 \
	  || $(call system,libportaudio2 jackd2 libfluidsynth3) \
	  || echo "continuing without audio devices"

# The comparison's page is looked at in a real browser.
browser:
	@command -v chromedriver >/dev/null || $(call system,chromium chromium-driver) || echo "continuing without a browser"

# Installs Debian packages as root, or names the command; fails unless it was installed.
system = { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	  then echo "installing $(1) with apt"; \
	    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends install -y $(1); } >/dev/null; \
	  else echo "$(1) is missing; install it: sudo apt-get install $(1)" >&2; false; fi; }
