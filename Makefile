# The commands that the README names. `make` alone lists them.
#
# Everything is built in one target folder and, but for `make bench`, in one profile (dev):
# five hundred crates twice would cost a two-core machine another half hour.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

CARGO    ?= cargo
TOOLS    := $(CURDIR)/.tools
# zlib-ng, which pingora compresses with, is built by cmake. Where the machine has none, .ci/cmake
# puts one under .tools and prints its path; it prints nothing where PATH already has one.
WITH_CMAKE = cmake_found="$$(.ci/cmake)"; if [[ -n "$$cmake_found" ]]; then export CMAKE="$$cmake_found"; fi;

.PHONY: help
help: ## this list
	@echo "wicket: make TARGET"
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS='…'       passed on to 'wicket run' by 'make run', to the runner by 'make conformance'"
	@echo "  REQUIRE_ALL=1  a test that would be skipped for want of a tool fails instead"

.PHONY: run
run: servers ## build and start the gate with the example configuration; the first run makes an agent and shows its key once
	@$(WITH_CMAKE) $(CARGO) build --locked --bin wicket
	@install -d -m 700 data data/scratch # what the example file server may touch
	@exec target/debug/wicket run --first-run $(ARGS)

.PHONY: build
build: ## the debug build that run and test use
	@$(WITH_CMAKE) $(CARGO) build --locked --all-targets

.PHONY: servers
servers: ## the pinned example MCP servers (Node), into .tools/node; says so where Node is missing
	@.ci/tools servers --optional

.PHONY: more-servers
more-servers: ## what further shipped connectors start: git, time, fetch and motherduck (Python), into .tools/python/servers
	@.ci/tools more-servers

.PHONY: tools
tools: ## what the whole test suite needs: example and test servers, the clients, the conformance suite, schemathesis, cargo-audit, cargo-deny
	@.ci/tools all

.PHONY: test
test: ## format, lints, tests, doc tests; ends with a list of what was skipped and why
	@$(WITH_CMAKE) .ci/test

.PHONY: conformance
conformance: ## the official MCP suite, directly and through the gate, in every pairing of eras; target/conformance/report.md (ARGS='--only session-both --scenario prompts-list')
	@.ci/tools conformance
	@$(WITH_CMAKE) $(CARGO) build --locked --bin wicket
	@tests/conformance/run $(ARGS)

.PHONY: openapi
openapi: ## writes docs/openapi.json, the REST API's description, from what its handlers say
	@$(WITH_CMAKE) WICKET_TEST_ACCEPT=1 $(CARGO) test --locked --quiet --lib -- --exact control::api::openapi::tests::the_document_is_the_one_in_the_repository

.PHONY: authority
authority: ## writes docs/authority.txt, who may what over the REST API, from what the gate answers
	@$(WITH_CMAKE) WICKET_TEST_ACCEPT=1 $(CARGO) test --locked --quiet --test it -- --exact api_authority::everybody_may_what_the_table_says

.PHONY: api-fuzz
api-fuzz: ## schemathesis against the REST API, 20,000 cases by token and by browser; target/api-fuzz (CASES=, ARGS='--only token --seed 7')
	@.ci/tools api-fuzz
	@$(WITH_CMAKE) $(CARGO) build --locked --bin wicket
	@tests/api-fuzz/run --cases $${CASES:-20000} $(ARGS)

.PHONY: bench
bench: ## one call through the gate against a pass-through, nginx, HAProxy and Envoy; writes target/bench/exchange.{md,json,svg} (a release build, slow the first time; ROUNDS=, SECONDS_EACH=, RATE=, PLANES=pass,wicket, CHART=docs/exchange.svg)
	@.ci/tools envoy
	@$(WITH_CMAKE) WICKET_BENCH_ROUNDS=$(ROUNDS) WICKET_BENCH_SECONDS=$(SECONDS_EACH) WICKET_BENCH_RATE=$(RATE) \
	  WICKET_BENCH_PLANES="$(PLANES)" WICKET_BENCH_CHART="$(CHART)" $(CARGO) bench --locked --bench exchange

.PHONY: bench-parts
bench-parts: ## the parts: messages, decisions, the journal, and the gate's memory, lists and start; printed
	@$(WITH_CMAKE) $(CARGO) bench --locked --bench codec --bench decide --bench audit --bench simulate --bench whole

.PHONY: instructions
instructions: ## instructions of one decision and one exchange against the accepted counts (valgrind; ACCEPT=1 accepts new ones)
	@$(WITH_CMAKE) ACCEPT=$(ACCEPT) $(CARGO) test --locked --bench instructions

.PHONY: bench-decide
bench-decide: ## what a decision costs at 10 to 10,000 policies; what 10,000 cost to load, to keep and to edit (a release build)
	@$(WITH_CMAKE) $(CARGO) bench --locked --bench decide

