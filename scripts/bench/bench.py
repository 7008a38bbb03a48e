#!/usr/bin/env python3
"""Compares Pinion with redis-server, and with any further peer, side by side in one run.

Every cell is measured in interleaved rounds: one server after the other, round after round, so that a slower
minute of the machine hits all of them. Medians over the rounds are what is reported. While one server is measured
all others are stopped (SIGSTOP), so an idle peer costs nothing.

Server CPU per operation is the process's own CPU clock (all threads, user and system, in nanoseconds) over the
operations completed in the same interval; `examples/load` reads both at the same two moments.
"""

import argparse
import dataclasses
import fnmatch
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import appendonly_suite
import chart
import loading_suite
import persistence_suite
import servers
import storm
import types_suite

REFERENCE = "redis"
SUBJECT = "pinion"
METRICS = ("per_second", "server_cpu_us", "p50_us", "p99_us", "p999_us")
OTHERS_BUSY_MAX = 0.15
SUITES = ("throughput", "shards", "defaults", "memory", "types", "transactions", "ordering", "storm", "persistence")


@dataclasses.dataclass(frozen=True)
class Cell:
    suite: str
    command: str
    value_bytes: int
    pipeline: int
    connections: int
    # Keys of MSET and MGET, commands of EXEC.
    multi: int = 10

    @property
    def name(self):
        return f"{self.suite}/{self.command}/{self.value_bytes}B/P{self.pipeline}/c{self.connections}"


def all_cells():
    cells = []
    for value_bytes in (64, 1024):
        for connections in (50, 500):
            for pipeline in (1, 16, 64):
                for command in ("get", "set"):
                    cells.append(Cell("throughput", command, value_bytes, pipeline, connections))
        if value_bytes == 64:
            cells.append(Cell("throughput", "mset", 64, 16, 50))
    for pipeline in (1, 16, 64):
        for command in ("get", "set"):
            cells.append(Cell("shards", command, 64, pipeline, 50))
    for pipeline in (1, 16):
        for command in ("get", "set"):
            cells.append(Cell("defaults", command, 64, pipeline, 50))
    for command, multi in (("mset", 10), ("mget", 10), ("exec", 5)):
        for pipeline in (1, 16):
            cells.append(Cell("transactions", command, 64, pipeline, 50, multi))
    for command in ("get", "set"):
        cells.append(Cell("ordering", command, 64, 16, 50))
    return cells


# A quick look: the cells that the bars are set on.
QUICK = ("throughput/*/64B/*/c50", "shards/*/64B/P1/*", "shards/get/64B/P16/*", "defaults/*", "memory/*")


