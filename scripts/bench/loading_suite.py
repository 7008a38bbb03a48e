"""Cells of the suite `persistence` about the start: how long it takes until the data of a file are there.

What is measured is what the server's own log says ("DB loaded from ..."), from the first byte read to the last key stored;
every server loads the same files, which redis-server has written, and Pinion also a snapshot of its own.
"""

import os
import re
import shutil
import statistics
import tempfile

import persistence_suite
import servers

KEYS = 2_000_000
VALUE_BYTES = 64
AIMS = {"persistence/load/rdb": 0.45, "persistence/load/own-rdb": 0.45, "persistence/load/aof": 0.5}
NAMES = tuple(AIMS)
LOADED = re.compile(r"DB loaded from (?:disk|append only file): ([0-9.]+) seconds")
APPEND_ONLY = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--auto-aof-rewrite-percentage", "0"]


def measure(names, loader, options, reference, subject):
    cpus = [options.server_cpu, options.client_cpu]
    found = list(persistence_suite.variants(options.commands, subject, cpus))
    with tempfile.TemporaryDirectory(prefix="pinion-bench-") as directory:
        files = {}
        for cell in names:
            if cell != "persistence/load/own-rdb" or subject in options.commands:
                own = subject if cell == "persistence/load/own-rdb" else reference
                files[cell] = os.path.join(directory, os.path.basename(cell))
                write(cell, own, options.commands[own], files[cell], loader, cpus)
        return [compare(cell, found, path, options) for cell, path in files.items()]


def write(cell, name, command, path, loader, cpus):
    """The file of a cell, written by the server whose file it is."""
    flags = APPEND_ONLY if cell.endswith("/aof") else []
    with servers.running([(name, command, cpus)], flags=flags) as (server,):
        persistence_suite.run([loader, "--port", server.port, "--fill", "--keys", KEYS, "--value-bytes", VALUE_BYTES])
        if not flags and server.call("SAVE") != "+OK":
            raise SystemExit(f"bench: {name} cannot SAVE")
        if flags:
            server.end()
        shutil.copytree(server.directory, path, ignore=shutil.ignore_patterns("log"))


def compare(cell, found, path, options):
    flags = APPEND_ONLY if cell.endswith("/aof") else []
    samples = {name: [] for name, *_ in found}
    for _ in range(1 if options.quick else options.rounds):
        for name, command, cpus in found:
            with servers.running([(name, command, cpus)], files=path, flags=flags) as (server,):
                if server.call("DBSIZE") != f":{KEYS}":
                    raise SystemExit(f"bench: {name} has loaded {server.call('DBSIZE')} of {KEYS} keys")
                with open(server.log_path, encoding="utf-8", errors="replace") as log:
                    samples[name].append(float(LOADED.findall(log.read())[-1]))
    rows = {name: {"seconds": statistics.median(rounds)} for name, rounds in samples.items()}
    first = next(iter(rows.values()))["seconds"]
    print(f"\n{cell}\n  {'':<18}{'seconds':>16}{'ratio':>8}")
    for name, row in rows.items():
        row["ratio"] = {"seconds": row["seconds"] / first}
        print(f"  {name:<18}{row['seconds']:>16.2f}{row['ratio']['seconds']:>7.2f}x", flush=True)
    print(f"  aimed at: seconds <= {AIMS[cell]}")
    return {"name": cell, "servers": rows}
