"""Everyday uses, one function each: `uses.py PORT [NAME]`.

Time is an argument wherever a use decides by it, so nothing here waits for a clock; what must happen within a
moment is waited for by commands that block.
"""

import hashlib
import json
import sys
import threading
import unittest

import redis

PORT = int(sys.argv.pop(1))
WORKERS = 8
BLOCK_SECONDS = 30


def connect(**options):
    options.setdefault("decode_responses", True)
    return redis.Redis(host="127.0.0.1", port=PORT, socket_timeout=2 * BLOCK_SECONDS, **options)


def at_once(work):
    """Runs `work(number)` in several threads, each with a connection of its own; returns what they return."""
    results, failures = [None] * WORKERS, []

    def run(number):
        try:
            with connect() as r:
                results[number] = work(r, number)
        except Exception as error:  # any of them is a result here
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


class Uses(unittest.TestCase):
    def setUp(self):
        self.r = connect()
        self.r.flushall()

    def tearDown(self):
        self.r.close()

    # Caching

    def test_page_cache(self):
        r = self.r
        pages = {f"/products/{number}": {"title": f"product {number}"} for number in range(300)}
        pages["/about"] = {"title": "about"}
        for url, content in pages.items():
            r.setex(f"cache:page:{url}", 3600, json.dumps(content))
        self.assertEqual(json.loads(r.get("cache:page:/products/7")), {"title": "product 7"})
        self.assertIn(r.ttl("cache:page:/about"), (3599, 3600))
        # One page goes, then all that match, and nothing else.
        self.assertEqual(r.delete("cache:page:/products/7"), 1)
        self.assertIsNone(r.get("cache:page:/products/7"))
        cursor, removed = None, 0
        while cursor != 0:
            cursor, keys = r.scan(cursor or 0, match="cache:page:/products/*", count=100)
            removed += r.delete(*keys) if keys else 0
        self.assertEqual(removed, 299)
        self.assertEqual(r.keys("cache:page:*"), ["cache:page:/about"])

    def test_cache_aside(self):
        loads = []

        def get_user(user):
            cached = self.r.get(f"user:{user}")
            if cached:
                return json.loads(cached)
            loads.append(user)
            found = {"id": user, "name": f"name {user}"}
            self.r.setex(f"user:{user}", 3600, json.dumps(found))
            return found

        self.assertEqual(get_user(7), get_user(7))
        self.assertEqual(loads, [7])
        self.r.delete("user:7")
        get_user(7)
        self.assertEqual(loads, [7, 7])

    def test_api_response_cache(self):
        def key(endpoint, params):
            return f"api:{endpoint}:{hashlib.sha256(json.dumps(params, sort_keys=True).encode()).hexdigest()}"

        one, other = key("search", {"q": "a", "page": 1}), key("search", {"page": 2, "q": "a"})
        self.r.setex(one, 300, json.dumps({"hits": 3}))
        self.assertEqual(json.loads(self.r.get(key("search", {"page": 1, "q": "a"}))), {"hits": 3})
        self.assertIsNone(self.r.get(other))

    def test_write_through_and_write_behind(self):
        r, database = self.r, {}
        for user in range(20):
            r.setex(f"user:{user}", 3600, json.dumps({"score": user}))
            r.lpush("db:updates", json.dumps({"user_id": user, "data": {"score": user}}))
        # The writer behind sees the updates in the order in which they were made.
        order = []
        while (update := r.rpop("db:updates")) is not None:
            update = json.loads(update)
            order.append(update["user_id"])
            database[update["user_id"]] = update["data"]
        self.assertEqual(order, list(range(20)))
        self.assertEqual(database[7], json.loads(r.get("user:7")))

    # Sessions

    def test_session_storage(self):
        r = self.r
        r.setex("session:abc", 1000, json.dumps({"user_id": 7, "cart": []}))
        # An update keeps the deadline, a refresh moves it.
        session = json.loads(r.get("session:abc"))
        session["cart"].append("book")
        r.set("session:abc", json.dumps(session), keepttl=True)
        self.assertIn(r.ttl("session:abc"), (999, 1000))
        self.assertTrue(r.expire("session:abc", 5000))
        self.assertIn(r.ttl("session:abc"), (4999, 5000))
        self.assertEqual(json.loads(r.get("session:abc"))["cart"], ["book"])
        # Logged out, it cannot be refreshed.
        r.delete("session:abc")
        self.assertFalse(r.expire("session:abc", 5000))
        self.assertIsNone(r.get("session:abc"))

    def test_a_session_whose_time_has_come_is_gone(self):
        r = self.r
        r.set("session:old", "data", pxat=1)
        self.assertIsNone(r.get("session:old"))
        r.hset("session:hash", mapping={"user_id": 7})
        self.assertTrue(r.pexpireat("session:hash", 1))
        self.assertEqual(r.hgetall("session:hash"), {})
        self.assertEqual(r.dbsize(), 0)

    def test_sessions_of_a_user(self):
        r = self.r
        for number in range(5):
            with r.pipeline() as pipe:
                pipe.setex(f"session:s{number}", 3600, json.dumps({"user_id": "1000"}))
                pipe.sadd("user_sessions:1000", f"s{number}")
                pipe.execute()
        r.delete("session:s3")
        r.srem("user_sessions:1000", "s3")
        ids = sorted(r.smembers("user_sessions:1000"))
        self.assertEqual(ids, ["s0", "s1", "s2", "s4"])
        self.assertTrue(all(r.mget([f"session:{session}" for session in ids])))

    def test_user_profile_and_shopping_cart(self):
        r = self.r
        r.hset("user:1000", mapping={"name": "John", "age": 30, "email": "john@example.com"})
        self.assertEqual(r.hincrby("user:1000", "age", 1), 31)
        self.assertEqual(r.hmget("user:1000", "name", "missing", "age"), ["John", None, "31"])
        at_once(lambda r, _: [r.hincrby("cart:1000", "apple", 1) for _ in range(50)])
        self.assertEqual(r.hgetall("cart:1000"), {"apple": str(50 * WORKERS)})
        self.assertEqual(r.hdel("cart:1000", "apple"), 1)
        self.assertFalse(r.exists("cart:1000"))

    # Limits

    def test_rate_limit_by_counter(self):
        def attempt(r, _):
            allowed = 0
            for _ in range(30):
                current = r.incr("rate_limit:u:28")
                if current == 1:
                    r.expire("rate_limit:u:28", 3600)
                allowed += current <= 100
            return allowed

        self.assertEqual(sum(at_once(attempt)), 100)
        self.assertGreater(self.r.ttl("rate_limit:u:28"), 3500)
        self.assertEqual(attempt(self.r, 0), 0)
        # The next window begins anew.
        self.assertEqual(self.r.incr("rate_limit:u:29"), 1)

    def test_rate_limit_by_sliding_window(self):
        def is_allowed(r, name, now, limit=10, window=60):
            with r.pipeline() as pipe:
                pipe.zremrangebyscore("window", 0, now - window)
                pipe.zcard("window")
                pipe.zadd("window", {name: now})
                pipe.expire("window", window)
                return pipe.execute()[1] < limit

        # However many try at once: no more than the limit get through.
        tries = at_once(lambda r, number: sum(is_allowed(r, f"{number}:{turn}", 1000) for turn in range(20)))
        self.assertEqual(sum(tries), 10)
        self.assertEqual(self.r.zcard("window"), 20 * WORKERS)
        self.assertFalse(is_allowed(self.r, "late", 1059))
        self.assertTrue(is_allowed(self.r, "later", 1061), "the first ones have left the window")
        self.assertEqual(self.r.zrange("window", 0, -1), ["late", "later"])

    # Rankings

    def test_leaderboard(self):
        r = self.r
        r.zadd("board", {f"player:{number:03}": number * 10 for number in range(500)})
        self.assertEqual(r.zrevrange("board", 0, 2, withscores=True),
                         [("player:499", 4990.0), ("player:498", 4980.0), ("player:497", 4970.0)])
        self.assertEqual(r.zrevrank("board", "player:490"), 9)
        rank = r.zrevrank("board", "player:250")
        around = r.zrevrange("board", max(0, rank - 2), rank + 2)
        self.assertEqual(around, [f"player:{number}" for number in (252, 251, 250, 249, 248)])
        self.assertEqual(r.zincrby("board", 5000, "player:000"), 5000.0)
        self.assertEqual(r.zrevrank("board", "player:000"), 0)
        self.assertIsNone(r.zrevrank("board", "nobody"))
        self.assertEqual(rank / r.zcard("board") * 100, 49.8)
        self.assertEqual(r.zcount("board", 4900, "+inf"), 11)
        # A week is the sum of its days, which live on different shards.
        r.zadd("day:1", {"a": 1, "b": 5})
        r.zadd("day:2", {"a": 10, "c": 3})
        self.assertEqual(r.zunionstore("week", ["day:1", "day:2"]), 3)
        self.assertEqual(r.zrange("week", 0, -1, withscores=True), [("c", 3.0), ("b", 5.0), ("a", 11.0)])

    def test_scores_that_many_raise_at_once(self):
        at_once(lambda r, number: [r.zincrby("board", 1, f"p{turn % 5}") for turn in range(100)])
        self.assertEqual(self.r.zrange("board", 0, -1, withscores=True),
                         [(f"p{player}", 20.0 * WORKERS) for player in range(5)])

    # Queues

    def test_job_queue(self):
        jobs = 400
        done = "done"

        def work(r, _):
            taken = []
            while (job := r.brpop(["jobs"], timeout=BLOCK_SECONDS)) and job[1] != done:
                taken.append(json.loads(job[1])["id"])
            return taken

        def produce():
            with connect() as r:
                for job in range(jobs):
                    r.lpush("jobs", json.dumps({"id": job, "data": "x"}))
                r.lpush("jobs", *[done] * WORKERS)

        producer = threading.Thread(target=produce)
        producer.start()
        taken = at_once(work)
        producer.join()
        self.assertEqual(sorted(job for some in taken for job in some), list(range(jobs)), "each exactly once")
        self.assertTrue(all(some == sorted(some) for some in taken), "each worker sees them in order")
        self.assertFalse(self.r.exists("jobs"))

    def test_queue_with_visibility_timeout(self):
        r = self.r

        def dequeue(now, timeout=30):
            job = json.loads(r.brpop(["tasks"], timeout=BLOCK_SECONDS)[1])
            job["attempts"] += 1
            r.zadd("tasks:processing", {json.dumps(job): now + timeout})
            return job

        def requeue_expired(now):
            for text in r.zrangebyscore("tasks:processing", "-inf", now):
                with r.pipeline() as pipe:
                    pipe.zrem("tasks:processing", text).lpush("tasks", text)
                    pipe.execute()

        for number in range(3):
            r.lpush("tasks", json.dumps({"id": number, "attempts": 0}))
        first, second = dequeue(now=100), dequeue(now=105)
        self.assertEqual((first["id"], second["id"]), (0, 1))
        self.assertEqual(r.zrem("tasks:processing", json.dumps(second)), 1)
        # The first worker died. Until its time is over nobody else sees its job, then somebody does.
        requeue_expired(now=129)
        self.assertEqual((r.llen("tasks"), r.zcard("tasks:processing")), (1, 1))
        requeue_expired(now=130)
        self.assertEqual((r.llen("tasks"), r.zcard("tasks:processing")), (2, 0))
        self.assertEqual(dequeue(now=131)["id"], 2)
        again = dequeue(now=132)
        self.assertEqual((again["id"], again["attempts"]), (0, 2))
        # After too many attempts it goes where somebody looks at it.
        r.zrem("tasks:processing", json.dumps(again))
        r.lpush("tasks:dead", json.dumps(again))
        self.assertEqual(json.loads(r.lindex("tasks:dead", 0))["id"], 0)

    def test_reliable_queue(self):
        r = self.r
        waiting = threading.Thread(target=lambda: moved.append(
            connect().blmove("pending", "processing", BLOCK_SECONDS, "RIGHT", "LEFT")))
        moved = []
        waiting.start()
        r.lpush("pending", "job")
        waiting.join()
        self.assertEqual(moved, ["job"])
        self.assertEqual((r.llen("pending"), r.lrange("processing", 0, -1)), (0, ["job"]))
        self.assertEqual(r.lrem("processing", 1, "job"), 1)

    def test_priority_queue(self):
        r = self.r
        r.zadd("tasks", {"low": 1, "high": 10, "urgent": 100, "middle": 5})
        order = [r.zpopmax("tasks")[0][0] for _ in range(4)]
        self.assertEqual(order, ["urgent", "high", "middle", "low"])
        self.assertEqual(r.zpopmax("tasks"), [])
        # Workers that wait each get one.
        found = []
        workers = [threading.Thread(target=lambda: found.append(connect().bzpopmax(["tasks", "more"], BLOCK_SECONDS)))
                   for _ in range(4)]
        for worker in workers:
            worker.start()
        for number in range(2):
            r.zadd("tasks", {f"a{number}": number})
            r.zadd("more", {f"b{number}": number})
        for worker in workers:
            worker.join()
        self.assertEqual(sorted(tuple(one) for one in found),
                         [("more", "b0", 0.0), ("more", "b1", 1.0), ("tasks", "a0", 0.0), ("tasks", "a1", 1.0)])
        self.assertEqual(r.exists("tasks", "more"), 0)
        # Several at a time, of the first queue that has any.
        r.zadd("more", {"x": 3, "y": 1, "z": 2})
        self.assertEqual(r.bzmpop(BLOCK_SECONDS, 2, ["tasks", "more"], min=True, count=2),
                         ["more", [["y", b"1"], ["z", b"2"]]])

    def test_tasks_for_later(self):
        r = self.r

        def due(r, now):
            taken = []
            for task in r.zrangebyscore("scheduled", 0, now):
                # Who removes it has it.
                if r.zrem("scheduled", task):
                    taken.append(task)
            return taken

        r.zadd("scheduled", {f"task:{at}": at for at in range(100)})
        taken = at_once(lambda r, _: due(r, 49))
        self.assertEqual(sorted(task for some in taken for task in some), sorted(f"task:{at}" for at in range(50)))
        self.assertEqual(r.zcard("scheduled"), 50)

    def test_durable_queue(self):
        r, jobs = self.r, 200
        self.assertTrue(r.xgroup_create("orders", "workers", id="0", mkstream=True))
        with self.assertRaisesRegex(redis.ResponseError, "BUSYGROUP|already exists"):
            r.xgroup_create("orders", "workers", id="0", mkstream=True)

        def consume(r, name):
            """Takes and acknowledges until told to stop."""
            taken = []
            while True:
                [(_, entries)] = r.xreadgroup("workers", name, {"orders": ">"}, count=5, block=BLOCK_SECONDS * 1000)
                for entry, fields in entries:
                    r.xack("orders", "workers", entry)
                    if fields["job"] == "stop":
                        return taken
                    taken.append(int(fields["job"]))

        # One that dies has taken some and acknowledged none.
        for job in range(3):
            r.xadd("orders", {"job": job})
        [(_, lost)] = r.xreadgroup("workers", "dies", {"orders": ">"}, count=3)
        self.assertEqual([fields["job"] for _, fields in lost], ["0", "1", "2"])

        def produce():
            with connect() as r:
                for job in range(3, jobs):
                    r.xadd("orders", {"job": job})
                # Whoever takes several of these acknowledges only the first: one batch apart for each worker.
                for _ in range(WORKERS * 5):
                    r.xadd("orders", {"job": "stop"})

        producer = threading.Thread(target=produce)
        producer.start()
        taken = at_once(lambda r, number: consume(r, f"worker:{number}"))
        producer.join()
        self.assertEqual(sorted(job for some in taken for job in some), list(range(3, jobs)), "each exactly once")
        # What the dead one held is still known, and another takes it over.
        self.assertEqual(r.xpending_range("orders", "workers", "-", "+", 10, "dies")[0]["times_delivered"], 1)
        _, claimed, _ = r.xautoclaim("orders", "workers", "heir", min_idle_time=0, count=3)
        self.assertEqual([fields["job"] for _, fields in claimed], ["0", "1", "2"])
        self.assertEqual(r.xack("orders", "workers", *[entry for entry, _ in claimed]), 3)
        left = {one["name"]: one["pending"] for one in r.xpending("orders", "workers")["consumers"]}
        self.assertNotIn("heir", left)
        self.assertEqual(r.xlen("orders"), jobs + WORKERS * 5, "a stream keeps what was read")

    def test_event_log(self):
        r = self.r

        def track(r, number):
            for turn in range(30):
                with r.pipeline() as pipe:
                    pipe.hincrby("events:count", "login", 1)
                    pipe.xadd("events", {"user": number, "turn": turn}, maxlen=1000, approximate=False)
                    pipe.execute()

        at_once(track)
        events = r.xrange("events")
        self.assertEqual(len(events), int(r.hget("events:count", "login")))
        ids = [tuple(map(int, entry.split("-"))) for entry, _ in events]
        self.assertEqual(ids, sorted(set(ids)), "in one order, none twice")
        for number in range(WORKERS):
            own = [int(fields["turn"]) for _, fields in events if fields["user"] == str(number)]
            self.assertEqual(own, list(range(30)))
        self.assertEqual(r.xrevrange("events", count=1), events[-1:])
        # A reader goes on where it stopped.
        [(_, rest)] = r.xread({"events": events[99][0]}, count=10)
        self.assertEqual(rest, events[100:110])
        self.assertEqual(r.xtrim("events", maxlen=100, approximate=False), len(events) - 100)
        self.assertEqual(r.xrange("events"), events[-100:])

    # Locks and transactions

    def test_distributed_lock(self):
        inside, seen = [], []

        def release(r, token):
            with r.pipeline() as pipe:
                pipe.watch("lock:resource")
                if pipe.get("lock:resource") != token:
                    return False
                pipe.multi()
                pipe.delete("lock:resource")
                pipe.lpush("lock:free", "go")
                pipe.execute()
                return True

        def work(r, number):
            for turn in range(10):
                token = f"{number}:{turn}"
                while not r.set("lock:resource", token, nx=True, ex=BLOCK_SECONDS):
                    r.brpop(["lock:free"], timeout=1)
                inside.append(token)
                seen.append(len(inside))
                inside.remove(token)
                self.assertTrue(release(r, token))

        at_once(work)
        self.assertEqual(set(seen), {1}, "one at a time")
        # Whoever does not hold it cannot release it.
        self.r.set("lock:resource", "mine", nx=True, ex=10)
        self.assertFalse(release(self.r, "another's"))
        self.assertEqual(self.r.get("lock:resource"), "mine")

    def test_transfer_between_accounts(self):
        r = self.r
        r.mset({f"account:{number}": 100 for number in range(4)})

        def transfer(r, number):
            refused = 0
            for turn in range(25):
                source, target = f"account:{(number + turn) % 4}", f"account:{(number + turn + 1) % 4}"
                while True:
                    with r.pipeline() as pipe:
                        try:
                            pipe.watch(source)
                            if int(pipe.get(source)) < 30:
                                refused += 1
                                break
                            pipe.multi()
                            pipe.decrby(source, 30).incrby(target, 30)
                            pipe.execute()
                            break
                        except redis.WatchError:
                            continue
            return refused

        at_once(transfer)
        balances = [int(balance) for balance in r.mget([f"account:{number}" for number in range(4)])]
        self.assertEqual(sum(balances), 400)
        self.assertTrue(all(balance >= 0 for balance in balances), balances)

    # Counting

    def test_analytics(self):
        def track(r, number):
            for turn in range(50):
                with r.pipeline() as pipe:
                    pipe.hincrby("analytics:events:day", "click" if turn % 2 else "view", 1)
                    pipe.sadd("analytics:users:day", f"user:{turn % 10}")
                    pipe.incr("page_views:home:day")
                    pipe.expire("page_views:home:day", 30 * 86400)
                    pipe.execute()

        at_once(track)
        self.assertEqual(self.r.hgetall("analytics:events:day"), {"view": str(25 * WORKERS), "click": str(25 * WORKERS)})
        self.assertEqual(self.r.scard("analytics:users:day"), 10)
        self.assertEqual(int(self.r.get("page_views:home:day")), 50 * WORKERS)

    def test_unique_visitors(self):
        r = self.r
        for day in range(3):
            r.pfadd(f"visitors:{day}", *[f"user:{number}" for number in range(day * 500, day * 500 + 1000)])
        self.assertAlmostEqual(r.pfcount("visitors:0"), 1000, delta=40)
        self.assertAlmostEqual(r.pfcount("visitors:0", "visitors:1", "visitors:2"), 2000, delta=80)
        r.pfmerge("visitors:all", "visitors:0", "visitors:1", "visitors:2")
        self.assertEqual(r.pfcount("visitors:all"), r.pfcount("visitors:0", "visitors:1", "visitors:2"))

    def test_active_users_in_bitmaps(self):
        r = self.r
        for day, users in enumerate([range(0, 100), range(50, 150), range(75, 175)]):
            with r.pipeline(transaction=False) as pipe:
                for user in users:
                    pipe.setbit(f"active:{day}", user, 1)
                pipe.execute()
        self.assertEqual(r.bitcount("active:1"), 100)
        r.bitop("AND", "every", "active:0", "active:1", "active:2")
        r.bitop("OR", "any", "active:0", "active:1", "active:2")
        self.assertEqual((r.bitcount("every"), r.bitcount("any")), (25, 175))
        self.assertEqual((r.getbit("every", 75), r.getbit("every", 74)), (1, 0))

    def test_latency_metrics(self):
        r = self.r
        with r.pipeline() as pipe:
            for request in range(100):
                pipe.zadd("latency:api", {f"request:{request}": request / 4})
            pipe.setex("event:login:1", 86400, json.dumps({"user_id": "1000"}))
            pipe.execute()
        latencies = r.zrange("latency:api", 0, -1, withscores=True)
        self.assertEqual(sum(score for _, score in latencies) / len(latencies), 12.375)
        self.assertEqual(r.zrange("latency:api", 98, 98, withscores=True), [("request:98", 24.5)])
        # Only the last ones are kept.
        self.assertEqual(r.zremrangebyrank("latency:api", 0, -11), 90)
        self.assertEqual(r.zcard("latency:api"), 10)

    # Flags, tags, places, feeds

    def test_feature_flags(self):
        r = self.r

        def is_enabled(flag, user):
            return r.get(f"feature:{flag}") == "1" or bool(r.sismember(f"feature:{flag}:users", user))

        r.sadd("feature:checkout:users", "alice")
        self.assertTrue(is_enabled("checkout", "alice"))
        self.assertFalse(is_enabled("checkout", "bob"))
        r.set("feature:checkout", "1")
        self.assertTrue(is_enabled("checkout", "bob"))
        r.delete("feature:checkout")
        self.assertFalse(is_enabled("checkout", "bob"))
        r.set("feature_flag:ui", json.dumps({"enabled": True, "metadata": {"percent": 10}}))
        self.assertEqual(json.loads(r.get("feature_flag:ui"))["metadata"], {"percent": 10})
        self.assertEqual(r.exists("feature_flag:ui:user:1000"), 0)

    def test_tags_and_followers(self):
        r = self.r
        r.sadd("tags:1", "redis", "database", "cache")
        r.sadd("tags:2", "redis", "queue")
        r.sadd("tags:3", "redis", "cache")
        self.assertEqual(r.sinter("tags:1", "tags:2", "tags:3"), {"redis"})
        self.assertEqual(r.sunion("tags:1", "tags:2"), {"redis", "database", "cache", "queue"})
        self.assertEqual(r.sdiff("tags:1", "tags:3"), {"database"})
        self.assertEqual(r.sinterstore("common", "tags:1", "tags:3"), 2)
        self.assertEqual(r.smismember("common", ["cache", "queue"]), [1, 0])

    def test_nearby_places(self):
        r = self.r
        r.geoadd("cities", (-122.4194, 37.7749, "San Francisco", -74.0060, 40.7128, "New York",
                            -118.2437, 34.0522, "Los Angeles", -122.2711, 37.8044, "Oakland"))
        self.assertAlmostEqual(r.geodist("cities", "San Francisco", "New York", unit="km"), 4130, delta=10)
        near = r.geosearch("cities", longitude=-122.4194, latitude=37.7749, radius=100, unit="km", sort="ASC")
        self.assertEqual(near, ["San Francisco", "Oakland"])
        nearest = r.geosearch("cities", member="Oakland", radius=1000, unit="km", sort="ASC", count=3, withdist=True)
        self.assertEqual([name for name, _ in nearest], ["Oakland", "San Francisco", "Los Angeles"])
        self.assertEqual(r.zrem("cities", "Oakland"), 1)
        self.assertEqual(r.georadius("cities", -122.4194, 37.7749, 100, unit="km"), ["San Francisco"])

    def test_activity_feed(self):
        r = self.r

        def post(r, number):
            for turn in range(40):
                with r.pipeline() as pipe:
                    pipe.lpush("feed", f"{number}:{turn}").ltrim("feed", 0, 99)
                    pipe.execute()

        at_once(post)
        feed = r.lrange("feed", 0, -1)
        self.assertEqual(len(feed), 100)
        for number in range(WORKERS):
            own = [int(entry.split(":")[1]) for entry in feed if entry.startswith(f"{number}:")]
            self.assertEqual(own, sorted(own, reverse=True), "the newest first")

    def test_statistics_of_the_server(self):
        before = self.r.info()["total_commands_processed"]
        self.r.set("k", "v")
        self.r.get("k")
        self.r.get("absent")
        info = self.r.info()
        self.assertGreaterEqual(info["total_commands_processed"], before + 4)
        self.assertGreaterEqual(info["keyspace_hits"], 1)
        self.assertGreaterEqual(info["keyspace_misses"], 1)
        self.assertTrue(info["used_memory_human"])


if __name__ == "__main__":
    unittest.main(warnings="ignore")