def main():
    options = parse_options()
    loader = options.load
    results = []
    started = time.monotonic()
    wanted = [cell for cell in all_cells() if selected(cell.name, cell.suite, options)]
    for suite in ("throughput", "shards", "defaults", "transactions", "ordering"):
        for value_bytes in sorted({cell.value_bytes for cell in wanted if cell.suite == suite}):
            cells = [cell for cell in wanted if cell.suite == suite and cell.value_bytes == value_bytes]
            results += measure(suite, value_bytes, cells, loader, options)
    if selected("storm", "storm", options) and SUBJECT in options.commands:
        storm.measure(options.commands[SUBJECT], lambda *arguments: load(loader, *arguments), options)
    memory = []
    if selected("memory/16B+64B", "memory", options):
        memory = measure_memory(loader, options)
    types = [cell for cell in types_suite.CELLS if selected(cell.name, "types", options)]
    if types:
        results += measure_types(types, loader, options)
    memory_of_types = [cell for cell in types_suite.MEMORY if selected(cell.name, "types", options)]
    if memory_of_types:
        memory += measure_memory_of_types(memory_of_types, loader, options)

    saves = [name for name in persistence_suite.NAMES if selected(name, "persistence", options)]
    persistence = persistence_suite.measure(saves, loader, options, SUBJECT) if saves else []
    starts = [name for name in loading_suite.NAMES if selected(name, "persistence", options)]
    persistence += loading_suite.measure(starts, loader, options, REFERENCE, SUBJECT) if starts else []
    appending = [name for name in appendonly_suite.NAMES if selected(name, "persistence", options)]
    if appending and SUBJECT in options.commands:
        persistence += appendonly_suite.measure(
            appending, lambda *arguments: load(loader, *arguments), options, REFERENCE, SUBJECT)

    report = {
        "machine": machine(options),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "keys": options.keys,
        "cells": results,
        "memory": memory,
        "persistence": persistence,
    }
    disturbed = [cell["name"] for cell in results
                 if any(row["others_busy"] > OTHERS_BUSY_MAX for row in cell["servers"].values())]
    if disturbed:
        print(f"\nWARNING: other processes were busy during {len(disturbed)} of {len(results)} cells; do not trust"
              f" the throughput and latency of: {', '.join(disturbed)}")
    print(f"\n{round(time.monotonic() - started)} s on {report['machine']['description']}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump(report, out, indent=1)
            out.write("\n")
        print(f"figures: {options.json}")
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as out:
            out.write(chart.draw(report, REFERENCE, SUBJECT))
        print(f"chart: {options.svg}")


def parse_options():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="|".join((*SUITES, "all")), help="which suites (all)")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND",
                        help="a further server; COMMAND may carry flags; any number of times")
    parser.add_argument("--cells", action="append", default=[], metavar="PATTERN",
                        help="only cells whose name matches, as throughput/get/64B/P16/c50 with * and ?")
    parser.add_argument("--rounds", type=int, help="rounds per cell (3)")
    parser.add_argument("--seconds", type=float, help="measured seconds per round (1.2)")
    parser.add_argument("--warmup", type=float, default=0.25, help="unmeasured seconds before each (0.25)")
    parser.add_argument("--keys", type=int, help="keys preloaded (1000000; persistence: 2000000)")
    parser.add_argument("--quick", action="store_true", help="few cells, short rounds: below three minutes")
    parser.add_argument("--json", metavar="FILE", help="write all figures")
    parser.add_argument("--svg", metavar="FILE", help="draw the comparison")
    parser.add_argument("--list", action="store_true", help="list the cells and stop")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--pinion", help="the server under test (target/release/pinion-server)")
    parser.add_argument("--redis", default="redis-server", help="the reference (redis-server)")
    parser.add_argument("--server-cpu", type=int, default=0, help="the CPU of one-CPU servers (0)")
    parser.add_argument("--client-cpu", type=int, default=1, help="the CPU of the client (1)")
    options = parser.parse_args()

    unknown = set(options.suites) - {*SUITES, "all"}
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    if not options.suites or "all" in options.suites:
        options.suites = list(SUITES)
    # The bars of snapshots are set on two million keys.
    options.persistence_keys = options.keys or (1_000_000 if options.quick else 2_000_000)
    options.keys = options.keys or 1_000_000
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.seconds = options.seconds or (0.7 if options.quick else 1.2)
    if options.list:
        for cell in all_cells():
            if selected(cell.name, cell.suite, options):
                print(cell.name)
        for cell in (*types_suite.CELLS, *types_suite.MEMORY):
            if selected(cell.name, "types", options):
                print(cell.name)
        raise SystemExit(0)
    if not options.load:
        parser.error("start scripts/bench.sh, which builds the load generator")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("bench: two CPUs are needed, one for the server and one for the client")
    for cpu in (options.server_cpu, options.client_cpu):
        if cpu not in os.sched_getaffinity(0):
            raise SystemExit(f"bench: CPU {cpu} is not in the affinity mask")

    options.commands = {REFERENCE: [executable(options.redis)]}
    if options.pinion:
        options.commands[SUBJECT] = [executable(options.pinion)]
    for peer in options.peer:
        name, separator, command = peer.partition("=")
        words = shlex.split(command)
        if not separator or not words or name in (REFERENCE, SUBJECT):
            parser.error(f"--peer takes NAME=COMMAND, not {peer}")
        options.commands[name] = [executable(words[0]), *words[1:]]
    return options


def executable(path):
    found = shutil.which(path)
    if not found:
        raise SystemExit(f"bench: {path} is not an executable")
    return os.path.abspath(found)


