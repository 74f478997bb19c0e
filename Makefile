# make setup   create .venv and install everything, pinned        make demo    distil a BBC topic classifier, here
# make test    the whole test suite                                make check   lint, types, arrows, then the tests
# make bench   measurements, into docs/benchmarks.md
.PHONY: setup demo test check lint bench clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
unexport PYTHONDONTWRITEBYTECODE

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m compileall -q azure_distill components
	touch $@

demo: $(READY)
	@$(BIN)/python jobs/bbc_topics_data.py
	@$(BIN)/azure-distill run jobs/bbc_topics.yaml

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy azure_distill components tests
	PYTHONPATH=.:components:components/prepare_data:components/teacher_inference:components/student_finetune:components/evaluation \
		$(BIN)/lint-imports

check: lint test

bench: $(READY)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache
