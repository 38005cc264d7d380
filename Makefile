# make demo | test | check | cuda-check | cuda-test | bench NAME=... | setup | clean
# Everything lives in .venv inside the checkout; nothing is changed outside it.
PYTHON ?= python3
TORCH ?= 2.13.0
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
SOURCES := $(shell find medseg/csrc -type f 2>/dev/null) setup.py pyproject.toml

.PHONY: setup demo test check format cuda-check cuda-test bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: $(SOURCES) .ci/setup.sh
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" VENV="$(VENV)" bash .ci/setup.sh
	@touch $@

demo: setup
	$(BIN)/medseg demo -o demo_output --overwrite

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PY) .ci/format_json.py --check $$(git ls-files '*.json')
	$(BIN)/mypy

test: check
	$(PY) -m pytest

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(PY) .ci/format_json.py $$(git ls-files '*.json')

cuda-check: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PY) -m tests.cuda_emulation.check

cuda-test: setup
	$(PY) -m pytest tests/ops/test_device*.py tests/layers/test_quadtree_conv_device.py --device cuda -rA

bench: setup
	$(PY) -m benchmarks.$(NAME) $(ARGS)

clean:
	rm -rf $(VENV) build demo_output *.egg-info
	find . -name '*.so' -not -path './.git/*' -delete
