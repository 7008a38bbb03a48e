#!/usr/bin/env python3
"""Runs units of Redis 7.0's own Tcl suite against a server, one unit at a time, each with a time limit.

Mode external: a fresh server per unit is started here and the suite connects to it. Tests that need the suite to
start the server itself skip themselves.
Mode own: the suite starts its servers through a wrapper at src/redis-server, as it does for Redis.

What is known not to pass stands in the skip list, one line each with a reason:

    unit[@mode[:shards]] | test name, /regular expression, or tag:NAME | reason

unit may be a pattern (`unit/type/*`, `*`). Only what is not listed can fail the run; a line that matches no test of
a unit it names is reported, so that the list shrinks as the server grows.
"""

import argparse
import contextlib
import dataclasses
import fnmatch
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ANSI = re.compile(r"\x1b\[[0-9;]*m")
OUTCOME = re.compile(r"^\[(ok|err|skip|ignore|exception|TIMEOUT)\]: (.*)$")
ELAPSED = re.compile(r" \(\d+ ms\)$")
START_SECONDS_MAX = 30
EXTERNAL_FLAGS = ["--save", "", "--enable-protected-configs", "yes", "--enable-debug-command", "yes",
                  "--enable-module-command", "yes"]


@dataclasses.dataclass(frozen=True)
class Unit:
    name: str
    mode: str
    seconds_max: int


@dataclasses.dataclass
class Entry:
    """A line of the skip list."""
    unit: str
    mode: str | None
    shards: int | None
    what: str
    reason: str
    line: int
    used: bool = False
    seen: bool = False

    def covers(self, unit, shards):
        return (fnmatch.fnmatchcase(unit.name, self.unit) and self.mode in (None, unit.mode)
                and self.shards in (None, shards))

    @property
    def tag(self):
        return self.what[4:] if self.what.startswith("tag:") else None

    def matches(self, test):
        if self.tag:
            return False
        if self.what.startswith("/"):
            return re.search(self.what[1:], test) is not None
        return self.what == test


@dataclasses.dataclass
class Result:
    unit: Unit
    passed: list = dataclasses.field(default_factory=list)
    failed: list = dataclasses.field(default_factory=list)
    listed: list = dataclasses.field(default_factory=list)
    ignored: list = dataclasses.field(default_factory=list)
    ending: str = "ok"
    seconds: float = 0.0


