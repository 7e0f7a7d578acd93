# Roomwire. `make help` lists the commands; each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FETCH := $(BIN)/python tools/fetch.py
export PIP_DISABLE_PIP_VERSION_CHECK = 1
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev serve test test-fast check bench bench-quick screenshot format docs lock clean faults upgrade cluster audit sbom

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Roomwire needs Python 3.11 or newer: make PYTHON=/path/to/python3.12 ..."; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python cannot make virtual environments: install your system's python3-venv package."; exit 2; }
	@$(PYTHON) -m venv $(VENV) && touch $@

$(VENV)/runtime.stamp: $(VENV)/python.stamp requirements/runtime.txt tools/link_package.py
	@echo "Installing what the server needs (the first time only) ..."
	@$(FETCH) $(BIN)/pip install -q --require-hashes --no-deps -r requirements/runtime.txt
	@$(BIN)/python tools/link_package.py && touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp requirements/dev.txt
	@echo "Installing what the tests need (the first time only) ..."
	@$(FETCH) $(BIN)/pip install -q --require-hashes --no-deps -r requirements/dev.txt && touch $@

$(VENV)/bench.stamp: $(VENV)/runtime.stamp requirements/bench.txt
	@echo "Installing what the benchmarks need (the first time only) ..."
	@$(FETCH) $(BIN)/pip install -q --require-hashes --no-deps -r requirements/bench.txt && touch $@

build/audit/tools.stamp: $(VENV)/python.stamp requirements/audit.txt
	@echo "Installing what looks into the dependencies (the first time only) ..."
	@$(PYTHON) -m venv build/audit && $(FETCH) build/audit/bin/pip install -q --require-hashes --no-deps -r requirements/audit.txt && touch $@

web/node_modules/.stamp: web/package-lock.json | $(VENV)/runtime.stamp
	@echo "Fetching what builds the browser client (the first time only) ..."
	@cd web && ../$(BIN)/python ../tools/fetch.py ../$(BIN)/npm ci --silent --no-audit --no-fund && touch node_modules/.stamp

realtime/web/index.html: web/node_modules/.stamp $(WEB_SOURCES)
	@cd web && ../$(BIN)/npm run --silent build -- --logLevel warn && touch ../$@

setup: $(VENV)/runtime.stamp realtime/web/index.html ## make the environment in .venv and build the browser client

setup-dev: setup $(VENV)/dev.stamp ## the same with what the tests need, and a browser where that may be installed
	@sh tools/install_browser.sh
	@sh tools/install_balancers.sh

serve: setup ## start one node with its own PostgreSQL and Redis on http://127.0.0.1:8000
	@exec $(BIN)/python -m realtime serve

cluster: setup ## PostgreSQL, Redis, three nodes and nginx on http://127.0.0.1:8000, to play with
	@sh tools/install_balancers.sh
	@exec $(BIN)/python tools/cluster.py

check: $(VENV)/dev.stamp ## format, lint, types and imports, in seconds
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q . && $(BIN)/mypy && $(BIN)/lint-imports

test-fast: $(VENV)/dev.stamp ## the tests that need nothing running, under a minute
	@$(BIN)/pytest -q tests/unit

test: setup-dev check ## every check and every test: real PostgreSQL, Redis, browser and clients
	@cd web && ../$(BIN)/npm run --silent check && ../$(BIN)/npm test --silent
	@mkdir -p build; $(BIN)/pytest tests/browser >build/browser-tests.log 2>&1 & browser=$$!; \
	$(BIN)/pytest tests/unit tests/conformance tests/integration tests/cluster; others=$$?; \
	echo "tests/browser, which ran beside the others:"; wait $$browser; in_browser=$$?; \
	if [ $$in_browser = 0 ]; then tail -n 1 build/browser-tests.log; else cat build/browser-tests.log; exit 1; fi; exit $$others

bench: setup $(VENV)/bench.stamp ## measure this server and its peers, about 15 minutes; reports in .bench/
	@$(BIN)/python -m loadtest bench

bench-quick: setup $(VENV)/bench.stamp ## the same with Node alone and less of everything, under 2 minutes
	@$(BIN)/python -m loadtest bench --quick --out .bench/quick

faults: setup-dev ## break and attack everything under load, 32 minutes at most: a table, and build/faults/report.html
	@$(BIN)/python -m tests.cluster.lab $(FAULTS)

upgrade: setup-dev ## replace nodes of the release before by these under load, and back: FROM=tag, or UPGRADE="--checkout FOLDER"
	@$(BIN)/python -m tests.cluster.upgrade $(if $(FROM),--from $(FROM)) $(UPGRADE)

screenshot: setup-dev ## take the pictures of the documentation anew, with the browser test and a cluster
	@mkdir -p docs/images && SCREENSHOT_TO=docs/images $(BIN)/pytest tests/browser -k two_people_chat
	@$(BIN)/python -m tests.browser.pictures docs/images
	@test ! -f build/faults/report.html || $(BIN)/python -m tests.browser.pictures docs/images build/faults/report.html

audit: setup build/audit/tools.stamp ## look for known faults in the locked dependencies
	@$(BIN)/python tools/supply_chain.py audit --tools build/audit/bin --npm $(BIN)/npm

sbom: setup build/audit/tools.stamp ## write what the server is made of to build/sbom.json (CycloneDX)
	@$(BIN)/python tools/supply_chain.py sbom --tools build/audit/bin --npm $(BIN)/npm

format: $(VENV)/dev.stamp ## put the code into its form
	@$(BIN)/ruff format -q . ; $(BIN)/ruff check -q --fix .

docs: $(VENV)/dev.stamp ## write the generated pages anew, and the schema that the migrations make
	@$(BIN)/python tools/generate_docs.py && $(BIN)/python tools/schema.py

lock: $(VENV)/python.stamp ## resolve the dependencies anew into requirements/*.txt
	@$(BIN)/pip install -q uv
	@for set in "runtime pyproject.toml" "bench pyproject.toml" "dev pyproject.toml" audit; do set -- $$set; \
		$(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --all-extras \
		--no-emit-index-url --no-header --no-annotate requirements/$$1.in $$2 -o requirements/$$1.txt; done

clean: ## remove what was built (not the data)
	@rm -rf $(VENV) web/node_modules realtime/web .mypy_cache .ruff_cache .pytest_cache
