"""The servers that a bench compares: how they are started, paused, measured and always ended."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

START_SECONDS_MAX = 30


class Server:
    """One running server, pinned to some CPUs, in a directory of its own; without persistence, unless `flags` say so.
    `files` is a directory whose contents are there when it starts."""

    def __init__(self, name, command, cpus=None, files=None, flags=()):
        self.name = name
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="pinion-bench-")
        if files is not None:
            shutil.copytree(files, self.directory, dirs_exist_ok=True)
        argv = [*command, "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", self.directory, *flags]
        if cpus is not None:
            argv = ["taskset", "-c", ",".join(map(str, cpus)), *argv]
        self.log_path = os.path.join(self.directory, "log")
        started = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)
        try:
            self._wait_until_ready(argv)
            self.start_seconds = time.monotonic() - started
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self):
        # taskset replaces itself by the server, so the child is the server in either case.
        return self.process.pid

    def _wait_until_ready(self, argv):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.call("PING") == "+PONG":
                    return
            time.sleep(0.02)
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            tail = log.read()[-2000:]
        raise SystemExit(f"bench: {self.name} did not start: {shlex.join(argv)}\n{tail}")

    def call(self, *words):
        """One command whose reply is a single line or a bulk string."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            request = b"*%d\r\n" % len(words)
            for word in words:
                request += b"$%d\r\n%s\r\n" % (len(word), word.encode())
            connection.sendall(request)
            reader = connection.makefile("rb")
            line = reader.readline().rstrip(b"\r\n").decode()
            if line.startswith("$"):
                return reader.read(int(line[1:])).decode(errors="replace")
            return line

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def resident_bytes(self):
        # smaps_rollup counts pages; the VmRSS of `status` lags behind by some per-thread pages.
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
        raise SystemExit(f"bench: no resident size of {self.name}")

    def end(self):
        """An orderly end: everything is in its files. They stay until `stop`."""
        with contextlib.suppress(OSError, ValueError):
            self.call("SHUTDOWN", "NOSAVE")
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


@contextlib.contextmanager
def running(specifications, files=None, flags=()):
    """Starts (name, command, cpus) each; whatever happens, none survives."""
    servers = []
    try:
        for name, command, cpus in specifications:
            servers.append(Server(name, command, cpus, files, flags))
        yield servers
    finally:
        for server in servers:
            server.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
