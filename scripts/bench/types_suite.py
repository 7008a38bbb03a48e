"""Cells of the suite `types`: commands on collections, and what collections weigh.

Requests are templates of `examples/load`: `{N}` is a number below N in twelve digits, `{xN}` N letters.
"""

import dataclasses

PIPELINE = 16


@dataclasses.dataclass(frozen=True)
class Cell:
    command: str
    request: str
    expect: str
    # (request, how many): sent before the first round.
    fill: tuple = ()
    # Sent before every round, because the round uses it up.
    consumes: bool = False
    connections: int = 50

    @property
    def name(self):
        return f"types/{self.command}"


@dataclasses.dataclass(frozen=True)
class Memory:
    what: str
    fill: tuple
    items: int
    item: str

    @property
    def name(self):
        return f"types/memory/{self.what}"


TEN_FIELDS = " ".join(f"field{number} {{x8}}" for number in range(10))
FIVE_FIELDS = " ".join(f"f{number} {{x8}}" for number in range(5))
MILLION = 1_000_000
# More than a round pops.
QUEUED = 8_000_000

CELLS = (
    Cell("lpush", "LPUSH list {x16}", ":", consumes=True),
    Cell("lpush-1000-lists", "LPUSH list:{1000} {x16}", ":", consumes=True),
    Cell("rpush", "RPUSH list {x16}", ":", consumes=True),
    Cell("rpush-1000-lists", "RPUSH list:{1000} {x16}", ":", consumes=True),
    Cell("rpop", "RPOP list", "$16", (("LPUSH list " + "{x16} " * 100, QUEUED // 100),), consumes=True),
    Cell("lpop", "LPOP list", "$16", (("RPUSH list " + "{x16} " * 100, QUEUED // 100),), consumes=True),
    Cell("sadd", "SADD set member:{1000000}", ":", (("SADD set member:{1000000}", MILLION),)),
    Cell("hset", "HSET hash field:{1000000} {x16}", ":", (("HSET hash field:{1000000} {x16}", MILLION),)),
    Cell("hset-of-10", "HSET hash:{100000} field5 {x8}", ":", (("HSET hash:{100000} " + TEN_FIELDS, 100_000),)),
    Cell("zadd", "ZADD board {1000000} m:{1000000}", ":", (("ZADD board {1000000} m:{1000000}", MILLION),)),
    Cell("zrange-100", "ZRANGE board 0 99", "*100", (("ZADD board {1000000} m:{1000000}", MILLION),)),
    Cell("xadd", "XADD stream * field {x16}", "$", consumes=True),
    Cell("lrange-100", "LRANGE list 0 99", "*100", (("RPUSH list {x16}", 1000),)),
    Cell("hgetall-of-10", "HGETALL hash:{100000}", "*20", (("HSET hash:{100000} " + TEN_FIELDS, 100_000),)),
    Cell("sinter-10000", "SINTER one two", "*10000",
         (("SADD one m:{1000000}", 10_000), ("SADD two m:{1000000}", 10_000)), connections=4),
)

MEMORY = (
    Memory("hash-of-5", ("HSET hash:{1000000} " + FIVE_FIELDS, MILLION), MILLION, "hash of 5 fields"),
    Memory("zset", ("ZADD board {1000000} memb{1000000}", MILLION), MILLION, "member of 16 bytes"),
    Memory("set", ("SADD set memb{1000000}", MILLION), MILLION, "member of 16 bytes"),
    Memory("intset-of-10", ("SADD set:{1000000} 1 22 333 4444 5555 6666 7777 8888 9999 10000", MILLION), MILLION,
           "set of 10 integers"),
)
