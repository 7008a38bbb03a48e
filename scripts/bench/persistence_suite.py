"""Cells of the suite `persistence`: what a snapshot in the background takes, and what it costs those who are served
meanwhile. Servers may use all CPUs (a child has to run somewhere), the client one of them; all write to the same disk.
"""

import json
import shlex
import statistics
import subprocess
import time

import servers

VALUE_BYTES = 64
CONNECTIONS = 50
# Of the load around one BGSAVE; the save begins after the warm-up.
LOAD_SECONDS = 8
WARMUP_SECONDS = 2
SAVE_SECONDS_MAX = 120
# Requests that take longer are looked at one by one: which of them ran while the save did.
SLOW_MS = 1

IDLE = "persistence/bgsave/idle"
UNDER_LOAD = "persistence/bgsave/set"
NAMES = (IDLE, UNDER_LOAD)
# Each with the ratio to the reference that is aimed at, and whether more is better.
COLUMNS = {
    IDLE: (("seconds", 0.35), ("freeze_ms", 0.3), ("file_mb", None)),
    # `worst_ms` is of the requests while the save ran, `worst_of_all_ms` of the whole time of the load.
    UNDER_LOAD: (("seconds", 0.35), ("freeze_ms", 0.3), ("worst_ms", 0.5), ("worst_of_all_ms", None), ("cow_mb", 0.5),
                 ("ops_per_second", -1.3)),
}


def variants(commands, subject, cpus):
    for name, command in commands.items():
        if name == subject:
            for shards in (1, 2):
                yield f"{name} {shards} shard{'s' if shards > 1 else ''}", [*command, "--shards", str(shards)], cpus
        else:
            yield name, command, cpus


def measure(names, loader, options, subject):
    cpus = [options.server_cpu, options.client_cpu]
    found = list(variants(options.commands, subject, cpus))
    samples = {cell: {name: [] for name, *_ in found} for cell in names}
    for _ in range(1 if options.quick else min(options.rounds, 3)):
        for specification in found:
            with servers.running([specification]) as (server,):
                fill = [loader, "--port", server.port, "--fill", "--keys", options.persistence_keys,
                        "--value-bytes", VALUE_BYTES]
                run(fill)
                for cell in names:
                    sample = save(server)[1] if cell == IDLE else save_under_load(server, loader, options)
                    samples[cell][server.name].append(sample)
    return [result(cell, samples[cell]) for cell in names]


def save(server):
    """One BGSAVE, from the request until the server knows of its end: when it began, and its figures."""
    commands = int(field(server, "stats", "total_commands_processed"))
    started = time.monotonic()
    reply = server.call("BGSAVE")
    if reply != "+Background saving started":
        raise SystemExit(f"bench: {server.name} answers BGSAVE with {reply}")
    while field(server, "persistence", "rdb_bgsave_in_progress") != "0":
        if time.monotonic() - started > SAVE_SECONDS_MAX:
            raise SystemExit(f"bench: {server.name} does not end its BGSAVE")
        time.sleep(0.005)
    seconds = time.monotonic() - started
    commands = int(field(server, "stats", "total_commands_processed")) - commands
    if field(server, "persistence", "rdb_last_bgsave_status") != "ok":
        raise SystemExit(f"bench: the BGSAVE of {server.name} failed")
    # All cores of Pinion stand still for longer than the fork; redis-server for the fork.
    freeze_us = field(server, "persistence", "pinion_freeze_usec") or field(server, "stats", "latest_fork_usec")
    with open(f"{server.directory}/dump.rdb", "rb") as dump:
        file_bytes = dump.seek(0, 2)
    return started, {
        "seconds": seconds,
        "freeze_ms": int(freeze_us) / 1000,
        "cow_mb": int(field(server, "persistence", "rdb_last_cow_size")) / 2**20,
        "file_mb": file_bytes / 2**20,
        "ops_per_second": commands / seconds,
    }


def save_under_load(server, loader, options):
    command = [loader, "--port", server.port, "--command", "set", "--keys", options.persistence_keys, "--value-bytes", VALUE_BYTES,
               "--pipeline", 1, "--connections", CONNECTIONS, "--seconds", LOAD_SECONDS, "--warmup", WARMUP_SECONDS,
               "--slow-ms", SLOW_MS]
    command = ["taskset", "-c", str(options.client_cpu), *map(str, command)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        time.sleep(WARMUP_SECONDS + 0.5)
        began, sample = save(server)
        output, _ = client.communicate()
    if client.returncode != 0:
        raise SystemExit(f"bench: {shlex.join(command)} failed")
    load = json.loads(output)
    ended = began + sample["seconds"]
    # Both clocks are CLOCK_MONOTONIC.
    during = [took for end, took in load["slow_ms"] if end >= began and end - took / 1000 <= ended]
    return {**sample, "worst_ms": max(during, default=SLOW_MS), "worst_of_all_ms": load["max_us"] / 1000}


def field(server, section, name):
    for line in server.call("INFO", section).splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def run(command):
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"bench: {shlex.join(command)}: {done.stderr.strip()}")


def result(cell, samples):
    rows = {name: {key: statistics.median(sample[key] for sample in rounds) for key in rounds[0]}
            for name, rounds in samples.items()}
    reference = next(iter(rows.values()))
    columns = COLUMNS[cell]
    print(f"\n{cell}")
    print(f"  {'':<18}" + "".join(f"{key:>16}{'ratio':>8}" for key, _ in columns))
    for name, row in rows.items():
        row["ratio"] = {key: row[key] / reference[key] if reference[key] else 0.0 for key, _ in columns}
        print(f"  {name:<18}" + "".join(f"{row[key]:>16,.2f}{row['ratio'][key]:>7.2f}x" for key, _ in columns), flush=True)
    aims = (f"{key} {'>=' if aim < 0 else '<='} {abs(aim)}" for key, aim in columns if aim)
    print(f"  aimed at: {', '.join(aims)}")
    return {"name": cell, "servers": rows}
