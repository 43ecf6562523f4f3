# The two commands of the README. Both set up .venv the first time; torch alone is several GB.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.ready

.PHONY: demo test clean

demo: $(STAMP)
	$(VENV)/bin/freezetui sample_ckpts/vgg_digits.pth

test: $(STAMP)
	$(VENV)/bin/python -m pytest

# torch first and together with torchvision: asked for alone, pip may pick a pair that does not match.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --upgrade --quiet pip
	$(VENV)/bin/python -m pip install --quiet torch torchvision
	$(VENV)/bin/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV)
