#!/usr/bin/env bash
# Transactions, WATCH and blocked clients under the seeded simulator (tests/simulation).
#
#   scripts/simulate.sh [SEEDS] [FIRST]     100000 seeds from 0, on all processors, then the planted bugs
#   SIMULATION_SEED=4711 scripts/simulate.sh     replays one seed and prints everything that happened
#   PROFILE=quick scripts/simulate.sh            builds in less time
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${1:-100000}
first=${2:-0}
profile=${PROFILE:-release}

binary=$(cargo test --profile "$profile" --features planted-bugs --test simulation --no-run 2>&1 |
    tee /dev/stderr | sed -n 's/.*Executable.*(\(.*\)).*/\1/p')

if [[ -n ${SIMULATION_SEED:-} ]]; then
    exec "$binary" histories --nocapture
fi

"$binary" planted --nocapture

jobs=$(nproc)
share=$(((seeds + jobs - 1) / jobs))
pids=()
for ((job = 0; job < jobs; job++)); do
    SIMULATION_SEEDS=$share SIMULATION_FIRST=$((first + job * share)) \
        "$binary" histories --nocapture &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do
    wait "$pid" || status=1
done
exit $status
