# Two commands are all a newcomer needs: `make demo` and `make test`. Both install what is missing.
# On a machine where you are not root they ask for sudo: the sandbox needs it (see docs/sandbox.md).

PYTHON := .venv/bin/python
# The tests of one fixture on one worker, and the longest first (tests/sharing.py). One worker more than there are cores:
# a third of the time each waits, for git or an instance. What passed leaves no files.
PYTEST := $(PYTHON) -m pytest -n $$(($$(nproc) + 1)) --dist loadgroup --no-loadscope-reorder \
  -o tmp_path_retention_policy=failed
# Some machines are set up to keep no bytecode. The tests start Python a thousand times.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

.PHONY: help demo packers test test-all quick soak check bench mutants lock schema config orb picture clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

# What is being made is told on stderr: stdout may be a target's answer, as that of `orb` is.
.venv/installed: requirements.lock pyproject.toml .ci/install
	@.ci/install >&2
	@touch $@

.venv/demo .venv/quick .venv/kinds: requirements.lock pyproject.toml .ci/install
	@.ci/install $(@F) >&2
	@touch $@

demo: .venv/demo ## Run the whole story in the sandbox, with the real Packer
	.ci/as-root $(PYTHON) -m reconciler demo

packers: .venv/installed ## Get the Packers that the tests run on: the archive's, and the current one (minutes, once)
	.ci/as-root $(PYTHON) -m reconciler packer
	.ci/as-root $(PYTHON) -m reconciler packer --current --plugin amazon --plugin ansible || [ -z "$$CI" ]

test: .venv/installed packers ## Run the tests, those that run Packer on both; what two would hardly tell apart on one
	.ci/as-root env TELL_KINDS=1 $(PYTEST) -m "not long" --junitxml=.reconciler/junit/tests.xml

test-all: .venv/kinds packers ## Run the rest: what takes its time, other kinds and Terraform against the real thing
	.ci/as-root $(PYTHON) -m reconciler packer --current --plugin docker --plugin vsphere
	@# What is emulated never waits: as many workers as there are cores.
	.ci/as-root env ALL_KINDS=1 $(PYTEST) -n auto -m "long or containers or disks or vsphere or terraform" --junitxml=.reconciler/junit/kinds.xml

# In memory, where there is room for what failed: the tests make three hundred thousand files.
MEMORY := $(shell test -w /dev/shm && test "$$(df --output=avail /dev/shm | tail -n 1)" -gt 2000000 && echo /dev/shm)
quick: .venv/quick ## Run the tests that take little time, and need no root, Packer, npm, Terraform, nor another kind's programs
	PYTEST_DEBUG_TEMPROOT=$${PYTEST_DEBUG_TEMPROOT:-$(MEMORY)} $(PYTEST) \
	  -p no:cacheprovider --hypothesis-profile=quick -m "not long and not thorough and not sandbox and not packer and not github and not containers and not disks and not vsphere and not terraform"

soak: .venv/installed ## Compare ten thousand random expressions with `packer console`, and play against forgers
	$(PYTHON) -m tests.soak
	$(PYTHON) -m tests.soak.hostile

check: .venv/installed ## Lint, types, and the architecture
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/check-jsonschema --builtin-schema vendor.circle-ci .circleci/config.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows examples/github-actions/images.yml
	.venv/bin/zizmor --offline --quiet examples/github-actions/images.yml
	$(PYTHON) .ci/orb.py inline --check
	$(PYTHON) -m reconciler.cli.schema --check

bench: .venv/installed ## Measure speed and memory against stated floors
	.ci/as-root $(PYTHON) -m tests.bench

mutants: .venv/quick ## Change what decides in 250 ways, one at a time: the quick tests have to notice (hours)
	nice $(PYTHON) -m tests.mutants

lock: .venv/installed ## Resolve the dependencies anew
	.venv/bin/pip install --quiet uv
	.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra sandbox --extra dev --upgrade --output-file requirements.lock pyproject.toml
	@# What a run needs, and what builds our own: wheels alone, of the same versions.
	echo 'setuptools>=77' | .venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --extra sandbox --extra vsphere --constraint requirements.lock \
	  --no-build --upgrade --output-file runtime.lock pyproject.toml -
	cd examples/validation && $(CURDIR)/.venv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --constraint ../../requirements.lock --upgrade \
	  --output-file requirements.lock requirements.txt

schema: .venv/installed ## Write docs/schema/ and docs/iam/ from the code
	$(PYTHON) -m reconciler.cli.schema
	$(PYTHON) -m reconciler.registries.ec2.trust docs/iam

config: .venv/quick ## Write the orb of .circleci/orb/ into .circleci/config.yml, or into CONFIG=FILE
	$(PYTHON) .ci/orb.py inline $(if $(CONFIG),"$(CONFIG)")

orb: .venv/quick ## Print the CircleCI orb as it is published; it installs this commit
	@$(PYTHON) .ci/orb.py pack

picture: .venv/installed ## Take the picture of the demo that the README shows
	.ci/as-root $(PYTHON) -m tests.integration.story.picture

clean: ## Remove the virtual environment, caches and test results
	.ci/as-root rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .reconciler/junit
