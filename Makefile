# Each target sets up the environment that it needs the first time; torch alone is several GB.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.ready

# The oldest supported Python that is found, on PATH or from pyenv; otherwise PYTHON.
LOWEST_PYTHON ?= $(shell for python in python3.10 "$$HOME"/.pyenv/versions/3.10.*/bin/python $(PYTHON); do \
	"$$python" -c "" 2>/dev/null && echo "$$python" && break; done)
LOWEST := .venv-lowest
LOWEST_TORCH := .venv-lowest-torch

.PHONY: demo test test-lowest test-lowest-torch lint format clean

demo: $(STAMP)
	$(VENV)/bin/freezetui sample_ckpts/vgg_digits.pth

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# With the oldest dependencies that pyproject.toml allows, without torch and its several GB.
test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python -m pytest -m "not torch and not snapshot"

# The rest with the oldest torch: too large for every run, so run it when a bound changes.
test-lowest-torch: $(LOWEST_TORCH)/.ready
	$(LOWEST_TORCH)/bin/python -m pytest -m "not snapshot" tests/engine tests/models tests/sanity tests/training

lint: $(STAMP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# torch first and together with torchvision: installed separately, pip may pick mismatched versions.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --upgrade --quiet pip
	$(VENV)/bin/python -m pip install --quiet torch torchvision
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

# An override with a marker that is never true keeps torch out.
$(LOWEST)/.ready: pyproject.toml
	$(LOWEST_PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	printf '%s; python_version < "3"\n' torch torchvision > $(LOWEST)/without-torch.txt
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct \
		--override $(LOWEST)/without-torch.txt --editable '.[test]'
	touch $@

$(LOWEST_TORCH)/.ready: pyproject.toml
	$(LOWEST_PYTHON) -m venv --clear $(LOWEST_TORCH)
	$(LOWEST_TORCH)/bin/python -m pip install --quiet uv
	$(LOWEST_TORCH)/bin/uv pip install --python $(LOWEST_TORCH)/bin/python --resolution lowest-direct \
		--editable '.[test,transformers]'
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(LOWEST_TORCH)
