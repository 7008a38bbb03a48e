#!/usr/bin/env bash
# Everything that has to pass, as CI runs it; below 30 minutes on two CPUs from a clean checkout.
#
#   scripts/check.sh              all of it
#   scripts/check.sh lint         format and clippy
#   scripts/check.sh test         cargo's tests: units, models, processes, differential, clients
#   scripts/check.sh suite        Redis' own Tcl suite, with 1 and with 4 shards
#
# Installs what is missing, where it can (Debian's apt-get as root or through sudo).
set -euo pipefail
cd "$(dirname "$0")/.."

steps=("$@")
if [[ ${#steps[@]} -eq 0 ]]; then
    steps=(lint test suite)
fi

# command=package: what the tests call, and where Debian has it.
tools=(
    cc=build-essential make=build-essential
    redis-server=redis-server redis-cli=redis-tools redis-benchmark=redis-tools
    tclsh=tcl dpkg-source=dpkg-dev patch=patch
    python3=python3 node=nodejs npm=npm
)

main() {
    install_missing
    for step in "${steps[@]}"; do
        echo "== $step"
        "step_$step"
    done
    echo "== all passed: ${steps[*]}"
}

install_missing() {
    local packages=() tool
    for tool in "${tools[@]}"; do
        command -v "${tool%%=*}" >/dev/null || packages+=("${tool#*=}")
    done
    # The module is there without the package, but cannot make an environment with pip in it.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    if [[ ${#packages[@]} -gt 0 ]]; then
        install_packages "${packages[@]}"
        # The program is wanted, not the service on port 6379 that its package starts.
        if [[ " ${packages[*]} " == *" redis-server "* && -d /run/systemd/system ]]; then
            as_root systemctl disable --quiet --now redis-server || true
        fi
    fi
    if ! command -v cargo >/dev/null; then
        echo "check: Rust is needed (rustup)" >&2
        exit 1
    fi
    local component
    for component in fmt clippy; do
        if ! cargo "$component" --version >/dev/null 2>&1; then
            rustup component add "${component/fmt/rustfmt}"
        fi
    done
}

install_packages() {
    if ! command -v apt-get >/dev/null || [[ $(id -u) -ne 0 && -z $(command -v sudo) ]]; then
        echo "check: please install: $*" >&2
        exit 1
    fi
    echo "== installing $*"
    # The lists may be missing or old: then once more with fresh ones.
    apt_install "$@" >/dev/null 2>&1 || { as_root apt-get update -qq && apt_install "$@" >/dev/null; }
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

step_lint() {
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
}

step_test() {
    scripts/install_test_clients.sh
    cargo test
    # The simulators have to find the mistakes that are planted for them.
    cargo test --features planted-bugs --test simulation --test aof_simulation
}

step_suite() {
    scripts/redis_suite.sh --shards 1,4
}

for step in "${steps[@]}"; do
    if ! declare -F "step_$step" >/dev/null; then
        echo "check: no such step: $step" >&2
        exit 2
    fi
done
main
