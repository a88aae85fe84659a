# make demo    the whole path on the generated sample corpus, in minutes on two CPU cores
# make test    both environments, linters, type check, all tests
# make test-cerebras   the tests beside cerebras-pytorch alone (Python 3.11)
# make check   linters and type check alone
# make clean   remove what the demo made (the environment stays)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CEREBRAS := .venv-cerebras
PYTHON311 ?= $(shell command -v python3.11)
SOURCES := setup.py $(wildcard modelzoo_mediswift/kernels/*.[ch])  # compiled on installation
DEMO := build/demo
DATA := $(BIN)/python -m data_preprocessing

.PHONY: demo test test-cerebras check clean
.DELETE_ON_ERROR:

$(VENV)/.installed: setup.cfg pyproject.toml $(SOURCES) constraints/local.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints/local.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints/local.txt --editable ".[dev]"
	touch $@

# The Cerebras release and its old companions, beside the environment that is used otherwise.
$(CEREBRAS)/.installed: setup.cfg pyproject.toml $(SOURCES) constraints/cerebras.txt
	@test -n "$(PYTHON311)" || { echo "cerebras-pytorch needs python3.11 on PATH"; exit 1; }
	$(PYTHON311) -m venv $(CEREBRAS)
	$(CEREBRAS)/bin/python -m pip install --quiet --constraint constraints/cerebras.txt \
	    --editable ".[cerebras,test]"
	touch $@

# --- The demo: each step is a command that a user would type. A step that is done is not repeated.

$(DEMO)/sample/MANIFEST.json: | $(VENV)/.installed
	$(DATA) sample $(DEMO)/sample

$(DEMO)/parsed/counts.json: $(DEMO)/sample/MANIFEST.json
	$(DATA) parse $(DEMO)/sample/pubmed $(DEMO)/sample/pmc -o $(DEMO)/parsed

$(DEMO)/merged/counts.json: $(DEMO)/parsed/counts.json
	$(DATA) merge $(DEMO)/parsed -o $(DEMO)/merged \
	    --exclude_pmids $(DEMO)/sample/pubmedqa/test_ground_truth.json

$(DEMO)/tokenizer.json: $(DEMO)/merged/counts.json
	$(DATA) tokenizer $(DEMO)/merged -o $@ --vocab_size 2048

$(DEMO)/pretrain_data/validation/data_params.json: $(DEMO)/tokenizer.json
	$(DATA) pack $(DEMO)/merged -t $(DEMO)/tokenizer.json -o $(DEMO)/pretrain_data \
	    --max_sequence_length 256

$(DEMO)/finetune_data/test/data_params.json: $(DEMO)/tokenizer.json
	$(DATA) finetune pubmedqa $(DEMO)/sample/pubmedqa -t $(DEMO)/tokenizer.json \
	    -o $(DEMO)/finetune_data --max_sequence_length 256

$(DEMO)/pretrain/checkpoint_300/meta.json: params/tiny_s75.yaml \
    $(DEMO)/pretrain_data/validation/data_params.json
	$(BIN)/python run.py CPU --params params/tiny_s75.yaml

$(DEMO)/finetune/checkpoint_400/meta.json: params/finetune/pubmedqa_tiny.yaml \
    $(DEMO)/pretrain/checkpoint_300/meta.json $(DEMO)/finetune_data/test/data_params.json
	$(BIN)/python run.py CPU --params params/finetune/pubmedqa_tiny.yaml --resume

# Before and after fine-tuning. `%` is a run and its last step, such as pretrain/checkpoint_300.
$(DEMO)/%.scored: $(DEMO)/%/meta.json
	$(BIN)/mediswift evaluate $(<D) --task pubmedqa --data $(DEMO)/sample/pubmedqa \
	    --tokenizer $(DEMO)/tokenizer.json --batch_size 32
	touch $@

demo: $(DEMO)/pretrain/checkpoint_300.scored $(DEMO)/finetune/checkpoint_400.scored
	@$(BIN)/mediswift report $(DEMO)/pretrain $(DEMO)/finetune \
	    --corpus $(DEMO)/merged/counts.json --output $(DEMO)/report

# --- Checks

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check test-cerebras
	$(BIN)/pytest

# What a CS system is concerned with, and the data stages on the older pyarrow and h5py.
test-cerebras: $(CEREBRAS)/.installed
	$(CEREBRAS)/bin/python -m pytest tests/cerebras tests/checkpoint tests/cli tests/config \
	    tests/data tests/engine tests/kernels tests/model tests/optim tests/plan tests/sparsity tests/trainer \
	    $(patsubst %,tests/data_preprocessing/test_%.py,records parse merge pack finetune) \
	    tests/test_architecture.py

clean:
	rm -rf build