def selected(name, suite, options):
    patterns = options.cells or (QUICK if options.quick else ("*",))
    return suite in options.suites and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def variants(suite, options):
    """(name, command, CPUs of the server, CPUs of the client) of everything measured in a suite."""
    one = [options.server_cpu]
    client = [options.client_cpu]
    both = [options.server_cpu, options.client_cpu]
    found = []
    for name, command in options.commands.items():
        ours = name == SUBJECT
        if suite in ("throughput", "types"):
            found.append((name, command + (["--shards", "1"] if ours else []), one, client))
        elif suite == "transactions":
            if ours:
                for shards, cpus in ((1, one), (2, both), (4, both)):
                    found.append((f"{name} {shards} shards", [*command, "--shards", str(shards)], cpus, client))
            elif name == REFERENCE:
                found.append((name, command, one, client))
        elif suite == "ordering":
            if ours:
                for order in ("strict", "relaxed"):
                    argv = [*command, "--shards", "2", "--pipeline-ordering", order]
                    found.append((f"{name} {order}", argv, both, client))
        elif suite == "shards":
            if ours:
                found.append((f"{name} 1 shard", [*command, "--shards", "1"], one, client))
                found.append((f"{name} 2 shards", [*command, "--shards", "2"], both, client))
            elif name == REFERENCE:
                found.append((name, command, one, client))
        else:
            found.append((name, command, None, None))
    return found


def measure(suite, value_bytes, cells, loader, options):
    """All cells of a suite with one value size: servers are started and filled once."""
    found = variants(suite, options)
    results = []
    with servers.running([(name, command, cpus) for name, command, cpus, _ in found]) as running:
        for server, (_, _, _, client_cpus) in zip(running, found, strict=True):
            load(loader, server, client_cpus, ["--fill", "--keys", options.keys, "--value-bytes", value_bytes])
            server.pause()
        for cell in cells:
            samples = {server.name: [] for server in running}
            for round_number in range(options.rounds):
                for server, (_, _, _, client_cpus) in zip(running, found, strict=True):
                    server.resume()
                    samples[server.name].append(load(loader, server, client_cpus, [
                        "--command", cell.command, "--value-bytes", cell.value_bytes, "--keys", options.keys,
                        "--pipeline", cell.pipeline, "--connections", cell.connections, "--multi", cell.multi,
                        "--seconds", options.seconds, "--warmup", options.warmup, "--seed", round_number + 1]))
                    server.pause()
            result = {"name": cell.name, **dataclasses.asdict(cell), "servers": {}}
            for name, rounds in samples.items():
                result["servers"][name] = median_of(rounds)
            show(result)
            results.append(result)
    return results


def median_of(samples):
    """What is kept of the rounds of one server in one cell."""
    result = {key: statistics.median(sample[key] for sample in samples)
              for key in (*METRICS, "server_busy", "client_busy", "others_busy")}
    result["rounds"] = [sample["per_second"] for sample in samples]
    return result


def measure_types(cells, loader, options):
    """Commands on collections, pipelined 16 deep; both servers begin each cell empty."""
    found = variants("types", options)
    results = []
    with servers.running([(name, command, cpus) for name, command, cpus, _ in found]) as running:
        clients = {server.name: cpus for server, (_, _, _, cpus) in zip(running, found, strict=True)}
        for server in running:
            server.pause()
        for cell in cells:
            samples = {server.name: [] for server in running}
            for round_number in range(options.rounds):
                for server in running:
                    server.resume()
                    if round_number == 0 or cell.consumes:
                        server.call("FLUSHALL")
                        for request, count in cell.fill:
                            load(loader, server, clients[server.name],
                                 ["--fill", "--request", request, "--keys", count])
                    samples[server.name].append(load(loader, server, clients[server.name], [
                        "--request", cell.request, "--expect", cell.expect, "--pipeline", types_suite.PIPELINE,
                        "--connections", cell.connections, "--seconds", options.seconds,
                        "--warmup", options.warmup, "--seed", round_number + 1]))
                    server.pause()
            result = {"name": cell.name, "servers": {name: median_of(rounds) for name, rounds in samples.items()}}
            show(result)
            results.append(result)
    return results


def measure_memory_of_types(cells, loader, options):
    """Resident bytes per key or member of collections: after the load minus before it."""
    results = []
    for cell in cells:
        rows = []
        for name, command in options.commands.items():
            flags = ["--shards", "1"] if name == SUBJECT else []
            with servers.running([(name, [*command, *flags], [options.server_cpu])]) as (server,):
                server.call("DBSIZE")
                empty = server.resident_bytes()
                request, count = cell.fill
                load(loader, server, [options.client_cpu], ["--fill", "--request", request, "--keys", count])
                rows.append({"name": f"{cell.name} {name}",
                             "bytes_per_key": (server.resident_bytes() - empty) / cell.items})
        print(f"\n{cell.name}: resident bytes per {cell.item}")
        for row in rows:
            row["ratio"] = row["bytes_per_key"] / rows[0]["bytes_per_key"]
            print(f"  {row['name'].split()[1]:<18}{row['bytes_per_key']:>10.1f}{row['ratio']:>8.2f}x", flush=True)
        results += rows
    return results


