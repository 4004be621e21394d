# `make run` starts Atlas, `make test` tests it; both set up what they need first. `make help` lists the rest.
SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
# Tests start hundreds of processes: each reads what it imports from the cache, also where caches are switched off.
TESTED := env -u PYTHONDONTWRITEBYTECODE $(PYTHON)
# Tests with a broker wait more than they compute, so two for each core keep the cores busy.
WORKERS ?= 4
READY := $(VENV)/.installed
CLIENTS := tests/clients/node_modules/.installed
EDGE_WORKER := deploy/edge-worker/node_modules/.installed
CODE := bench cli deploy domain ingest_gateway operations processors schemas tests

.DEFAULT_GOAL := help
.PHONY: help setup broker run test test-slow test-unit chaos lint format docs requirements bench bench-latency bench-delivery bench-auth bench-read-model bench-edge test-edge-worker lock lock-bench clean
.PHONY: bench-spine bench-streams bench-work clients client-types fuzz

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Virtual environment and packages (nothing to do while requirements.lock stands)
	@:

$(READY): requirements.lock pyproject.toml deploy/local/setup.sh
	@deploy/local/setup.sh $(VENV)
	@touch $(READY)

broker: $(READY) ## The Kafka broker's jars and their archive of classes, and Java and Maven where we may install them
	@$(PYTHON) -m deploy.local.class_archive

run: $(READY) ## Start everything on this machine; Ctrl-C stops it
	@exec $(VENV)/bin/atlas up

test: broker $(CLIENTS) $(EDGE_WORKER) ## The tests, against a real broker (WORKERS)
	@echo "atlas: running the tests" >&2
	@$(TESTED) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder -rs -m "not slow" tests

test-slow: broker $(CLIENTS) ## The tests that take minutes: kills, restarts, rebuilds, every step of the retry schedule
	@$(TESTED) -m pytest -n 2 --dist loadgroup --no-loadscope-reorder -rs -m slow tests

test-unit: $(READY) ## The tests that need no broker, in a minute
	@$(TESTED) -m pytest -n 2 -rs tests/unit

chaos: broker ## Kill admission 50 times, then broker, gateway and processors in turn, under load; check that nothing was lost or doubled (CHAOS_ROUNDS, CHAOS_SEED)
	@CHAOS_ROUNDS=$${CHAOS_ROUNDS:-50} $(PYTHON) -m pytest -n 0 tests/chaos

lint: $(READY) ## ruff (style, format) and mypy (types)
	@$(PYTHON) -m ruff check $(CODE)
	@$(PYTHON) -m ruff format --check $(CODE)
	@$(PYTHON) -m mypy

format: $(READY) ## Put the code in ruff's format
	@$(PYTHON) -m ruff check --fix $(CODE)
	@$(PYTHON) -m ruff format $(CODE)

docs: $(READY) ## Write docs/reference.md, docs/deliveries.md, the APIs' promises, the client's operations, what the edge worker forwards and the Grafana dashboard anew
	@$(PYTHON) -m tests.traceability.reference
	@$(PYTHON) -m tests.traceability.deliveries
	@$(PYTHON) -m tests.traceability.promises
	@$(PYTHON) -m tests.traceability.client
	@$(PYTHON) -m tests.traceability.edge_worker
	@$(PYTHON) -m deploy.grafana.dashboard

requirements: $(READY) ## Which rows of docs/requirements.md the last test run shows, and which none does yet
	@$(PYTHON) -m tests.traceability.report

bench: broker ## Admission beside stock Faust and quixstreams, its latency, recovery, memory, streams (PARTS=throughput,latency)
	@$(PYTHON) -m bench.admission --parts "$(PARTS)"

bench-latency: broker ## Time from the 202 to the first delivery, at 100 events a second
	@$(PYTHON) -m bench.latency

bench-delivery: broker ## Deliveries a second and a core, isolation from bad endpoints, memory of 100,000 that wait
	@$(PYTHON) -m bench.delivery

bench-auth: $(READY) ## What authentication and limits add to a request
	@$(PYTHON) -m bench.authentication

