#!/usr/bin/env python3
"""Writes what a real server replies into a transcript of tests/newer.

    scripts/record_replies.py /path/to/redis-server tests/newer/redis.txt
    scripts/record_replies.py /path/to/valkey-server tests/newer/valkey.txt

The transcript's commands stay, and its headings, comments, and Pinion's own replies where those are meant to differ;
every other reply is asked for again. A file of commands alone is a transcript that nobody has recorded yet.
tests/newer/main.rs describes the notation. `--output FILE` leaves the transcript as it is.
"""

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"|(\S+)')
ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(.))")
CONTROL = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
UNORDERED = {b"HGETALL", b"HKEYS", b"HVALS"}
SHOWN = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}


def words(line):
    """The arguments of a command as it is written in a transcript."""

    def plain(escape):
        code, letter = escape.groups()
        return bytes([int(code, 16)]) if code else CONTROL.get(letter, letter)

    return [
        ESCAPE.sub(plain, word.group(1)) if word.group(1) is not None else word.group(2)
        for word in WORD.finditer(line.encode())
    ]


def escaped(data):
    return "".join(SHOWN.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in data)


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def ask(self, argv):
        """The reply to a command; items in order where the server's order means nothing."""
        request = b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in argv)
        self.socket.sendall(request)
        return self.reply(argv[0].upper() in UNORDERED)

    def reply(self, in_order=False):
        """The next reply, in the notation of transcripts."""
        line = self.file.readline()
        if not line:
            raise ConnectionError("the server has closed the connection")
        kind, rest = chr(line[0]), line[1:-2]
        if kind in "+(,":
            return kind + escaped(rest)
        if kind in "-:":
            return kind + rest.decode()
        if kind == "_":
            return "null"
        if kind == "#":
            return "#true" if rest == b"t" else "#false"
        length = int(rest)
        if length < 0:
            return "nil" if kind == "$" else "nil array"
        if kind in "$=!":
            data = self.file.read(length + 2)[:-2]
            return {"$": '"%s"', "=": "=%s", "!": "!%s"}[kind] % escaped(data)
        opening, closing = {"*": ("[", "]"), "~": ("~[", "]"), "%": ("{", "}")}[kind]
        item = (lambda: f"{self.reply()}: {self.reply()}") if kind == "%" else self.reply
        items = [item() for _ in range(length)]
        return opening + ", ".join(sorted(items) if in_order else items) + closing


def record(lines, connect):
    """The transcript with the replies of a server."""
    client = None
    lines = iter(lines)
    keep = False
    for line in lines:
        if line.startswith("== "):
            client = connect()
            client.ask([b"FLUSHALL"])
            if line.endswith(" RESP3"):
                client.ask([b"HELLO", b"3"])
            yield line
        elif line.startswith("> "):
            yield line
            try:
                yield client.ask(words(line[2:]))
            except ConnectionError as error:
                sys.exit(f"{error}: {line}")
        elif line.startswith("% "):
            yield line
            keep = True
        elif keep or not line or line.startswith("# "):
            yield line
            keep = False


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", help="a redis-server or valkey-server")
    parser.add_argument("transcript")
    parser.add_argument("--output", help="where to write, instead of over the transcript")
    arguments = parser.parse_args()
    with open(arguments.transcript) as file:
        lines = file.read().splitlines()

    version = subprocess.run([arguments.server, "--version"], capture_output=True, text=True, check=True).stdout
    name, number = re.match(r"(\w+)[- ]server (?:v=)?(\S+)", version).groups()
    if lines and lines[0].startswith("# Recorded"):
        del lines[0]

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "socket")
        flags = ["--port", "0", "--unixsocket", path, "--dir", directory, "--save", "", "--enable-debug-command", "yes"]
        server = subprocess.Popen([arguments.server, *flags], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while not os.path.exists(path):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the server does not start")
                time.sleep(0.01)
            recorded = list(record(lines, lambda: Connection(path)))
        finally:
            server.terminate()
            server.wait()

    with open(arguments.output or arguments.transcript, "w") as file:
        file.write(f"# Recorded from {name} {number} by scripts/record_replies.py.\n")
        file.writelines(line + "\n" for line in recorded)


if __name__ == "__main__":
    main()
