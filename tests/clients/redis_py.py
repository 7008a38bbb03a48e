"""redis-py's everyday calls: `redis_py.py PORT UNIX_SOCKET`."""

import sys
import threading
import unittest

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

PORT = int(sys.argv[1])
UNIX_SOCKET = sys.argv[2]


def connect(**options):
    options.setdefault("decode_responses", True)
    return redis.Redis(host="127.0.0.1", port=PORT, socket_timeout=30, **options)


class Everyday:
    """Run once in each protocol by the classes below."""

    protocol = 2

    def setUp(self):
        self.r = connect(protocol=self.protocol)
        self.r.flushall()

    def tearDown(self):
        self.r.close()

    def test_set_options(self):
        r = self.r
        self.assertIs(r.set("k", "v"), True)
        self.assertEqual(r.get("k"), "v")
        self.assertIsNone(r.get("absent"))
        self.assertIsNone(r.set("k", "w", nx=True))
        self.assertIs(r.set("k", "w", xx=True), True)
        self.assertIsNone(r.set("absent", "w", xx=True))
        self.assertEqual(r.set("k", "x", get=True), "w")
        self.assertTrue(r.set("k", "y", ex=100))
        self.assertIn(r.ttl("k"), (99, 100))
        self.assertTrue(r.set("k", "z", keepttl=True))
        self.assertGreater(r.pttl("k"), 90_000)
        self.assertTrue(r.set("k", "z", px=50_000))
        self.assertLessEqual(r.pttl("k"), 50_000)
        self.assertTrue(r.set("k", "z", exat=4_000_000_000))
        self.assertEqual(r.expiretime("k"), 4_000_000_000)
        self.assertEqual(r.getex("k", persist=True), "z")
        self.assertEqual(r.ttl("k"), -1)
        self.assertEqual(r.getdel("k"), "z")
        self.assertEqual(r.ttl("k"), -2)

    def test_strings(self):
        r = self.r
        self.assertEqual(r.append("s", "Hello"), 5)
        self.assertEqual(r.append("s", " World"), 11)
        self.assertEqual(r.getrange("s", -5, -1), "World")
        self.assertEqual(r.setrange("s", 6, "Redis"), 11)
        self.assertEqual(r.strlen("s"), 11)
        self.assertEqual(r.incr("n"), 1)
        self.assertEqual(r.incrby("n", 41), 42)
        self.assertEqual(r.decr("n", 2), 40)
        self.assertEqual(r.incrbyfloat("n", 0.5), 40.5)
        self.assertTrue(r.setnx("once", 1))
        self.assertFalse(r.setnx("once", 2))
        self.assertTrue(r.execute_command("SETEX", "short", 10, "v"))
        self.assertTrue(r.execute_command("PSETEX", "short", 10_000, "v"))
        self.assertTrue(r.mset({"a": 1, "b": 2, "c": 3}))
        self.assertEqual(r.mget("a", "absent", "c"), ["1", None, "3"])
        self.assertFalse(r.msetnx({"c": 4, "d": 4}))
        self.assertIsNone(r.get("d"))
        r.mset({"x": "ohmytext", "y": "mynewtext"})
        self.assertEqual(r.lcs("x", "y"), "mytext")
        self.assertEqual(r.lcs("x", "y", len=True), 6)

    def test_binary_safe(self):
        with connect(protocol=self.protocol, decode_responses=False) as raw:
            key, value = b"\x00\r\n\xff", bytes(range(256)) * 1000
            raw.set(key, value)
            self.assertEqual(raw.get(key), value)
            self.assertEqual(raw.keys(), [key])
            big = b"x" * (5 << 20)
            raw.set("big", big)
            self.assertEqual(raw.get("big"), big)

    def test_text(self):
        self.r.set("größe", "日本語")
        self.assertEqual(self.r.get("größe"), "日本語")

    def test_keys(self):
        r = self.r
        r.mset({f"user:{n}": n for n in range(10)})
        self.assertEqual(sorted(r.keys("user:[0-4]")), [f"user:{n}" for n in range(5)])
        self.assertEqual(r.exists("user:1", "user:2", "user:1", "absent"), 3)
        self.assertEqual(r.delete("user:1", "absent", "user:2"), 2)
        self.assertEqual(r.unlink("user:3", "user:4"), 2)
        self.assertEqual(r.touch("user:5", "user:1"), 1)
        self.assertEqual(r.type("user:5"), "string")
        self.assertEqual(r.type("user:1"), "none")
        self.assertEqual(r.dbsize(), 6)
        self.assertTrue(r.randomkey().startswith("user:"))
        self.assertTrue(r.rename("user:5", "moved"))
        self.assertFalse(r.renamenx("moved", "user:6"))
        with self.assertRaisesRegex(redis.ResponseError, "no such key"):
            r.rename("absent", "elsewhere")
        self.assertTrue(r.copy("moved", "copied"))
        self.assertFalse(r.copy("moved", "copied"))
        self.assertTrue(r.copy("moved", "copied", replace=True))
        self.assertTrue(r.copy("moved", "copied", destination_db=3))
        self.assertTrue(r.move("copied", 4))
        self.assertFalse(r.exists("copied"))
        self.assertTrue(r.swapdb(3, 4))
        with connect(db=3) as third:
            self.assertEqual(third.get("copied"), "5")
        self.assertEqual(r.object("encoding", "moved"), "int")
        self.assertEqual(r.object("refcount", "user:0") > 0, True)
        self.assertTrue(r.flushdb())
        self.assertEqual(r.dbsize(), 0)
        self.assertIsNone(r.randomkey())
        self.assertTrue(r.flushall(asynchronous=True))

    def test_expiry(self):
        r = self.r
        r.set("k", "v")
        self.assertTrue(r.expire("k", 100))
        self.assertFalse(r.expire("k", 200, nx=True))
        self.assertTrue(r.expire("k", 200, xx=True, gt=True))
        self.assertFalse(r.expire("k", 300, lt=True))
        self.assertTrue(r.pexpire("k", 100_000))
        self.assertTrue(r.expireat("k", 4_000_000_000))
        self.assertEqual(r.pexpiretime("k"), 4_000_000_000_000)
        self.assertTrue(r.persist("k"))
        self.assertFalse(r.persist("k"))
        self.assertTrue(r.expire("k", -1))
        self.assertIsNone(r.get("k"))
        self.assertFalse(r.expire("k", 10))

    def test_scan_iterators(self):
        r = self.r
        wanted = {f"item:{n}" for n in range(1000)}
        r.mset({**{key: "v" for key in wanted}, "other": "v"})
        self.assertEqual(set(r.scan_iter(match="item:*", count=50)), wanted)
        self.assertEqual(set(r.scan_iter(_type="string")), wanted | {"other"})
        self.assertEqual(list(r.scan_iter(_type="list")), [])
        cursor, keys = r.scan(0, count=10)
        self.assertIsInstance(cursor, int)
        self.assertLessEqual(len(keys), 1001)

    def test_pipeline(self):
        with self.r.pipeline(transaction=False) as pipe:
            for n in range(1000):
                pipe.set(f"p:{n}", n).get(f"p:{n}")
            replies = pipe.execute()
        self.assertEqual(replies[0::2], [True] * 1000)
        self.assertEqual(replies[1::2], [str(n) for n in range(1000)])
        pipe = self.r.pipeline(transaction=False)
        pipe.set("s", "text").incr("s").get("s")
        replies = pipe.execute(raise_on_error=False)
        self.assertIsInstance(replies[1], redis.ResponseError)
        self.assertEqual([replies[0], replies[2]], [True, "text"])

    def test_errors(self):
        r = self.r
        r.set("s", "text")
        with self.assertRaisesRegex(redis.ResponseError, "^value is not an integer or out of range$"):
            r.incr("s")
        with self.assertRaisesRegex(redis.ResponseError, "^unknown command 'NOSUCH', with args beginning with: 'a' "):
            r.execute_command("NOSUCH", "a")
        with self.assertRaisesRegex(redis.ResponseError, "^wrong number of arguments for 'get' command$"):
            r.execute_command("GET")
        with self.assertRaisesRegex(redis.ResponseError, "^syntax error$"):
            r.execute_command("SET", "k", "v", "BAD")
        with self.assertRaisesRegex(redis.ResponseError, "^invalid expire time in 'set' command$"):
            r.set("k", "v", ex=0)
        with self.assertRaisesRegex(redis.ResponseError, "^DB index is out of range$"):
            r.execute_command("SELECT", 99)
        with self.assertRaises(redis.AuthenticationError):
            connect(password="none is set", protocol=2).ping()

    def test_server(self):
        r = self.r
        info = r.info()
        for field in ("redis_version", "process_id", "uptime_in_seconds", "connected_clients", "used_memory",
                      "total_commands_processed", "keyspace_hits", "role"):
            self.assertIn(field, info)
        self.assertEqual(info["tcp_port"], PORT)
        self.assertEqual(info["role"], "master")
        r.set("k", "v", ex=1000)
        self.assertEqual({key: r.info("keyspace")["db0"][key] for key in ("keys", "expires")},
                         {"keys": 1, "expires": 1})
        self.assertIn("cmdstat_set", r.info("commandstats"))
        self.assertTrue(r.config_set("maxmemory-policy", "allkeys-lru"))
        self.assertEqual(r.config_get("maxmemory-policy"), {"maxmemory-policy": "allkeys-lru"})
        self.assertTrue(r.config_set("maxmemory-policy", "noeviction"))
        self.assertIn("maxmemory", r.config_get("maxmem*"))
        self.assertTrue(r.config_resetstat())
        seconds, microseconds = r.time()
        self.assertGreater(seconds, 1_600_000_000)
        self.assertLess(microseconds, 1_000_000)
        self.assertGreater(r.command_count(), 60)
        self.assertEqual(r.command_getkeys("MSET", "a", 1, "b", 2), ["a", "b"])
        self.assertGreater(r.memory_usage("k"), 0)
        self.assertIsInstance(r.slowlog_get(), list)
        self.assertIsInstance(r.slowlog_len(), int)
        self.assertTrue(r.slowlog_reset())
        self.assertTrue(r.ping())
        self.assertEqual(r.echo("hello"), "hello")

    def test_client_commands(self):
        r = connect(protocol=self.protocol, client_name="named", single_connection_client=True)
        self.assertEqual(r.client_getname(), "named")
        self.assertTrue(r.client_setname("renamed"))
        own = r.client_info()
        self.assertEqual((own["name"], str(own["db"]), own["cmd"]), ("renamed", "0", "client|info"))
        self.assertEqual(int(own["id"]), r.client_id())
        self.assertEqual(int(own["resp"]), self.protocol)
        listed = {int(client["id"]): client for client in r.client_list()}
        self.assertEqual(listed[int(own["id"])]["name"], "renamed")
        self.assertTrue(r.client_no_evict("ON"))
        with connect(single_connection_client=True) as other:
            victim = other.client_id()
            self.assertEqual(r.client_kill_filter(_id=victim), 1)
        self.assertEqual(r.client_kill_filter(_id=victim), 0)
        self.assertTrue(r.client_pause(1))
        self.assertTrue(r.client_unpause())
        self.assertFalse(r.client_unblock(own["id"]))
        r.close()

    def test_reconnects(self):
        r = connect(protocol=self.protocol, retry=Retry(NoBackoff(), 1), single_connection_client=True)
        before = r.client_id()
        self.assertEqual(self.r.client_kill_filter(_id=before), 1)
        self.assertTrue(r.ping())
        self.assertNotEqual(r.client_id(), before)
        r.close()

    def test_pool_between_threads(self):
        pool = redis.ConnectionPool(host="127.0.0.1", port=PORT, protocol=self.protocol, max_connections=64)
        failures = []

        def work(number):
            try:
                r = redis.Redis(connection_pool=pool)
                for turn in range(100):
                    r.incr("total")
                    r.set(f"t:{number}", turn)
                    if r.get(f"t:{number}") != str(turn).encode():
                        failures.append((number, turn))
            except Exception as error:  # any of them is a result here
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.assertEqual(self.r.get("total"), "1600")
        pool.disconnect()

    def test_databases_and_sockets(self):
        self.r.set("k", "zero")
        with connect(db=5, protocol=self.protocol) as fifth:
            self.assertIsNone(fifth.get("k"))
            fifth.set("k", "five")
        with redis.Redis(unix_socket_path=UNIX_SOCKET, decode_responses=True, protocol=self.protocol) as local:
            self.assertEqual(local.get("k"), "zero")
        with redis.from_url(f"redis://127.0.0.1:{PORT}/5?decode_responses=True") as fifth:
            self.assertEqual(fifth.get("k"), "five")

    def test_monitor(self):
        with self.r.monitor() as monitor:
            self.r.set("seen", "yes")
            for command in monitor.listen():
                if command["command"] == "SET seen yes":
                    self.assertEqual(command["db"], 0)
                    break


class Resp2(Everyday, unittest.TestCase):
    protocol = 2


class Resp3(Everyday, unittest.TestCase):
    protocol = 3


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
