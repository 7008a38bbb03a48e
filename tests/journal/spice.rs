//! What the generator of the differential test leaves out: lives of a few milliseconds, chance, and clients that wait.

use pinion::base::random::Random;

use crate::Argv;

/// The longest of the short lives.
pub const SHORT_MS: i64 = 25;

pub struct Spice {
    random: Random,
}

impl Spice {
    pub fn new(seed: u64) -> Spice {
        Spice { random: Random::from_seed(seed ^ 0x5eed) }
    }

    /// Now and then a command.
    pub fn next(&mut self, now_ms: i64) -> Option<Argv> {
        if self.random.below(5) != 0 {
            return None;
        }
        let short = (1 + self.random.below(SHORT_MS as u64)).to_string();
        let past = (now_ms - 1000).to_string();
        let member = ["a", "b", "c", "1", "2", "3"][self.random.index(6)];
        let count = ["1", "2", "3", "100"][self.random.index(4)];
        let (any, string, hash, set, list, other_list, zset) = (
            self.key('?'),
            self.key('s'),
            self.key('h'),
            self.key('u'),
            self.key('l'),
            self.key('l'),
            self.key('z'),
        );
        let (stream, id) = (self.key('x'), format!("{}-{}", self.random.below(4), self.random.below(4)));
        let line = match self.random.below(44) {
            0 | 1 => format!("PEXPIRE {any} {short}"),
            2 => format!("SET {string} {member} PX {short}"),
            3 => format!("GETEX {string} PX {short}"),
            4 => format!("PSETEX {string} {short} 7"),
            5 | 6 => format!("HPEXPIRE {hash} {short} FIELDS 1 {member}"),
            7 => format!("HSETEX {hash} PX {short} FIELDS 2 {member} 1 x y"),
            8 => format!("HGETEX {hash} PX {short} FIELDS 1 {member}"),
            9 => format!("HGETDEL {hash} FIELDS 1 {member}"),
            10 | 11 => format!("SPOP {set} {count}"),
            12 => format!("SPOP {set}"),
            13 => format!("PEXPIREAT {any} {past}"),
            14 => format!("HPEXPIREAT {hash} {past} FIELDS 1 {member}"),
            15 => format!("BLPOP {list} {other_list} 0.005"),
            16 => format!("BRPOP {list} 0.005"),
            17 => format!("BLMOVE {list} {other_list} LEFT RIGHT 0.005"),
            18 => format!("BRPOPLPUSH {list} {other_list} 0.005"),
            19 => format!("BLMPOP 0.005 2 {list} {other_list} LEFT COUNT {count}"),
            20 => format!("BZPOPMIN {zset} 0.005"),
            21 => format!("BZMPOP 0.005 1 {zset} MAX COUNT {count}"),
            22 => format!("RPUSH {list} {member} b c"),
            23 => format!("LPUSH {list} {member}"),
            24 => format!("ZADD {zset} 1 {member} 2 b"),
            25 => format!("SADD {set} {member} x y 7"),
            26 => format!("HSET {hash} {member} 1 b 2 c 3"),
            27 => format!("INCRBYFLOAT {string} 0.1"),
            28 => format!("HINCRBYFLOAT {hash} {member} 0.1"),
            29 => format!("DEBUG SET-ACTIVE-EXPIRE {}", self.random.below(2)),
            30 => format!("MSETEX 2 {string} 1 {any} 2 PX {short}"),
            31 => format!("PEXPIRE {string} {short} LT"),
            32 => format!("SET {string} {member} EX 100000 GET"),
            33 => format!("EXPIRE {any} 200000 GT"),
            34 => format!("HINCRBY {hash} {member} 2"),
            35 => format!("XADD {stream} * {member} 1"),
            36 => format!("XADD {stream} MAXLEN ~ {count} * {member} 1"),
            37 => format!("XGROUP CREATE {stream} a 0 MKSTREAM"),
            38 => format!("XREADGROUP GROUP a {member} BLOCK 5 STREAMS {stream} >"),
            39 => format!("XREADGROUP GROUP a {member} COUNT 2 STREAMS {stream} {id}"),
            40 => format!("XAUTOCLAIM {stream} a {member} 0 0 COUNT {count}"),
            41 => format!("RENAME {stream} {}", self.key('x')),
            42 => format!("XDEL {stream} {id}"),
            _ => format!("COPY {any} {} REPLACE", self.key('?')),
        };
        Some(line.split(' ').map(|word| word.as_bytes().to_vec()).collect())
    }

    /// A key of the names that the generator gives to a type.
    fn key(&mut self, letter: char) -> String {
        let letter = match letter {
            '?' => ['s', 'h', 'u', 'l', 'z', 'p', 'x'][self.random.index(7)],
            letter => letter,
        };
        let tag = if self.random.below(5) == 0 { "{t}" } else { "" };
        format!("{tag}{letter}:{}", self.random.below(4))
    }
}
