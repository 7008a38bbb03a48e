#!/usr/bin/env bash
# Random commands to Pinion (1 and 4 shards) and to redis-server; prints each difference with the shortest list of
# commands that shows it.
#
#   scripts/differential.sh                       a million commands from a seed of the clock
#   scripts/differential.sh 5000000               as many commands
#   scripts/differential.sh 200 42                replays one session: its number of commands and its seed
#
# PROFILE=release runs optimised; PINION_SERVER=/path compares another build.
set -euo pipefail
cd "$(dirname "$0")/.."

export DIFFERENTIAL_COMMANDS=${1:-1000000}
export DIFFERENTIAL_SEED=${2:-$(date +%s)000000}
export DIFFERENTIAL_FINDINGS=${DIFFERENTIAL_FINDINGS:-20}
echo "differential: $DIFFERENTIAL_COMMANDS commands from seed $DIFFERENTIAL_SEED"
exec cargo test --profile "${PROFILE:-test}" --test differential -- --nocapture replies_and_contents
