//! Command by command: what stands in the journal is what the pinned redis-server writes into its append-only file.

use std::fs;

use crate::Argv;
use crate::now_ms_of;
use crate::replay::Journal;
use crate::support::{Client, Program, Server, Value};

/// One request a line; `block` sends it on a connection of its own, which waits; `later` lets deadlines of up to 5
/// milliseconds pass. Behind `=>` stands what is in the journal where that is not what Redis writes.
const SCRIPT: &str = "
    SET a 1 EX 100
    SET a 1 PX 100000
    SET a 1 EXAT 4000000000
    SET a 1 PXAT 4000000000000
    SET a 1 PXAT 5
    GET a
    SET a 1
    SET a 2 XX GET
    SET a 2 NX
    SET a 1 KEEPTTL
    SET a 1 EX 100 NX GET
    SET a 1 EX 100 GET
    SET a 1 NX EX 10
    SET lock 1 NX EX 10
    SETEX a 100 v
    PSETEX a 100000 v
    SETNX a v
    SETNX b v
    GETSET a w
    GETDEL a
    GETDEL a
    SET a 5
    GETEX a
    GETEX a EX 100
    GETEX a PERSIST
    GETEX a PERSIST
    GETEX a PXAT 5
    SET a 5
    EXPIRE a 100
    PEXPIRE a 200000 GT
    EXPIRE a 100 NX
    EXPIREAT a 4000000000
    PEXPIREAT a 4000000000000
    EXPIRE a 100 XX
    PERSIST a
    EXPIRE a -1
    SET a 5
    EXPIREAT a 100
    INCRBYFLOAT f 1.5
    EXPIRE f 100
    INCRBYFLOAT f 1.5
    HINCRBYFLOAT h f 1.5
    INCR n
    APPEND n 5
    SETRANGE n 1 x
    SETBIT bb 1 1
    BITFIELD bb SET u8 0 255
    BITFIELD bb GET u8 0
    BITOP AND d bb bb
    BITOP AND d nope nope2
    SADD s a
    SPOP s
    SADD s a
    SPOP s 1
    SADD s a b c d e
    SPOP s 100
    SADD s a b
    SADD t b c
    SINTERSTORE d s t
    SINTERSTORE d s nope
    SINTERSTORE d nope nope
    SMOVE s t a
    SREM s zz
    ZADD z 1 a 2 b 3 c
    ZADD z 1 a
    ZADD z INCR 1.5 a
    ZINCRBY z 1 a
    ZPOPMIN z
    ZPOPMAX z 5
    ZADD z 1 a 2 b 3 c
    ZMPOP 2 y z MIN COUNT 2
    ZRANGESTORE zz z 0 -1
    ZUNIONSTORE zz 1 z
    ZINTERSTORE d 2 nope nope2
    GEOADD g 13.361389 38.115556 p
    GEOADD g XX CH 13.361389 38.115556 p
    GEOADD g NX 13.361389 38.115556 p2 15.087269 37.502669 p3
    GEORADIUS g 15 37 200 km STORE gd
    GEORADIUS g 15 37 1 m STORE gd
    GEOSEARCHSTORE gd g FROMLONLAT 15 37 BYRADIUS 200 km
    GEOSEARCHSTORE gd g FROMLONLAT 15 37 BYRADIUS 2 m
    RPUSH l 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
    LMOVE l m LEFT RIGHT
    RPOPLPUSH l m
    LPOP l 2
    LPOP l
    LMPOP 2 nope l RIGHT COUNT 2
    BLPOP l 0
    BRPOP l 0
    BLMOVE l m LEFT LEFT 0
    BRPOPLPUSH l m 0
    BLMPOP 0 1 l LEFT COUNT 2
    RPUSHX nope 1
    LINSERT l BEFORE 12 x
    LREM l 1 x
    LSET l 0 y
    LTRIM l 0 1
    SORT l ALPHA STORE so
    SORT nope STORE so
    SORT_RO l ALPHA
    COPY l l2
    COPY l l2
    COPY l l2 REPLACE
    COPY l l2 DB 1
    RENAME l2 l3
    RENAMENX l3 l4
    MOVE l4 1
    MOVE l4 1
    PFADD p a b c
    PFADD p a
    PFCOUNT p
    PFCOUNT p
    PFADD p2 d
    PFMERGE p3 p p2
    PFCOUNT p3 p
    SWAPDB 0 1
    SWAPDB 0 1
    HSET h a 1 b 2
    HDEL h a
    HSETNX h c 1
    HINCRBY h c 2
    MSETNX k1 a k2 b
    MSETNX k1 a k3 b
    MSET k1 a k2 b
    DEL k1 k2 nothing
    UNLINK k1
    GETSET new 1
    FLUSHDB
    FLUSHDB
    FLUSHALL ASYNC
    DEBUG SET-ACTIVE-EXPIRE 0
    SET a 1 PX 5
    later
    GET a
    SET a 1 PX 5
    later
    SET a 2 => SET a 2
    SET a 1 PX 5
    later
    INCR a
    SET a 1 PX 5
    later
    DEL a
    SET a 1 PX 5
    later
    SETEX a 10 1 => SET a 1 PXAT 10000
    SET a 1 PX 5
    SET b 2
    later
    RENAME b a => RENAME b a
    SET a 1 PX 5
    later
    EXISTS a
    SET a 1 PX 5
    SET b 1 PX 5
    later
    EXISTS a b
    RPUSH a x
    PEXPIRE a 5
    later
    RPUSH a y
    DEL a
    MULTI
    SET x 1
    INCR x
    EXEC
    MULTI
    SET x 1
    EXEC
    MULTI
    GET x
    EXEC
    block BLPOP q 0
    RPUSH q 1 2 3
    DEL q
    block BRPOPLPUSH q qq 0
    RPUSH q 1 2 3
    DEL q
    block BLMOVE q qq LEFT LEFT 0
    RPUSH q 1 2 3
    DEL q
    block BLMPOP 0 1 q RIGHT COUNT 2
    RPUSH q 1 2 3
    block BZPOPMIN zq 0
    ZADD zq 1 a 2 b => ZADD zq 1 a 2 b | ZPOPMIN zq 1
    DEL zq
    block BZMPOP 0 1 zq MAX COUNT 5
    ZADD zq 1 a 2 b
    ZADD zq 1 a 2 b
    BZPOPMIN zq 1 => ZPOPMIN zq 1
    BZMPOP 1 1 zq MIN
