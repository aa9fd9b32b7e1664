# Everything starts here: `make train` and `make test` set up what they need on a fresh machine.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= quickstart,tagging,dev

bin := $(VENV)/bin
pip := $(bin)/python -m pip install --quiet --disable-pip-version-check
installed := $(VENV)/.installed

OUT ?= runs/benchmarks

.PHONY: help setup train test test-all fmt lint types check bench bench-gpu clean

help:  ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The constraints hold while building, too: the library in C++ is compiled with the headers of the jaxlib that will run it.
setup: $(installed)  ## Virtual environment with everything in it, at the versions of constraints.txt
$(installed): pyproject.toml setup.py constraints.txt $(wildcard jaxrnn/core/kernels/native/source/*)
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(pip) -e '.[$(EXTRAS)]'
	@touch $@

train: setup  ## The quickstart: trains on BBC news, five classes, in about a minute
	$(bin)/python -m jaxrnn.train configs/quickstart.toml

test: setup  ## The tests, in 7 minutes on 2 cores
	$(bin)/python -m pytest

test-all: setup  ## The slow tests too
	$(bin)/python -m pytest -m 'not gpu'

fmt: setup  ## Format the code
	$(bin)/ruff format .

lint: setup  ## Formatting, style, and which part may import which
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/lint-imports

types: setup  ## Static types
	$(bin)/pyright

check: lint types test  ## All that CI checks

bench: setup  ## The benchmarks, in under 10 minutes on 2 cores: OUT=FOLDER, and DATA=IMDB if it is at hand
	$(bin)/python -m benchmarks.run short --out $(OUT) $(if $(DATA),--data $(DATA))
	$(bin)/python -m benchmarks.report $(OUT)

bench-gpu:  ## The GPU benchmarks, in under 8 minutes: OUT=FOLDER, PYTHON=one with JAX and PyTorch for the GPU
	$(PYTHON) -m benchmarks.run gpu --out $(OUT)

clean:  ## Remove the virtual environment and caches, not the runs
	rm -rf .venv .venv313 build *.egg-info .pytest_cache .ruff_cache .hypothesis jaxrnn/core/kernels/native/compiled/*.so
