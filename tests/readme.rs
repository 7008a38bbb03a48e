//! The lists in README.md are those of the program: commands from the table, parameters from their declarations.
//!
//! ```text
//! UPDATE_README=1 cargo test --test readme       writes them anew
//! ```

use pinion::command_table::{Command, CommandTable, Group};
use pinion::config::{Status, TABLE};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::{env, fs, path::Path};

/// The commands of Redis 7.0.15, without those that servers only say to each other or to their tests.
const REDIS: &[(Group, &str)] = &[
    (
        Group::Generic,
        "COPY DEL DUMP EXISTS EXPIRE EXPIREAT EXPIRETIME KEYS MIGRATE MOVE OBJECT PERSIST PEXPIRE PEXPIREAT \
         PEXPIRETIME PTTL RANDOMKEY RENAME RENAMENX RESTORE SCAN SORT SORT_RO TOUCH TTL TYPE UNLINK WAIT",
    ),
    (
        Group::String,
        "APPEND DECR DECRBY GET GETDEL GETEX GETRANGE GETSET INCR INCRBY INCRBYFLOAT LCS MGET MSET MSETNX PSETEX \
         SET SETEX SETNX SETRANGE STRLEN SUBSTR",
    ),
    (
        Group::List,
        "BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH LINDEX LINSERT LLEN LMOVE LMPOP LPOP LPOS LPUSH LPUSHX LRANGE LREM \
         LSET LTRIM RPOP RPOPLPUSH RPUSH RPUSHX",
    ),
    (
        Group::Set,
        "SADD SCARD SDIFF SDIFFSTORE SINTER SINTERCARD SINTERSTORE SISMEMBER SMEMBERS SMISMEMBER SMOVE SPOP \
         SRANDMEMBER SREM SSCAN SUNION SUNIONSTORE",
    ),
    (
        Group::SortedSet,
        "BZMPOP BZPOPMAX BZPOPMIN ZADD ZCARD ZCOUNT ZDIFF ZDIFFSTORE ZINCRBY ZINTER ZINTERCARD ZINTERSTORE \
         ZLEXCOUNT ZMPOP ZMSCORE ZPOPMAX ZPOPMIN ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANGESTORE ZRANK \
         ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK \
         ZSCAN ZSCORE ZUNION ZUNIONSTORE",
    ),
    (
        Group::Hash,
        "HDEL HEXISTS HGET HGETALL HINCRBY HINCRBYFLOAT HKEYS HLEN HMGET HMSET HRANDFIELD HSCAN HSET HSETNX \
         HSTRLEN HVALS",
    ),
    (
        Group::PubSub,
        "PSUBSCRIBE PUBLISH PUBSUB PUNSUBSCRIBE SPUBLISH SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE",
    ),
    (Group::Transactions, "DISCARD EXEC MULTI UNWATCH WATCH"),
    (Group::Connection, "AUTH CLIENT ECHO HELLO PING QUIT RESET SELECT"),
    (
        Group::Server,
        "ACL BGREWRITEAOF BGSAVE COMMAND CONFIG DBSIZE DEBUG FAILOVER FLUSHALL FLUSHDB INFO LASTSAVE LATENCY \
         LOLWUT MEMORY MODULE MONITOR PSYNC REPLICAOF ROLE SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC TIME",
    ),
    (Group::Scripting, "EVAL EVALSHA EVALSHA_RO EVAL_RO FCALL FCALL_RO FUNCTION SCRIPT"),
    (Group::HyperLogLog, "PFADD PFCOUNT PFMERGE"),
    (Group::Cluster, "ASKING CLUSTER READONLY READWRITE"),
    (
        Group::Geo,
        "GEOADD GEODIST GEOHASH GEOPOS GEORADIUS GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH \
         GEOSEARCHSTORE",
    ),
    (
        Group::Stream,
        "XACK XADD XAUTOCLAIM XCLAIM XDEL XGROUP XINFO XLEN XPENDING XRANGE XREAD XREADGROUP XREVRANGE XSETID XTRIM",
    ),
    (Group::Bitmap, "BITCOUNT BITFIELD BITFIELD_RO BITOP BITPOS GETBIT SETBIT"),
];

