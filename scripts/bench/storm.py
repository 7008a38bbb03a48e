"""Progress: how long a GET waits while everybody else writes the same keys, ten at a time.

Prints p99.9 of a GET on keys that nobody writes, then while connections send MSETs of ten of the same keys without
pause, and what part of the transactions had to try again.
"""

import threading

import servers

KEYS = 100
WRITERS = 50
SHARDS = 4


def measure(command, load, options):
    argv = [*command, "--shards", str(SHARDS)]
    with servers.running([("pinion", argv, None)]) as (server,):
        load(server, None, ["--fill", "--keys", KEYS])
        get = ["--command", "get", "--keys", KEYS, "--pipeline", 1, "--connections", 1, "--warmup", options.warmup]
        seconds = max(options.seconds, 2.0)
        alone = load(server, None, [*get, "--seconds", seconds])
        writing = {}

        def write():
            writing.update(load(server, None, [
                "--command", "mset", "--keys", KEYS, "--pipeline", 1, "--connections", WRITERS, "--multi", 10,
                "--warmup", 0, "--seconds", seconds + 2 * options.warmup + 1]))

        writer = threading.Thread(target=write)
        writer.start()
        stormy = load(server, None, [*get, "--seconds", seconds])
        writer.join()
        info = dict(line.split(":", 1) for line in server.call("INFO", "stats").splitlines() if ":" in line)
    ratio = stormy["p999_us"] / alone["p999_us"]
    print(f"\nstorm: one GET at a time, {SHARDS} shards; {WRITERS} connections write {KEYS} keys by MSET of 10")
    print(f"  p99.9 alone {alone['p999_us']:.0f} us, in the storm {stormy['p999_us']:.0f} us: {ratio:.1f}x;"
          f" p50 {alone['p50_us']:.0f} and {stormy['p50_us']:.0f} us; {writing['per_second']:,.0f} MSETs per second")
    print(f"  transactions {info['pinion_transactions']}, at once {info['pinion_transactions_at_once']},"
          f" refused {info['pinion_transactions_refused']}", flush=True)
