"""Seeds for scripts/fuzz.sh: what redis-server writes, taken apart for the targets of tests/fuzz.

Usage: fuzz_seeds.py DIRECTORY; makes DIRECTORY/<target>/<file>.
"""

import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time

# What is longer is cut by libFuzzer (-max_len), and then has no end.
LENGTH_MAX = 2000

FILL = """
SET short abc
SET int 12345
SET big 123456789012345
SETRANGE long 1000 x
RPUSH list a 1 200 70000 5000000000 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
SADD intset 1 2 300 70000
SADD intset64 1 5000000000
SADD set a b 1
HSET hash a 1 b two c 70000
ZADD zset 1.5 a -2 b 3e10 c
XADD stream 1-1 a 1 b 2
XADD stream 1-2 a 3 b 4
XADD stream 2-1 c 5
XDEL stream 1-2
XGROUP CREATE stream group 0
XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >
PFADD hll a b c d e
EXPIRE hash 100000
""".strip().splitlines()


def main():
    directory = sys.argv[1]
    with tempfile.TemporaryDirectory() as files:
        path = os.path.join(files, "socket")
        server = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--dir", files, "--save", "", "--appendonly", "yes",
             "--rdbcompression", "no", "--aof-use-rdb-preamble", "no"], stdout=subprocess.DEVNULL)
        try:
            client = connect(path)
            for line in FILL:
                call(client, *line.split(" "))
            for name in ("list-max-listpack-size", "zset-max-listpack-entries", "hash-max-listpack-entries"):
                call(client, "CONFIG", "SET", name, "5")
            for number in range(12):
                call(client, "RPUSH", "nodes", "x" * 70 + str(number))
                call(client, "ZADD", "skiplist", str(number), "member" + str(number))
                call(client, "HSET", "hashtable", "field" * 5 + str(number), str(number))
                call(client, "SADD", "hashset", "member" + str(number))
            for compression in ("no", "yes"):
                call(client, "CONFIG", "SET", "rdbcompression", compression)
                for key in call(client, "KEYS", "*"):
                    take_payload(directory, call(client, "DUMP", key))
                take_files(directory, [call(client, "DUMP", key) for key in call(client, "KEYS", "*")])
        finally:
            server.terminate()
            server.wait()
        appended = os.path.join(files, "appendonlydir")
        for name in os.listdir(appended):
            with open(os.path.join(appended, name), "rb") as file:
                text = file.read()
            if name.endswith(".incr.aof"):
                # Most of it in the middle is the same over and over.
                for part in (text[:LENGTH_MAX], text[-LENGTH_MAX:]):
                    part = part[part.find(b"*"):]
                    seed(directory, "readers__request_parser", b"\x05" + part)
                    seed(directory, "append_only__commands", part)
                    seed(directory, "append_only__loaded_commands", part)
            if name.endswith(".manifest"):
                seed(directory, "append_only__manifests", text)


def take_payload(directory, payload):
    seed(directory, "rdb__payloads", payload)
    code, value = payload[0], payload[1:-10]
    seed(directory, "rdb__values", bytes([code]) + value)
    seed(directory, "rdb__sealed_payloads", payload[-10:-9] + payload[:-10])
    packed = {11: "readers__intset", 16: "listpack__bytes_from_outside", 17: "listpack__bytes_from_outside",
              20: "listpack__bytes_from_outside"}
    if code in packed:
        seed(directory, packed[code], text_at(value, 0)[0])
    if code == 19:
        at = 1
        for _ in range(value[0]):
            _, at = text_at(value, at)
            pack, at = text_at(value, at)
            seed(directory, "stream_node__bytes_from_outside", pack)
            seed(directory, "listpack__bytes_from_outside", pack)


def take_files(directory, payloads):
    """Files of one key each, and one of all that are short; with a deadline, in two databases."""
    records = [b"\xfc\x00\x01\x02\x03\x04\x05\x06\x07" * (number % 2) + payload[:1] + b"\x03k%02d" % number + payload[1:-10]
               for number, payload in enumerate(payloads)]
    short = [record for record in records if len(record) < 200]
    records.append(b"\xfa\x03ver\x017\xfe\x00\xfb\x20\x04" + b"".join(short[::2]) + b"\xfe\x09" + b"".join(short[1::2]))
    for record in records:
        if len(record) < LENGTH_MAX:
            seed(directory, "rdb__files", b"\x07" + record + b"\xff" + bytes(8))
            seed(directory, "rdb__sealed_files", b"\x07" + record)
            seed(directory, "rdb__loaded_files", b"\x00" + record)
            # With an index of two extents, which is the last eight bytes.
            seed(directory, "rdb__loaded_files", b"\x68" + record + bytes([1, 1, 0, 1, 2, 2, 1, 0]))


def text_at(value, at):
    """A string of up to 14 bits of length that is not compressed, and where it ends."""
    if value[at] >> 6 == 0:
        length, at = value[at], at + 1
    elif value[at] >> 6 == 1:
        length, at = (value[at] & 0x3F) << 8 | value[at + 1], at + 2
    else:
        return b"", len(value)
    return value[at:at + length], at + length


def seed(directory, target, text):
    os.makedirs(os.path.join(directory, target), exist_ok=True)
    with open(os.path.join(directory, target, hashlib.sha1(text).hexdigest()[:16]), "wb") as file:
        file.write(text)


def connect(path):
    for _ in range(500):
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(path)
            return client.makefile("rwb")
        except OSError:
            client.close()
            time.sleep(0.01)
    raise SystemExit("fuzz: redis-server does not start")


def call(client, *words):
    words = [word if isinstance(word, bytes) else word.encode() for word in words]
    client.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    client.flush()
    return reply(client)


def reply(client):
    line = client.readline()
    if line[:1] == b"$":
        length = int(line[1:])
        return None if length < 0 else client.read(length + 2)[:-2]
    if line[:1] == b"*":
        return [reply(client) for _ in range(int(line[1:]))]
    if line[:1] == b"-":
        raise SystemExit(f"fuzz: redis-server replies {line.decode().strip()}")
    return line[1:].strip()


if __name__ == "__main__":
    main()