bench-read-model: $(READY) ## Projection, rebuild, reads, accepted to visible: SQLite and PostgreSQL, bare drivers beside
	@$(PYTHON) -m bench.read_model

bench-edge: broker ## The edge proxy beside a direct call, and beside LiteLLM's proxy where it can be installed
	@$(PYTHON) -m bench.edge

test-edge-worker: $(EDGE_WORKER) ## The Cloudflare Worker, in the runtime that Cloudflare uses (needs Node.js 20)
	@cd deploy/edge-worker && npm test

$(EDGE_WORKER): deploy/edge-worker/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo "atlas: there is no npm, so the tests of the edge worker are skipped" >&2; \
	elif (cd deploy/edge-worker && npm ci --fetch-retries 1 --fetch-retry-mintimeout 1000) >&2; then touch $@; \
	else echo "atlas: the edge worker's packages could not be installed, so its tests are skipped" >&2; fi

bench-spine: broker ## Matching of 100,000 subscriptions beside a loop; 50 live readers, one stalled (PARTS=matching,readers)
	@$(PYTHON) -m bench.spine $(if $(PARTS),--parts $(PARTS))

bench-work: broker ## Creating a task, its verdict included, at 100 a second
	@$(PYTHON) -m bench.work

bench-streams: broker ## Keyed events while streams are created: an older commit (BASE=…) and this tree in one run
	@$(PYTHON) -m bench.streams $(if $(BASE),--base $(BASE))

client-types: $(CLIENTS) ## Write the types of the TypeScript client anew from the work API's document (needs Node and npm)
	@tests/clients/node_modules/.bin/openapi-typescript schemas/openapi/work.yaml -o clients/typescript/openapi.d.ts

clients: ## Other people's programs for tests: newman and Redocly's linter (needs Node and npm)
	@cd tests/clients && npm ci --no-audit --no-fund --ignore-scripts --fetch-retries 1 --fetch-retry-mintimeout 1000

# Once for each lock. Without npm, or without a registry, the tests that need them are skipped, and say so.
$(CLIENTS): tests/clients/package-lock.json
	@if ! command -v npm >/dev/null; then \
		echo "atlas: there is no npm, so the tests with newman and Redocly's linter are skipped" >&2; \
	elif $(MAKE) --no-print-directory clients >&2; then touch $@; \
	else echo "atlas: newman and Redocly's linter could not be installed, so their tests are skipped" >&2; fi

fuzz: broker ## Schemathesis against every API, long (ATLAS_FUZZ_EXAMPLES)
	@ATLAS_FUZZ_EXAMPLES=$${ATLAS_FUZZ_EXAMPLES:-200} $(PYTHON) -m pytest -n 0 --timeout 1800 tests/contract/work/test_fuzz.py

lock: $(READY) ## Write requirements.lock anew from pyproject.toml
	@$(VENV)/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
		--strip-extras --allow-unsafe --extra dev --extra export --extra postgresql --output-file requirements.lock pyproject.toml

lock-bench: $(READY) ## Write the lock of what the bench is compared with anew
	@cd bench/admission/peers && $(CURDIR)/$(VENV)/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --strip-extras --allow-unsafe --output-file quixstreams.lock quixstreams.in
	@cd bench/edge && $(CURDIR)/$(VENV)/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --strip-extras --allow-unsafe --output-file litellm.lock litellm.in

.PHONY: bench-guardrails
bench-guardrails: broker ## What guardrails find and miss, calls a second and a core, memory of 100,000 organizations, time to a flag
	@$(PYTHON) -m bench.guardrails --live

.PHONY: bench-peers
bench-peers: broker ## The gateway beside an older commit's (BASE=…), a bare one and Benthos (ROUNDS, SECONDS, COUNT, PARTS, OUT)
	@$(PYTHON) -m bench.peers

clean: ## Remove what was set up and built; .atlas, where a run keeps its data, stays
	rm -rf $(VENV) deploy/kafka/jars .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build tests/clients/node_modules deploy/edge-worker/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
