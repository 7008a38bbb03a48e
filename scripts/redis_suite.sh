#!/usr/bin/env bash
# Runs Redis 7.0's own Tcl suite (from Debian's source package) against Pinion.
#
#   scripts/redis_suite.sh                                 the units of tests/redis_suite/units.txt
#   scripts/redis_suite.sh --shards 1,4                    the same, once with 1 shard and once with 4
#   scripts/redis_suite.sh --unit unit/type/string --verbose
#   scripts/redis_suite.sh --unit unit/auth --mode own     the suite starts the server itself
#   scripts/redis_suite.sh --server redis-server --run-listed    what Redis itself gives
#   scripts/redis_suite.sh --help
#
# Without --server, target/$PROFILE/pinion-server is built and run (PROFILE: quick). The last line is
# `N passed, N failed, N skipped`; the status is 0 only when nothing failed that the skip list does not name.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v tclsh >/dev/null || { echo "redis_suite: tclsh is needed (Debian: apt-get install tcl)" >&2; exit 1; }
source=$(scripts/redis_suite/source.sh target/redis-suite)

profile=${PROFILE:-quick}
server=(--server "${PINION_SERVER:-target/$profile/pinion-server}")
build=${PINION_SERVER+no}
for argument in "$@"; do
    case $argument in
        --server | --server=* | --help | -h) build=no ;;
    esac
done
if [[ $build != no ]]; then
    cargo build --quiet --profile "$profile" --bin pinion-server
fi
export PYTHONDONTWRITEBYTECODE=1
exec python3 scripts/redis_suite/suite.py --source "$source" "${server[@]}" "$@"
