// ioredis's everyday calls: `node ioredis.mjs PORT UNIX_SOCKET`, with TEST_CLIENTS naming the installation.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.TEST_CLIENTS, "node", "node_modules", "anchor.js"));
const Redis = require("ioredis");

const port = Number(process.argv[2]);
const unixSocket = process.argv[3];
const connections = [];

function connect(options = {}) {
  const redis = new Redis({ host: "127.0.0.1", port, ...options });
  connections.push(redis);
  return redis;
}

const tests = {
  async "set with options, get"(redis) {
    assert.equal(await redis.set("k", "v"), "OK");
    assert.equal(await redis.get("k"), "v");
    assert.equal(await redis.get("absent"), null);
    assert.equal(await redis.set("k", "w", "NX"), null);
    assert.equal(await redis.set("k", "w", "XX"), "OK");
    assert.equal(await redis.set("k", "x", "GET"), "w");
    assert.equal(await redis.set("k", "y", "EX", 100), "OK");
    assert.ok([99, 100].includes(await redis.ttl("k")));
    assert.equal(await redis.set("k", "z", "KEEPTTL"), "OK");
    assert.ok((await redis.pttl("k")) > 90_000);
    assert.equal(await redis.set("lock", "me", "PX", 30_000, "NX"), "OK");
    assert.equal(await redis.set("lock", "you", "PX", 30_000, "NX"), null);
    assert.equal(await redis.getex("k", "PERSIST"), "z");
    assert.equal(await redis.ttl("k"), -1);
    assert.equal(await redis.getdel("k"), "z");
    assert.equal(await redis.exists("k"), 0);
  },

  async "strings and numbers"(redis) {
    assert.equal(await redis.incr("n"), 1);
    assert.equal(await redis.incrby("n", 41), 42);
    assert.equal(await redis.decrby("n", 2), 40);
    assert.equal(await redis.incrbyfloat("n", 0.5), "40.5");
    assert.equal(await redis.append("s", "Hello World"), 11);
    assert.equal(await redis.getrange("s", 6, -1), "World");
    assert.equal(await redis.setrange("s", 6, "Redis"), 11);
    assert.equal(await redis.strlen("s"), 11);
    assert.equal(await redis.mset({ a: 1, b: 2 }), "OK");
    assert.equal(await redis.mset(new Map([["c", 3]])), "OK");
    assert.deepEqual(await redis.mget("a", "absent", "c"), ["1", null, "3"]);
    assert.equal(await redis.msetnx("c", 4, "d", 4), 0);
  },

  async "binary values come back as buffers"(redis) {
    const value = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 256));
    await redis.set(Buffer.from([0, 13, 10, 255]), value);
    assert.ok(value.equals(await redis.getBuffer(Buffer.from([0, 13, 10, 255]))));
  },

  async "keys and expiry"(redis) {
    await redis.mset("u:1", 1, "u:2", 2, "u:3", 3);
    assert.deepEqual((await redis.keys("u:[12]")).sort(), ["u:1", "u:2"]);
    assert.equal(await redis.del("u:1", "absent"), 1);
    assert.equal(await redis.unlink("u:2"), 1);
    assert.equal(await redis.type("u:3"), "string");
    assert.equal(await redis.rename("u:3", "moved"), "OK");
    assert.equal(await redis.copy("moved", "copied"), 1);
    assert.equal(await redis.expire("moved", 100), 1);
    assert.equal(await redis.expire("moved", 50, "GT"), 0);
    assert.equal(await redis.pexpireat("moved", 4_000_000_000_000), 1);
    assert.equal(await redis.expiretime("moved"), 4_000_000_000);
    assert.equal(await redis.persist("moved"), 1);
    assert.equal(await redis.object("ENCODING", "copied"), "int");
    assert.equal(await redis.dbsize(), 2);
    assert.equal(await redis.expire("moved", -1), 1);
    assert.equal(await redis.get("moved"), null);
  },

  async "scan stream"(redis) {
    const wanted = Array.from({ length: 1000 }, (_, index) => `item:${index}`);
    await redis.mset(wanted.flatMap((key) => [key, "v"]));
    const found = new Set();
    for await (const keys of redis.scanStream({ match: "item:*", count: 100 })) {
      keys.forEach((key) => found.add(key));
    }
    assert.deepEqual([...found].sort(), wanted.sort());
  },

  async "pipelines, and errors inside them"(redis) {
    const pipeline = redis.pipeline();
    for (let n = 0; n < 1000; n += 1) {
      pipeline.set(`p:${n}`, n).get(`p:${n}`);
    }
    const replies = await pipeline.exec();
    assert.equal(replies.length, 2000);
    replies.forEach(([error, reply], index) => {
      assert.equal(error, null);
      assert.equal(reply, index % 2 === 0 ? "OK" : String((index - 1) / 2));
    });
    const mixed = await redis.pipeline().set("s", "text").incr("s").get("s").exec();
    assert.match(mixed[1][0].message, /^ERR value is not an integer or out of range$/);
    assert.equal(mixed[2][1], "text");
  },

  async "automatic pipelining keeps order"() {
    const redis = connect({ enableAutoPipelining: true });
    const writes = Array.from({ length: 500 }, (_, n) => redis.set(`auto:${n}`, n));
    const reads = Array.from({ length: 500 }, (_, n) => redis.get(`auto:${n}`));
    assert.ok((await Promise.all(writes)).every((reply) => reply === "OK"));
    assert.deepEqual(await Promise.all(reads), Array.from({ length: 500 }, (_, n) => String(n)));
  },

  async "error replies"(redis) {
    await assert.rejects(redis.call("NOSUCH", "a"), {
      name: "ReplyError",
      message: "ERR unknown command 'NOSUCH', with args beginning with: 'a' ",
    });
    await assert.rejects(redis.call("GET"), { message: "ERR wrong number of arguments for 'get' command" });
    await assert.rejects(redis.set("k", "v", "EX", 0), { message: "ERR invalid expire time in 'set' command" });
    await assert.rejects(redis.rename("absent", "x"), { message: "ERR no such key" });
  },

  async "client and server commands"() {
    const redis = connect({ connectionName: "named" });
    assert.equal(await redis.client("GETNAME"), "named");
    const id = await redis.client("ID");
    assert.match(await redis.client("INFO"), new RegExp(`^id=${id} .*name=named `));
    assert.match(await redis.client("LIST", "ID", id), new RegExp(`^id=${id} `));
    assert.equal(await redis.client("NO-EVICT", "ON"), "OK");
    const info = await redis.info();
    assert.match(info, /\r\nredis_version:\d+\.\d+\.\d+\r\n/);
    assert.match(info, new RegExp(`\r\ntcp_port:${port}\r\n`));
    assert.deepEqual(await redis.config("GET", "maxmemory-policy"), ["maxmemory-policy", "noeviction"]);
    assert.equal((await redis.time()).length, 2);
    assert.deepEqual(await redis.command("GETKEYS", "MSET", "a", 1, "b", 2), ["a", "b"]);
    assert.ok((await redis.command("COUNT")) > 60);
    assert.equal(await redis.ping("hello"), "hello");
  },

  async "reconnects and sends what was waiting"(admin) {
    const redis = connect({ retryStrategy: () => 1, db: 7 });
    await redis.set("k", "seven");
    const before = await redis.client("ID");
    assert.equal(await admin.client("KILL", "ID", before), 1);
    assert.equal(await redis.get("k"), "seven", "the database is selected again");
    assert.notEqual(await redis.client("ID"), before);
  },

  async "many connections at once"(redis) {
    const clients = Array.from({ length: 50 }, () => connect());
    await Promise.all(clients.flatMap((client) => Array.from({ length: 20 }, () => client.incr("total"))));
    assert.equal(await redis.get("total"), "1000");
  },

  async "unix socket, url and database"(redis) {
    await redis.set("k", "zero");
    const local = new Redis(unixSocket);
    const fifth = new Redis(`redis://127.0.0.1:${port}/5`);
    connections.push(local, fifth);
    assert.equal(await local.get("k"), "zero");
    assert.equal(await fifth.get("k"), null);
  },

  async "monitor"(redis) {
    const monitor = await redis.duplicate().monitor();
    connections.push(monitor);
    const seen = new Promise((resolve) => monitor.on("monitor", (_time, args) => args[1] === "seen" && resolve(args)));
    await redis.set("seen", "yes");
    assert.deepEqual((await seen).slice(1), ["seen", "yes"]);
  },
};

let failed = 0;
setTimeout(() => {
  console.error("no end after 60 s");
  process.exit(1);
}, 60_000);
for (const [name, test] of Object.entries(tests)) {
  const redis = connect();
  try {
    await redis.flushall();
    await test(redis);
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}\n${error.stack}`);
  }
}
// Ends here whatever connection is still open: one left behind would keep the process waiting.
process.exit(failed === 0 ? 0 : 1);
