#!/usr/bin/env bash
# Runs redis-server and Pinion in turn on the same CPUs with the same client and prints the comparison.
#
#   scripts/bench.sh                          everything, below 15 minutes
#   scripts/bench.sh --quick                  the cells that matter most, below 3 minutes
#   scripts/bench.sh types                    commands on collections, and what collections weigh
#   scripts/bench.sh throughput --cells 'throughput/get/64B/*' --rounds 5
#   scripts/bench.sh --peer valkey=/usr/bin/valkey-server --json bench.json --svg bench.svg
#   scripts/bench.sh --help
#
# PINION_SERVER=/path skips the build and measures that program; PROFILE=quick builds with that cargo profile.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1

profile=${PROFILE:-release}
pinion=${PINION_SERVER-target/$profile/pinion-server}

for argument in "$@"; do
    case $argument in
        --help | -h | --list) exec python3 scripts/bench/bench.py "$@" ;;
    esac
done
if ! command -v redis-server >/dev/null; then
    echo "bench: redis-server is needed as the reference (Debian: apt-get install redis-server)" >&2
    exit 1
fi
targets=(--example load)
if [[ -z ${PINION_SERVER+set} ]]; then
    targets+=(--bin pinion-server)
fi
cargo build --quiet --profile "$profile" "${targets[@]}"

# An empty PINION_SERVER measures redis-server and the peers alone.
subject=()
if [[ -n $pinion ]]; then
    subject=(--pinion "$pinion")
fi
exec python3 scripts/bench/bench.py --load "target/$profile/examples/load" "${subject[@]}" "$@"