.PHONY: differential-long
differential-long: ## 10 million decisions against plain Cedar (DIFFERENTIAL=); goes on where it was stopped, as target/differential says
	@mkdir -p target; $(WITH_CMAKE) WICKET_TEST_DIFFERENTIAL=$${DIFFERENTIAL:-10000000} WICKET_TEST_DIFFERENTIAL_NOTES=$(CURDIR)/target/differential \
	  $(CARGO) test --locked --lib -- --exact policy::oracle::tests::the_engine_says_what_plain_cedar_says --nocapture

.PHONY: structured-long
structured-long: ## 1 million decisions of structured policies against a reference and plain Cedar (STRUCTURED=, SEED= the first set)
	@$(WITH_CMAKE) WICKET_TEST_STRUCTURED=$${STRUCTURED:-1000000} WICKET_TEST_SEED=$${SEED:-0} \
	  $(CARGO) test --locked --lib -- --exact policy::structured::laws::a_form_and_its_cedar_decide_alike --nocapture

.PHONY: fuzz
fuzz: ## the same by libFuzzer, until it is stopped or for FUZZ_S seconds (nightly Rust and cargo-fuzz; a build of its own in target/fuzz)
	@.ci/pure target/lean --lean
	@mkdir -p fuzz/corpus/differential
	@$(CARGO) +nightly fuzz run --fuzz-dir fuzz --target-dir target/fuzz --sanitizer none differential \
	  fuzz/corpus/differential tests/corpus/differential -- -max_len=4096 -max_total_time=$${FUZZ_S:-0} -print_final_stats=1

.PHONY: mutants
mutants: ## cargo-mutants over the index, the slices, the caches and the engine; target/mutants.out (cargo-mutants; ARGS='-F src/policy/index')
	@tests/mutants/run $(ARGS)

.PHONY: malformed-long
malformed-long: ## 10 million malformed requests over sockets (MALFORMED_REQUESTS=, MALFORMED_SEED=)
	@$(WITH_CMAKE) WICKET_TEST_MALFORMED_REQUESTS=$${MALFORMED_REQUESTS:-10000000} WICKET_TEST_SEED=$${MALFORMED_SEED:-} \
	  $(CARGO) test --locked --test it -- --exact malformed::requests_at_random --nocapture

.PHONY: scale
scale: ## lists and questions over 100 agents, 10,000 members, 100,000 policies and 10 million calls, against 100 ms (SCALE_ROWS=, SCALE_AGENTS=, SCALE_MEMBERS=, SCALE_POLICIES=, SCALE_MS=, SCALE_CHANGE_MS=; a release build, or another by SCALE_BUILD=; 9 GB of disk and half an hour)
	@$(WITH_CMAKE) WICKET_TEST_SCALE_ROWS=$${SCALE_ROWS:-10000000} WICKET_TEST_SCALE_AGENTS=$${SCALE_AGENTS:-100} \
	  WICKET_TEST_SCALE_MEMBERS=$${SCALE_MEMBERS:-10000} WICKET_TEST_SCALE_POLICIES=$${SCALE_POLICIES:-100000} \
	  WICKET_TEST_SCALE_MS=$${SCALE_MS:-100} WICKET_TEST_SCALE_CHANGE_MS=$${SCALE_CHANGE_MS:-50} \
	  $(CARGO) test --locked $${SCALE_BUILD---release} --test it -- scale:: --nocapture --test-threads 1

.PHONY: reload-long
reload-long: ## 5 million decisions while bundles are swapped, each judged again (DECISIONS=)
	@$(WITH_CMAKE) WICKET_TEST_RELOAD_DECISIONS=$${DECISIONS:-5000000} \
	  $(CARGO) test --locked --lib -- proxy::snapshot --nocapture

.PHONY: kill-long
kill-long: ## 1,000 kill -9 of the gate under load, in both modes and on both databases (KILLS=); 100 of who writes the store, and of PostgreSQL (STORE_KILLS=)
	@$(WITH_CMAKE) WICKET_TEST_STORE_KILLS=$${STORE_KILLS:-100} \
	  $(CARGO) test --locked --lib -- store::tests::killed --nocapture --test-threads 1
	@$(WITH_CMAKE) WICKET_TEST_KILLS=$${KILLS:-1000} \
	  $(CARGO) test --locked --test it -- kill:: --nocapture --test-threads 1

.PHONY: audit
audit: ## licences, bans, sources and advisories of every dependency
	@.ci/tools audit
	@.ci/advisories

.PHONY: clean-tools
clean-tools: ## forget everything that was installed under .tools
	@rm -rf "$(TOOLS)"
