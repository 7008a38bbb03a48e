"""Cells of the suite `persistence` about the start: how long it takes until the data of a file are there.

What is measured is what the server's own log says ("DB loaded from ..."), from the first byte read to the last key stored;
every server loads the same files, which redis-server has written, and Pinion also a snapshot of its own. For
`own-aof` each server loads the append-only file that it has written itself, and all of its start counts: Pinion looks
at its segments before it loads them.
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
AIMS = {
    "persistence/load/rdb": 0.45,
    "persistence/load/own-rdb": 0.45,
    "persistence/load/aof": 0.5,
    "persistence/load/own-aof": 0.5,
}
NAMES = tuple(AIMS)
LOADED = re.compile(r"DB loaded from (?:disk|append only file): ([0-9.]+) seconds")
APPEND_ONLY = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--auto-aof-rewrite-percentage", "0"]


def measure(names, loader, options, reference, subject):
    cpus = [options.server_cpu, options.client_cpu]
    found = list(persistence_suite.variants(options.commands, subject, cpus))
    with tempfile.TemporaryDirectory(prefix="pinion-bench-") as directory:
        results = []
        for cell in names:
            writers = {"own-rdb": (subject,), "own-aof": (reference, subject)}.get(os.path.basename(cell), (reference,))
            if not set(writers) <= set(options.commands):
                continue
            files = {}
            for writer in writers:
                files[writer] = os.path.join(directory, f"{os.path.basename(cell)}-{writer}")
                write(cell, writer, options.commands[writer], files[writer], loader, cpus)
            results.append(compare(cell, found, files, options, subject))
            for path in files.values():
                shutil.rmtree(path)
        return results


def write(cell, name, command, path, loader, cpus):
    """The file of a cell, written by the server whose file it is."""
    flags = APPEND_ONLY if cell.endswith("aof") else []
    with servers.running([(name, command, cpus)], flags=flags) as (server,):
        persistence_suite.run([loader, "--port", server.port, "--fill", "--keys", KEYS, "--value-bytes", VALUE_BYTES])
        if not flags and server.call("SAVE") != "+OK":
            raise SystemExit(f"bench: {name} cannot SAVE")
        if flags:
            server.end()
        shutil.copytree(server.directory, path, ignore=shutil.ignore_patterns("log"))


def compare(cell, found, files, options, subject):
    """Who has written no files of its own loads those of the only writer."""
    flags = APPEND_ONLY if cell.endswith("aof") else []
    samples = {name: [] for name, *_ in found}
    for _ in range(1 if options.quick else options.rounds):
        for name, command, cpus in found:
            writer = subject if name.startswith(subject) else next(iter(files))
            path = files.get(writer) or next(iter(files.values()))
            with servers.running([(name, command, cpus)], files=path, flags=flags) as (server,):
                if server.call("DBSIZE") != f":{KEYS}":
                    raise SystemExit(f"bench: {name} has loaded {server.call('DBSIZE')} of {KEYS} keys")
                if len(files) > 1:
                    samples[name].append(server.start_seconds)
                    continue
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