#[test]
fn the_lists_are_those_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let before = fs::read_to_string(&path).expect("README.md is readable");
    let table = pinion::commands::table(&[]);
    let mut after = before.clone();
    for (name, text) in [
        ("commands", commands(&table)),
        ("missing commands", missing(&table)),
        ("parameters", parameters(Status::Implemented)),
        ("parameters without effect", parameters(Status::NotYet)),
    ] {
        after = replaced(&after, name, &text);
    }
    if before == after {
        return;
    }
    assert!(
        env::var_os("UPDATE_README").is_some(),
        "the lists are old; run: UPDATE_README=1 cargo test --test readme"
    );
    fs::write(&path, after).expect("README.md is writable");
}

#[test]
fn what_redis_has_is_listed_in_the_group_that_we_declare() {
    for command in pinion::commands::table(&[]).top_level() {
        let of_redis = REDIS.iter().find(|(_, names)| names.split(' ').any(|name| name == command.spec.name));
        if let Some((group, _)) = of_redis {
            assert_eq!(*group, command.spec.group, "{}", command.spec.name);
        }
    }
}

/// The text with what stands between the marks of a list replaced.
fn replaced(text: &str, name: &str, list: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("README.md has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("README.md has no {end}"));
    format!("{before}{begin}{list}{end}{after}")
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Generic => "Keys",
        Group::String => "Strings",
        Group::List => "Lists",
        Group::Set => "Sets",
        Group::SortedSet => "Sorted sets",
        Group::Hash => "Hashes",
        Group::PubSub => "Publish and subscribe",
        Group::Transactions => "Transactions",
        Group::Connection => "Connection",
        Group::Server => "Server",
        Group::Scripting => "Scripting",
        Group::HyperLogLog => "HyperLogLog",
        Group::Cluster => "Cluster",
        Group::Geo => "Geo",
        Group::Stream => "Streams",
        Group::Bitmap => "Bitmaps",
    }
}

/// A row per group with what there is.
fn commands(table: &CommandTable) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    for group in Group::ALL {
        let names: BTreeSet<String> = table
            .top_level()
            .filter(|command| command.spec.group == *group)
            .map(|command| with_subcommands(table, command))
            .collect();
        row(&mut text, *group, names);
    }
    text
}

fn with_subcommands(table: &CommandTable, command: &Command) -> String {
    let subcommands: BTreeSet<&str> =
        table.subcommands_of(command).map(|sub| sub.spec.name).filter(|name| *name != "HELP").collect();
    if subcommands.is_empty() {
        return command.spec.name.to_owned();
    }
    format!("{} ({})", command.spec.name, subcommands.into_iter().collect::<Vec<_>>().join(", "))
}

/// A row per group with what Redis has and we have not.
fn missing(table: &CommandTable) -> String {
    let mut text = String::from("| | |\n|---|---|\n");
    for (group, names) in REDIS {
        let names: BTreeSet<String> = names
            .split(' ')
            .filter(|name| table.find(name.as_bytes()).is_none())
            .map(str::to_owned)
            .collect();
        row(&mut text, *group, names);
    }
    text
}

fn row(text: &mut String, group: Group, names: BTreeSet<String>) {
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join(" · ");
        writeln!(text, "| {} | {names} |", title(group)).expect("a String takes everything");
    }
}

/// The parameters of a status, in alphabetical order; ours, which Redis has not, in bold.
fn parameters(status: Status) -> String {
    let shown: BTreeSet<&str> = TABLE
        .iter()
        .filter(|declaration| declaration.status == status && (!declaration.hidden || declaration.own))
        .map(|declaration| declaration.name)
        .collect();
    let own = |name: &str| TABLE.iter().any(|declaration| declaration.own && declaration.name == name);
    let names: Vec<String> = shown
        .into_iter()
        .map(|name| if own(name) { format!("**`{name}`**") } else { format!("`{name}`") })
        .collect();
    format!("{}\n", names.join(" · "))
}