";

/// Those that Redis 7.0 does not know.
const NEW: &str = "
    HSET h a 1 b 2 c 3 d 4 e 5 => HSET h a 1 b 2 c 3 d 4 e 5
    HEXPIRE h 100 FIELDS 2 a zz => HPEXPIREAT h 100000 FIELDS 1 a
    HINCRBYFLOAT h a 1.5 => HSETEX h KEEPTTL FIELDS 1 a 2.5
    HINCRBYFLOAT h b 1.5 => HSET h b 3.5
    HPERSIST h FIELDS 2 a b => HPERSIST h FIELDS 2 a b
    HGETEX h PX 100000 FIELDS 1 a => HPEXPIREAT h 100000 FIELDS 1 a
    HGETEX h PERSIST FIELDS 2 a b => HPERSIST h FIELDS 1 a
    HGETEX h FIELDS 1 a =>
    HSETEX h EX 100 FIELDS 1 x 1 => HSETEX h PXAT 100000 FIELDS 1 x 1
    HSETEX h FNX KEEPTTL FIELDS 1 x 1 =>
    HSETEX h FXX KEEPTTL FIELDS 1 x 2 => HSETEX h KEEPTTL FIELDS 1 x 2
    HSETEX h FIELDS 1 x 1 => HSET h x 1
    HSETEX h PXAT 5 FIELDS 2 x 1 y 2 => HDEL h x y
    HGETDEL h FIELDS 2 d zz => HDEL h d
    HPEXPIREAT h 5 FIELDS 1 c => HDEL h c
    HPEXPIRE h 5 FIELDS 2 a b => HPEXPIREAT h 5 FIELDS 2 a b
    later =>
    HGET h e => HDEL h a b
    HPEXPIRE h 5 FIELDS 1 e => HPEXPIREAT h 5 FIELDS 1 e
    later =>
    HLEN h => HDEL h e
    SET s v IFEQ w =>
    SET s v IFNE w => SET s v
    SET s w IFEQ v GET => SET s w
    MSETEX 2 s 1 t 2 EX 100 => SET s 1 PXAT 100000 | SET t 2 PXAT 100000
    MSETEX 1 s 1 KEEPTTL => SET s 1 KEEPTTL
    DELEX s IFEQ 2 =>
    DELEX s IFEQ 1 => DEL s
    XADD x 1-1 a b => XADD x 1-1 a b
    XADD x 2-* a b => XADD x 2-0 a b
    XADD x MAXLEN ~ 1 3-1 a b => XADD x 3-1 a b
    XADD x NOMKSTREAM MAXLEN 3 4-1 a b => XADD x MAXLEN = 3 4-1 a b
    XTRIM x MAXLEN ~ 1 =>
    XTRIM x MINID 2-1 => XTRIM x MINID = 2-1
    XGROUP CREATE x g 0 => XGROUP CREATE x g 0
    XREADGROUP GROUP g c COUNT 1 STREAMS x > => XGROUP CREATECONSUMER x g c | XCLAIM x g c 0 3-1 TIME 0 RETRYCOUNT 1 FORCE JUSTID LASTID 3-1 | XGROUP SETID x g 3-1 ENTRIESREAD 3
    XREADGROUP GROUP g c STREAMS x 0 => XCLAIM x g c 0 3-1 TIME 0 RETRYCOUNT 2 FORCE JUSTID LASTID 3-1
    XREADGROUP GROUP g c NOACK STREAMS x > => XGROUP SETID x g 4-1 ENTRIESREAD 4
    XREADGROUP GROUP g c STREAMS x > =>
    XCLAIM x g d 0 3-1 => XCLAIM x g d 0 3-1 TIME 0 RETRYCOUNT 3 FORCE JUSTID LASTID 4-1
    XAUTOCLAIM x g e 0 0 JUSTID => XCLAIM x g e 0 3-1 TIME 0 RETRYCOUNT 3 FORCE JUSTID LASTID 4-1
    XDEL x 3-1 => XDEL x 3-1
    XAUTOCLAIM x g e 0 0 => XACK x g 3-1
    block XREADGROUP GROUP g w BLOCK 0 STREAMS x > =>
    XADD x 5-1 a b => XADD x 5-1 a b | XGROUP CREATECONSUMER x g w | XCLAIM x g w 0 5-1 TIME 0 RETRYCOUNT 1 FORCE JUSTID LASTID 5-1 | XGROUP SETID x g 5-1 ENTRIESREAD 5
    XACK x g 5-1 => XACK x g 5-1
    XSETID x 9-9 => XSETID x 9-9
    XGROUP SETID x g $ => XGROUP SETID x g $
    XGROUP DESTROY x g => XGROUP DESTROY x g
