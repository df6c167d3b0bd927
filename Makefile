# Every target runs a script: read scripts/ for the details.

.DEFAULT_GOAL := help
# Versions of the servers, for every target that starts servers: scripts/debian.sh.
export RABBITMQ POSTGRES
.PHONY: help demo test test-full services services-down bench faults containers check generate pictures schema env

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## follows three orders to the end; runs until Ctrl-C (ONCE=1: ends automatically; MONITORING=1: with Prometheus; MAIL_VIEW=1: with a mail viewer; LAB=1: with a page that kills and restarts its processes)
	@ONCE=$(ONCE) MONITORING=$(MONITORING) MAIL_VIEW=$(MAIL_VIEW) LAB=$(LAB) scripts/demo.sh

test: ## runs the tests on their own PostgreSQL and RabbitMQ (ARGS="..." goes to the test runner; RABBITMQ=4.3 POSTGRES=18)
	@scripts/test.sh $(ARGS)

test-full: ## also runs the tests that take too long for every day
	@scripts/test.sh --full $(ARGS)

services: ## starts the private PostgreSQL and RabbitMQ below .dev/, settings in .dev/env
	@scripts/services.sh up

services-down: ## stops them
	@scripts/services.sh down

bench: ## measures into bench/out/ (QUICK=1: one short round)
	@QUICK=$(QUICK) scripts/bench.sh $(ARGS)

faults: ## breaks everything on a seeded schedule and checks that nothing is lost (SEED=7 MINUTES=5 FAULTS=kill,cut RABBITMQ=4.3 POSTGRES=18)
	@SEED=$(SEED) MINUTES=$(MINUTES) FAULTS=$(FAULTS) PROFILE=$(PROFILE) scripts/faults.sh $(ARGS)

containers: ## builds the image and runs docker-compose.yml in its own Docker Engine: set-up, scaling, restart, upgrade, lack of memory (as root; 6 GB)
	@scripts/containers.sh $(ARGS)

check: ## checks format, lints, documentation, licences, generated files
	@scripts/check.sh

generate: ## writes the files that follow from the code: compose, Kubernetes, monitoring, definitions.json, references in docs
	@cargo run --quiet --package orderflow-generate -- write

pictures: ## makes docs/pictures/ from the present pages and mails
	@scripts/pictures.sh

schema: ## writes the files that diesel.toml names from the migrations
	@scripts/schema.sh

env: ## writes passwords for docker-compose.yml into .env
	@scripts/make-env.sh
