# The index of what can be done here; `make help` prints it.
#
# Every target installs the packages and builds the shim first when they are missing. Under sudo
# that part runs as the user who called, so that no root-owned file is left in the tree.

SHELL := /bin/bash
NODE  := bin/node
AS_USER := $(if $(and $(SUDO_USER),$(filter 0,$(shell id -u))),sudo -u $(SUDO_USER) --,)

SHIM      := shim/build/aoed_shim.node
PACKAGES  := node_modules/.package-lock.json

IFACE  ?=
CONFIG ?=
ARGS   ?=

.PHONY: all
all: $(PACKAGES) $(SHIM) ## install the packages and build the shim (the default)

$(PACKAGES): package.json package-lock.json
	$(AS_USER) npm ci --no-fund --no-audit --loglevel=error
	@$(AS_USER) touch $@

$(SHIM): $(wildcard shim/*.c shim/*.h) scripts/build-shim.sh $(PACKAGES)
	$(AS_USER) scripts/build-shim.sh

.PHONY: run
run: all ## serve: sudo make run IFACE=eth0 [CONFIG=aoed.toml] [ARGS=…]
	@bin/aoed serve $(if $(CONFIG),--config $(CONFIG)) $(if $(IFACE),--interface $(IFACE)) $(ARGS)

.PHONY: test
test: all lint ## types, lint and every test that needs no kernel driver
	scripts/test.sh

.PHONY: netns-test
netns-test: all ## the real Linux aoe driver against us: sudo make netns-test [KERNEL=uml|host]
	scripts/netns-test.sh

.PHONY: object-test
object-test: all ## object stores against Azurite, Ceph's gateway and containers
	scripts/object-test.sh

.PHONY: boot-test
boot-test: all ## machines without disks boot over AoE, in an emulator: sudo make boot-test
	scripts/boot-test.sh

.PHONY: web-test
web-test: all ## the web page in Chromium and the alert rules in Prometheus
	scripts/web-test.sh

.PHONY: bench
bench: all ## aoed beside vblade and the null target: sudo make bench [QUICK=1]
	scripts/bench.sh

.PHONY: deb
deb: all ## build the Debian package: build/aoed_VERSION_ARCH.deb [ARCH=arm64]
	scripts/build-deb.sh $(if $(ARCH),--arch $(ARCH))

.PHONY: package-test
package-test: all ## install, upgrade and remove the packages in a clean root: sudo make package-test
	scripts/package-test.sh

.PHONY: lint
lint: all ## types, lint rules and format
	$(NODE) node_modules/typescript/bin/tsc
	$(NODE) node_modules/oxlint/bin/oxlint --type-aware --deny-warnings
	$(NODE) node_modules/oxfmt/bin/oxfmt --check src netns-tests object-tests web-tests bench packaging scripts

.PHONY: format
format: all ## rewrite the sources in the house format
	$(NODE) node_modules/oxfmt/bin/oxfmt src netns-tests object-tests web-tests bench packaging scripts

.PHONY: clean
clean: ## remove what was built and installed (never data)
	rm -rf node_modules shim/build bench/build build

.PHONY: help
help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
