#!/usr/bin/env bash
# Fetches Redis 7.0's source from Debian's source package and prints its directory. The system's apt configuration is
# only read: the deb-src entries, the lists and the cache are private to the directory given.
#
#   scripts/redis_suite/source.sh target/redis-suite
#
# REDIS_SOURCE=/path/to/redis-7.0.x takes that directory instead.
set -euo pipefail

if [[ -n ${REDIS_SOURCE:-} ]]; then
    [[ -f $REDIS_SOURCE/tests/test_helper.tcl ]] || { echo "no Redis source in $REDIS_SOURCE" >&2; exit 1; }
    realpath "$REDIS_SOURCE"
    exit
fi

mkdir -p "$1"
home=$(realpath "$1")
if [[ -f $home/fetched && -f $(<"$home/fetched")/tests/test_helper.tcl ]]; then
    cat "$home/fetched"
    exit
fi

for tool in apt-get dpkg-source; do
    command -v "$tool" >/dev/null || { echo "$tool is needed (Debian: apt-get install dpkg-dev)" >&2; exit 1; }
done

apt=$home/apt
rm -rf "$apt"
mkdir -p "$apt/sources" "$apt/lists/partial" "$apt/cache/archives/partial"
# Both spellings of apt sources, as they are on this machine, asked for sources instead of packages.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [[ -f $list ]] && sed -n 's/^deb /deb-src /p' "$list" >"$apt/sources/$(basename "$list" .list).list"
done
for list in /etc/apt/sources.list.d/*.sources; do
    [[ -f $list ]] && sed 's/^Types:.*/Types: deb-src/' "$list" >"$apt/sources/$(basename "$list")"
done
options=(
    -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt/sources"
    -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -qq
)
# A third party's repository without sources fails here; what counts is whether redis is found.
apt-get "${options[@]}" update >"$apt/log" 2>&1 || true
cd "$home"
if ! apt-get "${options[@]}" source redis >>"$apt/log" 2>&1; then
    tail -20 "$apt/log" >&2
    echo "apt-get source redis failed" >&2
    exit 1
fi
source=$(find "$home" -maxdepth 1 -type d -name 'redis-7.0.*' | sort -V | tail -1)
if [[ -z $source || ! -f $source/tests/test_helper.tcl ]]; then
    echo "Debian's redis is not 7.0 here; set REDIS_SOURCE to a Redis 7.0 source tree" >&2
    exit 1
fi
echo "$source" >"$home/fetched"
echo "$source"