def main():
    options = parse_options()
    entries = read_skip_list(options.skiplist)
    units = choose_units(options)
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    failures = []
    for shards in options.shards or [None]:
        title = shlex.join([*options.server, *shard_flags(shards)])
        print(f"{title}\n  {'unit':<30}{'mode':>9}{'passed':>8}{'failed':>8}{'listed':>8}{'n/a':>6}{'s':>6}  ended")
        for unit in units:
            result = run_unit(unit, shards, entries, options)
            print(f"  {unit.name:<30}{unit.mode:>9}{len(result.passed):>8}{len(result.failed):>8}"
                  f"{len(result.listed):>8}{len(result.ignored):>6}{result.seconds:>6.0f}  {result.ending}", flush=True)
            totals["passed"] += len(result.passed)
            totals["failed"] += len(result.failed)
            totals["skipped"] += len(result.listed) + len(result.ignored)
            failures += [(shards, unit, name, details) for name, details in result.failed]
            if options.show_passed:
                for name in result.passed:
                    print(f"      ok: {name}")
    for shards, unit, name, details in failures:
        print(f"\nFAILED {unit.name} ({unit.mode}{f', {shards} shards' if shards else ''}): {name}")
        print("    " + "\n    ".join(details[:12]))
    for entry in entries:
        if entry.seen and not entry.used and not options.run_listed:
            print(f"\nunused: skip list line {entry.line}: {entry.what}: no such test in {entry.unit}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    sys.exit(1 if failures else 0)


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/redis_suite.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unit", action="append", default=[], metavar="UNIT",
                        help="a unit or pattern of units, as unit/type/string; repeatable (those of units.txt)")
    parser.add_argument("--all", action="store_true", help="every unit of the suite instead of units.txt")
    parser.add_argument("--shards", action="append", default=[], metavar="N[,N]",
                        help="run everything with that many shards, once per number")
    parser.add_argument("--server", help="the program under test, with flags")
    parser.add_argument("--mode", choices=("external", "own"), help="only that mode")
    parser.add_argument("--timeout", type=int, metavar="S", help="seconds per unit (those of units.txt, or 180)")
    parser.add_argument("--fast", action="store_true", help="without the tests tagged slow")
    parser.add_argument("--only", action="append", default=[], metavar="TEST", help="only tests so named (or /regexp)")
    parser.add_argument("--run-listed", action="store_true", help="ignore the skip list: see what passes by now")
    parser.add_argument("--show-passed", action="store_true", help="name every test that passed")
    parser.add_argument("--verbose", action="store_true", help="print the suite's own output")
    parser.add_argument("--keep", metavar="DIR", help="keep the logs of suite and servers in DIR")
    parser.add_argument("--skiplist", default="tests/redis_suite/skiplist.txt")
    parser.add_argument("--units-file", default="tests/redis_suite/units.txt")
    parser.add_argument("--source", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.shards = [int(count) for group in options.shards for count in group.split(",")]
    words = shlex.split(options.server or "")
    program = shutil.which(words[0]) if words else None
    if not program:
        parser.error(f"--server: not an executable: {options.server}")
    options.server = [os.path.abspath(program), *words[1:]]
    return options


def shard_flags(shards):
    return [] if shards is None else ["--shards", str(shards)]


def read_skip_list(path):
    entries = []
    for number, line in enumerate(pathlib.Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(" | ", 1)
        rest = parts[-1].rsplit(" | ", 1)
        if len(parts) != 2 or len(rest) != 2 or not rest[1].strip():
            raise SystemExit(f"{path}:{number}: expected `unit | test | reason`")
        unit, _, condition = parts[0].strip().partition("@")
        mode, _, shards = condition.partition(":")
        entries.append(Entry(unit, mode or None, int(shards) if shards else None, rest[0].strip(), rest[1].strip(), number))
    return entries


def choose_units(options):
    """The units file lists `unit mode[,mode] seconds`; a unit outside it can still be named."""
    listed = []
    for line in pathlib.Path(options.units_file).read_text(encoding="utf-8").splitlines():
        words = line.split("#")[0].split()
        if words:
            listed += [Unit(words[0], mode, int(words[2])) for mode in words[1].split(",")]
    every = re.search(r"set ::all_tests \{(.*?)\}", read_helper(options), re.DOTALL).group(1).split()
    modes = [options.mode] if options.mode else ["external", "own"]
    if options.all:
        chosen = [Unit(name, mode, 180) for name in every for mode in (options.mode or "external",)]
    elif options.unit:
        chosen = []
        for pattern in options.unit:
            found = [unit for unit in listed if fnmatch.fnmatchcase(unit.name, pattern) and unit.mode in modes]
            names = {unit.name for unit in listed}
            found += [Unit(name, options.mode or "external", 180) for name in every
                      if fnmatch.fnmatchcase(name, pattern) and (name not in names or (options.mode and not found))]
            if not found:
                raise SystemExit(f"no such unit: {pattern}")
            chosen += found
    else:
        chosen = [unit for unit in listed if unit.mode in modes]
    if options.timeout:
        chosen = [dataclasses.replace(unit, seconds_max=options.timeout) for unit in chosen]
    return chosen


def read_helper(options):
    return pathlib.Path(options.source, "tests/test_helper.tcl").read_text(encoding="utf-8")


def run_unit(unit, shards, entries, options):
    result = Result(unit)
    covering = [] if options.run_listed else [entry for entry in entries if entry.covers(unit, shards)]
    with tempfile.TemporaryDirectory(prefix="pinion-suite-") as directory:
        home = prepare(pathlib.Path(directory), shards, options)
        started = time.monotonic()
        arguments = ["tclsh", "tests/test_helper.tcl", "--single", unit.name, "--durable", "--dont-clean"]
        with contextlib.ExitStack() as cleanup:
            if unit.mode == "external":
                port = cleanup.enter_context(external_server(home, shards, options))
                arguments += ["--host", "127.0.0.1", "--port", str(port), "--baseport", str(base_port())]
            else:
                arguments += ["--clients", "1", "--baseport", str(base_port()), "--portcount", "500"]
            denied = ["-" + entry.tag for entry in covering if entry.tag] + (["-slow"] if options.fast else [])
            if denied:
                arguments += ["--tags", " ".join(denied)]
            for entry in covering:
                if not entry.tag:
                    arguments += ["--skiptest", entry.what]
            for test in options.only:
                arguments += ["--only", test]
            result.ending = drive(arguments, home, unit.seconds_max)
        result.seconds = time.monotonic() - started
        output = (home / "suite.log").read_text(encoding="utf-8", errors="replace")
        if options.verbose:
            print(output)
        if options.keep:
            kept = pathlib.Path(options.keep, f"{unit.name.replace('/', '-')}-{unit.mode}-{shards or 'default'}")
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(home, kept, symlinks=True, ignore=shutil.ignore_patterns("unit", "integration", "support", "socket"))
    read_outcomes(output, covering, result)
    for entry in covering:
        entry.seen |= unit.name == entry.unit and not options.only
    if result.ending != "ok":
        result.failed.append((f"({result.ending})", output.splitlines()[-8:]))
    elif not (result.passed or result.failed or result.listed or result.ignored) and unit.name != "unit/printver":
        result.failed.append(("(no test ran)", output.splitlines()[-8:]))
    return result


def prepare(directory, shards, options):
    """A directory that looks like Redis's source tree to the suite, with our server in Redis's place."""
    home = directory / "redis"
    (home / "src").mkdir(parents=True)
    shutil.copytree(pathlib.Path(options.source, "tests"), home / "tests")
    (home / "tests/tmp").mkdir(exist_ok=True)
    for tool in ("redis-cli", "redis-benchmark", "redis-check-aof", "redis-check-rdb"):
        path = shutil.which(tool)
        if path:
            (home / "src" / tool).symlink_to(path)
    # The configuration file stays the first argument, and the process keeps its pid: the suite looks for both.
    flags = shlex.join(shard_flags(shards))
    wrapper = home / "src/redis-server"
    wrapper.write_text("#!/bin/sh\n"
                       f'case "${{1-}}" in\n'
                       f'    "" | -*) exec {shlex.join(options.server)} {flags} "$@" ;;\n'
                       f'    *) config=$1; shift; exec {shlex.join(options.server)} "$config" {flags} "$@" ;;\n'
                       "esac\n", encoding="utf-8")
    wrapper.chmod(0o755)
    return home


@contextlib.contextmanager
def external_server(home, shards, options):
    port = free_port()
    command = [*options.server, *shard_flags(shards), "--port", str(port), *EXTERNAL_FLAGS, "--dir", str(home)]
    with open(home / "server.log", "wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home,
                                  start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16) == b"+PONG\r\n":
                    break
            if server.poll() is not None or time.monotonic() > deadline:
                log = (home / "server.log").read_text(encoding="utf-8", errors="replace")
                raise SystemExit(f"the server did not start: {shlex.join(command)}\n{log[-2000:]}")
            time.sleep(0.02)
        yield port
    finally:
        end_group(server)


def drive(arguments, home, seconds_max):
    """Runs the suite's own driver; says how it ended."""
    with open(home / "suite.log", "wb") as log:
        suite = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home,
                                 start_new_session=True)
        try:
            # With failed tests the driver exits with 1: that is counted by its output, not by its status.
            suite.wait(timeout=seconds_max)
            return "ok" if suite.returncode in (0, 1) else f"status {suite.returncode}"
        except subprocess.TimeoutExpired:
            return f"timeout after {seconds_max} s"
        finally:
            end_group(suite)


def end_group(process):
    """The servers that a suite has started are in its process group; none may survive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def read_outcomes(output, covering, result):
    """A test name may span lines, and the details of a failure follow its first line."""
    records = []
    for line in ANSI.sub("", output).splitlines():
        if line.strip() == "The End":
            break
        found = OUTCOME.match(line)
        if found:
            records.append((found.group(1), [found.group(2)]))
        elif records and not re.match(r"^\[[\d/]+ done\]|^\[(ready|testing)\]|^Testing ", line):
            records[-1][1].append(line)
    tags = {entry.tag: entry for entry in covering if entry.tag}
    for kind, lines in records:
        name = "\n".join(lines).rstrip("\n") if kind == "skip" else lines[0]
        if kind == "ok":
            result.passed.append(ELAPSED.sub("", lines[0]))
        elif kind in ("err", "TIMEOUT"):
            result.failed.append((re.sub(r" in tests/\S+\.tcl$", "", lines[0]), lines[1:]))
        elif kind == "exception":
            result.failed.append(("(the suite itself failed)", lines))
        elif kind == "skip":
            by = [entry for entry in covering if entry.matches(name)]
            for entry in by:
                entry.used = True
            # Without an entry it was --only that left the test out.
            if by:
                result.listed.append(name)
        else:
            denied = re.search(r"Tag: (\S+) denied$", name)
            if denied and denied.group(1) in tags:
                tags[denied.group(1)].used = True
                result.listed.append(name)
            else:
                result.ignored.append(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def base_port():
    """Apart for suites that run at the same time; below the ports that the kernel gives to clients."""
    return 20_100 + os.getpid() % 20 * 600


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
