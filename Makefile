# The two commands that matter:   make compare     make test
# Everything here is also written out in README.md for typing by hand.
PYTHON ?= python3
WAV1 ?= examples/voice_a_1.wav
WAV2 ?= examples/voice_a_2.wav
MODEL ?= groove-ecapa
PIP = -m pip install --quiet --disable-pip-version-check

.PHONY: compare test check lint test-core test-peers test-browser model clean

# Base install only: no torch, no matplotlib. Exit status 1 of compare means "different voices".
compare: .venv/ready
	.venv/bin/groove compare "$(WAV1)" "$(WAV2)" --model "$(MODEL)"

# The whole of it: style, types, import contracts, every test, then the base install alone.
test: lint .venv-train/ready-dev model
	.venv-train/bin/python -m pytest -n auto --dist loadfile
	$(MAKE) test-core

check: test

lint: .venv-train/ready-dev
	.venv-train/bin/ruff format --check .
	.venv-train/bin/ruff check .
	.venv-train/bin/mypy
	.venv-train/bin/lint-imports

# The core tests in an environment that has the base install, and pytest.
test-core: .venv/ready model
	.venv/bin/python $(PIP) -r requirements/test-core.txt
	.venv/bin/python -m pytest -n auto --dist loadfile -m "not torch and not peers and not browser" --ignore=tests/training

# Peers' packages: makes the golden files again and compares; not part of CI.
test-peers: .venv-train/ready-dev model
	.venv-train/bin/python $(PIP) --no-deps -r requirements/peers.txt
	.venv-train/bin/python -m pytest -m peers

# The web page in a real Chromium (Debian: apt-get install chromium chromium-driver); not part of CI.
test-browser: .venv-train/ready-dev
	.venv-train/bin/python $(PIP) -r requirements/browser.txt
	.venv-train/bin/python -m pytest -m browser

# Another model, for the tests that need it: converting it needs torch, once.
model: .venv/ready
	@.venv/bin/groove models show campplus-zh-en --json | grep -q '"hash_matches": true' || \
	  { $(MAKE) .venv-train/ready && .venv-train/bin/groove models pull campplus-zh-en; }

.venv/ready: requirements/base.txt pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) -r requirements/base.txt -e .
	@touch $@

.venv-train/ready: requirements.txt requirements/base.txt pyproject.toml
	$(PYTHON) -m venv .venv-train
	.venv-train/bin/python $(PIP) -r requirements.txt
	@touch $@

.venv-train/ready-dev: .venv-train/ready requirements/dev.txt
	.venv-train/bin/python $(PIP) -r requirements/dev.txt
	@touch $@

clean:
	rm -rf .venv .venv-train build *.egg-info