def load(loader, server, client_cpus, arguments):
    command = [loader, "--port", str(server.port), "--server-pid", str(server.pid), *map(str, arguments)]
    if client_cpus is not None:
        command = ["taskset", "-c", ",".join(map(str, client_cpus)), *command]
    busy_before, started = busy_seconds(), time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {server.name}: {done.stderr.strip()}\n  {shlex.join(command)}")
    elapsed = time.monotonic() - started
    sample = json.loads(done.stdout)
    # What ran besides server and client, in CPUs: a rough figure that tells a disturbed round from a quiet one.
    sample["others_busy"] = max(0.0, (busy_seconds() - busy_before) / elapsed
                                - sample["server_busy"] - sample["client_busy"])
    return sample


def busy_seconds():
    """CPU time that all processes of the machine have used, and time stolen from it."""
    with open("/proc/stat", encoding="ascii") as lines:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def measure_memory(loader, options):
    """Resident bytes per key: after the load minus before it."""
    results = []
    for name, command in options.commands.items():
        flags = ["--shards", "1"] if name == SUBJECT else []
        sizes = []
        for _ in range(1 if options.quick else min(options.rounds, 2)):
            with servers.running([(name, [*command, *flags], [options.server_cpu])]) as (server,):
                server.call("DBSIZE")
                empty = server.resident_bytes()
                load(loader, server, [options.client_cpu], ["--fill", "--keys", options.keys, "--value-bytes", 64])
                if server.call("DBSIZE") != f":{options.keys}":
                    raise SystemExit(f"bench: {name} does not hold {options.keys} keys after the load")
                sizes.append((server.resident_bytes() - empty) / options.keys)
        results.append({"name": name, "bytes_per_key": statistics.median(sizes)})
    reference = next(row["bytes_per_key"] for row in results if row["name"] == REFERENCE)
    print(f"\nmemory: {options.keys:,} keys of 16 B with values of 64 B, resident bytes per key")
    for row in results:
        row["ratio"] = row["bytes_per_key"] / reference
        print(f"  {row['name']:<18}{row['bytes_per_key']:>10.1f}{row['ratio']:>8.2f}x", flush=True)
    return results


def show(result):
    """One cell as a table; the ratios are to the first server, which is redis."""
    print(f"\n{result['name']}")
    print(f"  {'':<18}{'ops/s':>12}{'ratio':>8}{'cpu us/op':>11}{'ratio':>8}"
          f"{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}{'server':>8}{'client':>8}{'others':>8}")
    reference = next(iter(result["servers"].values()))
    for name, row in result["servers"].items():
        row["ratio"] = {metric: row[metric] / reference[metric] for metric in METRICS}
        print(f"  {name:<18}{row['per_second']:>12,.0f}{row['ratio']['per_second']:>7.2f}x"
              f"{row['server_cpu_us']:>11.3f}{row['ratio']['server_cpu_us']:>7.2f}x"
              f"{row['p50_us']:>9.0f}{row['p99_us']:>9.0f}{row['p999_us']:>10.0f}"
              f"{row['server_busy']:>8.0%}{row['client_busy']:>8.0%}{row['others_busy']:>8.0%}", flush=True)
    one, two = (result["servers"].get(f"{SUBJECT} {count}") for count in ("1 shard", "2 shards"))
    if one and two:
        result["two_shards_to_one"] = {metric: two[metric] / one[metric] for metric in METRICS}
        print(f"  {'2 shards to 1':<18}{'':>12}{result['two_shards_to_one']['per_second']:>7.2f}x"
              f"{'':>11}{result['two_shards_to_one']['server_cpu_us']:>7.2f}x", flush=True)


def machine(options):
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "CPU")
    versions = {}
    for name, command in options.commands.items():
        done = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False)
        versions[name] = done.stdout.strip().split(" sha=")[0]
    cpus = len(os.sched_getaffinity(0))
    return {"description": f"{cpus} CPUs ({model}), Linux {platform.release()}", "versions": versions}


if __name__ == "__main__":
    # SIGTERM ends the servers as Ctrl-C does: through the `finally` of servers.running.
    import signal
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
