"""Cells of the suite `persistence` about the append-only file: what it costs while clients write. Each server runs in a
directory of its own on the same disk, one after the other in alternating rounds.
"""

import statistics

import servers

EVERYSEC = "persistence/appendonly/everysec"
ALWAYS = "persistence/appendonly/always"
NAMES = (EVERYSEC, f"{ALWAYS}/c50", f"{ALWAYS}/c256")


def variants(cell, options, reference, subject):
    """(row, command, flags, CPUs)"""
    one, both = [options.server_cpu], [options.server_cpu, options.client_cpu]
    redis, pinion = options.commands[reference], options.commands[subject]
    one_shard = [*pinion, "--shards", "1"]
    if cell == EVERYSEC:
        everysec = ("--appendonly", "yes", "--appendfsync", "everysec")
        # At 64 MB and each time it has doubled the file is rewritten by a child on the server's CPU, every second or so
        # at this pace. What that costs stands apart.
        alone = (*everysec, "--auto-aof-rewrite-percentage", "0")
        policies = [("no file", ()), ("everysec", alone)]
        if not options.quick:
            policies.append(("everysec and rewrites", everysec))
        for policy, flags in policies:
            yield f"{reference}, {policy}", redis, flags, one
            yield f"{subject}, {policy}", one_shard, flags, one
        if not options.quick:
            for policy, flags in policies[:2]:
                yield f"{subject} 2 shards, {policy}", [*pinion, "--shards", "2"], flags, both
    else:
        flags = ("--appendonly", "yes", "--appendfsync", "always")
        yield reference, redis, flags, one
        yield f"{subject} 1 shard", one_shard, flags, one
        yield f"{subject} 2 shards", [*pinion, "--shards", "2"], flags, both


def measure(names, load, options, reference, subject):
    results = []
    for cell in names:
        pipeline, connections = (16, 50) if cell == EVERYSEC else (1, int(cell.rsplit("c", 1)[1]))
        samples = {}
        for _ in range(1 if options.quick else min(options.rounds, 3)):
            for name, command, flags, cpus in variants(cell, options, reference, subject):
                server = servers.Server(name, command, cpus, flags=flags)
                try:
                    sample = load(server, [options.client_cpu], [
                        "--command", "set", "--keys", options.keys, "--pipeline", pipeline,
                        "--connections", connections, "--seconds", max(options.seconds, 3), "--warmup", 1])
                finally:
                    server.stop()
                samples.setdefault(name, []).append(sample)
        results.append(result(cell, samples, reference, subject))
    return results


def result(cell, samples, reference, subject):
    rows = {name: {key: statistics.median(sample[key] for sample in rounds)
                   for key in ("per_second", "server_cpu_us", "p50_us", "p999_us")}
            for name, rounds in samples.items()}
    print(f"\n{cell}")
    print(f"  {'':<32}{'ops/s':>12}{'ratio':>8}{'cpu us/op':>11}{'p50 us':>9}{'p99.9 us':>10}")
    first = next(iter(rows.values()))
    for name, row in rows.items():
        row["ratio"] = {"per_second": row["per_second"] / first["per_second"]}
        print(f"  {name:<32}{row['per_second']:>12,.0f}{row['ratio']['per_second']:>7.2f}x{row['server_cpu_us']:>11.3f}"
              f"{row['p50_us']:>9.0f}{row['p999_us']:>10.0f}", flush=True)
    if cell == EVERYSEC:
        for name, row in rows.items():
            server, policy = name.split(", ")
            if policy != "no file":
                before = rows[f"{server}, no file"]
                kept = row["per_second"] / before["per_second"]
                more = row["server_cpu_us"] - before["server_cpu_us"]
                print(f"  {server} keeps {kept:.0%} of its throughput with {policy}; "
                      f"{more * 1000:+.0f} ns of CPU per SET")
    return {"name": cell, "servers": rows}
