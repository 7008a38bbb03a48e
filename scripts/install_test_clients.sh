#!/usr/bin/env bash
# Installs the client libraries that tests/clients runs, at pinned versions, below target/test-clients.
# Does nothing when they are there. Needs python3 with venv, and npm.
set -euo pipefail
cd "$(dirname "$0")/.."

redis_py=8.1.0
ioredis=5.11.1

home=target/test-clients
wanted="redis-py $redis_py, ioredis $ioredis"
if [[ -f $home/installed && $(<"$home/installed") == "$wanted" ]]; then
    exit
fi
rm -rf "$home"
mkdir -p "$home/node"
python3 -m venv "$home/python"
"$home/python/bin/pip" install --quiet --disable-pip-version-check "redis==$redis_py"
npm install --prefix "$home/node" --no-save --no-package-lock --no-audit --no-fund --silent "ioredis@$ioredis"
echo "$wanted" >"$home/installed"
