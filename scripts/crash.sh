#!/usr/bin/env bash
# Kills a server with an append-only file at random moments, again and again: what it has acknowledged must be there.
#
#   scripts/crash.sh [ROUNDS]    200 by default, in optimised builds
set -euo pipefail
cd "$(dirname "$0")/.."

CRASH_ROUNDS=${1:-200} exec cargo test --release --test crash -- --nocapture