";

#[test]
fn effects_are_those_of_the_reference() {
    let redis = Server::start(Program::Redis, &["--appendonly", "yes", "--appendfsync", "always"]);
    let mut redis = Subject::of(&redis, Kind::Redis);
    let server = Server::pinion(1);
    let mut pinion = Subject::of(&server, Kind::Pinion);
    play(SCRIPT, &mut pinion, Some(&mut redis));
}

#[test]
fn newer_commands_have_effects_of_their_own() {
    let server = Server::pinion(1);
    play(NEW, &mut Subject::of(&server, Kind::Pinion), None);
}

fn play(script: &str, pinion: &mut Subject<'_>, mut redis: Option<&mut Subject<'_>>) {
    let mut wrong = String::new();
    // What is past its deadline goes when a command finds it, and not a moment before.
    let still = ["DEBUG", "SET-ACTIVE-EXPIRE", "0"];
    assert_eq!(pinion.control.command(&still).to_text(), "OK");
    if let Some(redis) = &mut redis {
        assert_eq!(redis.control.command(&still).to_text(), "OK");
    }
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (request, expected) = match line.split_once("=>") {
            Some((request, expected)) => (request.trim(), Some(expected.trim())),
            None => (line, None),
        };
        let now_ms = now_ms_of(&mut pinion.control);
        let of_redis = redis.as_mut().map(|redis| redis.effects_of(request));
        let found = pinion.effects_of(request);
        let wanted = match expected {
            None => of_redis.expect("without a reference every line says what it expects"),
            Some(text) => {
                let effects = text.split(" | ").filter(|text| !text.is_empty());
                effects.map(|text| text.split(' ').map(|word| word.as_bytes().to_vec()).collect()).collect()
            }
        };
        if !agree(&found, &wanted, now_ms) {
            wrong += &format!("{request}\n  wanted {}\n  found  {}\n", shown(&wanted), shown(&found));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Word for word, but for the case of a name and for times, which are a little apart, or given from now on.
fn agree(found: &[Argv], wanted: &[Argv], now_ms: i64) -> bool {
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<i64>().ok();
    let same_word = |(found, wanted): (&Vec<u8>, &Vec<u8>)| {
        let near = || {
            let (found, wanted) = (number(found)?, number(wanted)?);
            let is_time = found > now_ms - 60_000;
            let from_now = if wanted < 1_000_000 { wanted + now_ms } else { wanted };
            Some(is_time && (found - from_now).abs() < 10_000)
        };
        found.eq_ignore_ascii_case(wanted) || near().unwrap_or(false)
    };
    found.len() == wanted.len()
        && found
            .iter()
            .zip(wanted)
            .all(|(found, wanted)| found.len() == wanted.len() && found.iter().zip(wanted).all(same_word))
}

fn shown(effects: &[Argv]) -> String {
    let effect = |argv: &Argv| {
        argv.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<String>>().join(" ")
    };
    effects.iter().map(effect).collect::<Vec<String>>().join(" | ")
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Redis,
    Pinion,
}

struct Subject<'a> {
    server: &'a Server,
    kind: Kind,
    client: Client,
    /// Outside of the client's MULTI.
    control: Client,
    /// They wait.
    blocked: Vec<Client>,
    /// What has been seen of the append-only file.
    seen: usize,
}

impl Subject<'_> {
    fn of(server: &Server, kind: Kind) -> Subject<'_> {
        let mut control = server.connect();
        if kind == Kind::Pinion {
            assert_eq!(control.command(&["DEBUG", "JOURNAL", "START"]).to_string(), "+OK");
        }
        Subject { server, kind, client: server.connect(), control, blocked: Vec::new(), seen: 0 }
    }

    fn effects_of(&mut self, request: &str) -> Vec<Argv> {
        if request == "later" {
            let end = now_ms_of(&mut self.control) + 6;
            while now_ms_of(&mut self.control) <= end {}
        } else if let Some(request) = request.strip_prefix("block ") {
            let mut client = self.server.connect();
            client.send(&request.split(' ').collect::<Vec<&str>>());
            while !self.control.command(&["INFO", "clients"]).to_text().contains("blocked_clients:1") {}
            self.blocked.push(client);
        } else {
            let reply = self.client.command(&request.split(' ').collect::<Vec<&str>>());
            assert!(!reply.is_error(), "{request}: {reply}");
            self.blocked.drain(..).for_each(|mut client| drop(client.receive()));
        }
        match self.kind {
            Kind::Pinion => self.of_journal(),
            Kind::Redis => self.of_file(),
        }
    }

    fn of_journal(&mut self) -> Vec<Argv> {
        let journals = self.control.command(&["DEBUG", "JOURNAL", "TAKE"]);
        let bytes = journals.as_items().expect("by shard")[0].as_bytes().expect("bytes").to_vec();
        Journal::read_from(&bytes, None).effects.into_iter().map(|effect| effect.argv).collect()
    }

    fn of_file(&mut self) -> Vec<Argv> {
        let folder = self.server.directory().join("appendonlydir");
        let files = fs::read_dir(folder).expect("there is one").map(|file| file.expect("a file").path());
        let path = files.into_iter().find(|path| path.to_string_lossy().ends_with(".incr.aof"));
        let bytes = fs::read(path.expect("there is one")).expect("readable");
        let mut effects = Vec::new();
        while let Some((value, length)) =
            Value::parse(&bytes[self.seen..]).filter(|_| self.seen < bytes.len())
        {
            self.seen += length;
            let words = value.as_items().expect("a command").iter();
            effects.push(words.map(|word| word.as_bytes().expect("text").to_vec()).collect::<Argv>());
        }
        effects.retain(|argv| {
            !["SELECT", "MULTI", "EXEC"].iter().any(|name| argv[0].eq_ignore_ascii_case(name.as_bytes()))
        });
        effects
    }
}
