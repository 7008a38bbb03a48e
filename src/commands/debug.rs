//! DEBUG: for tests of the server and of its clients; `enable-debug-command` says who may use it.
//!
//! Every core does its part of a subcommand. What is about one key is done by the core that has the key: the
//! others find nothing.

mod digest;
mod protocol;

use super::help;
use crate::base::number::parse_i64;
use crate::command_table::{
    Args, Arity, Asker, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler,
};
use crate::config::rewrite;
use crate::disk::AlignedBuffer;
use crate::keyspace::{Entry, TableShape, Ttl, ValueRef};
use crate::persistence::load::{ReloadOrder, Which};
use crate::resp::Reply;
use crate::session::{CoreState, Session};
use crate::shard::{CommandError, CommandResult, Shard, shard_of_key};
use crate::types::encoding::quicklist::NodeRef;
use crate::types::{List, Value};
use digest::{DatabaseDigest, Digest};
use std::sync::atomic::Ordering;

pub(super) const COMMANDS: &[&CommandSpec] = &[&DEBUG];

/// Integers below this are shared objects in Redis, with a count of references that never changes.
const SHARED_INTEGERS: i64 = 10_000;

const DEBUG: CommandSpec = CommandSpec {
    name: "DEBUG",
    full_name: "debug",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Stale, Flag::Protected]),
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on subcommand.",
    summary: "Tools for tests of the server.",
    handler: Handler::EveryCore { begin, collect, finish },
    ..DEFAULTS
};

/// What is asked for, its arguments checked.
enum Action<'a> {
    /// Syncs of the append-only file fail with this, or nothing.
    AppendSyncError(i32),
    /// Nobody hears that writing the append-only file has come to an end.
    AppendStall(bool),
    ChangeReplicationId,
    RewriteConfig,
    Digest,
    DigestValue(Args<'a>),
    Error(&'a [u8]),
    Help,
    JournalStart,
    JournalTake,
    TableStats(usize),
    TableStatsOfKey(&'a [u8]),
    /// Accepted: what it would change does not exist here.
    Nothing,
    Listpack(&'a [u8]),
    Log(&'a [u8]),
    /// This client, to this core.
    MoveClient(u64, usize),
    Object(&'a [u8]),
    PauseCron(bool),
    Populate {
        count: u64,
        prefix: &'a [u8],
        size: Option<usize>,
    },
    Protocol(&'a [u8]),
    Quicklist(&'a [u8]),
    Refused(&'static str),
    Reload {
        save: bool,
        which: Which,
    },
    SetActiveExpire(bool),
    SkipChecksums(bool),
    Sleep {
        nanoseconds: u64,
    },
}

impl<'a> Action<'a> {
    fn of(mut args: Args<'a>, core: &CoreState) -> Result<Self, CommandError> {
        let (databases, cores) = (core.settings.databases, core.cores);
        let name = args.bytes()?;
        let wrong_form = || help::wrong_form("DEBUG", name);
        let count = args.remaining();
        let mut one = |action: fn(&'a [u8]) -> Self| match count {
            1 => Ok(action(args.bytes()?)),
            _ => Err(wrong_form()),
        };
        Ok(match (name.to_ascii_uppercase().as_slice(), count) {
            (b"AOF-STALL", 1) => Self::AppendStall(args.integer()? != 0),
            (b"AOF-SYNC-ERROR", 1) => Self::AppendSyncError(args.integer()? as i32),
            (b"CHANGE-REPL-ID", 0) => Self::ChangeReplicationId,
            (b"CONFIG-REWRITE-FORCE-ALL", 0) => Self::RewriteConfig,
            (b"DIGEST", 0) => Self::Digest,
            (b"DIGEST-VALUE", _) => Self::DigestValue(args),
            (b"ERROR", _) => one(Self::Error)?,
            (b"HELP", 0) => Self::Help,
            (b"HTSTATS", 1) => {
                let database = args.integer()?;
                let database = usize::try_from(database).ok().filter(|database| *database < databases);
                Self::TableStats(database.ok_or(CommandError::Text("ERR Out of range database"))?)
            }
            (b"HTSTATS-KEY", 1 | 2) => Self::TableStatsOfKey(args.bytes()?),
            (b"JOURNAL", 1) => journal(args)?,
            (b"LISTPACK", _) => one(Self::Listpack)?,
            (b"LOADAOF", 0) => Self::Reload { save: false, which: Which::AppendOnly },
            (b"RESTART" | b"CRASH-AND-RECOVER", _) => {
                Self::Refused("ERR the server does not start itself again")
            }
            (b"LOG", _) => one(Self::Log)?,
            (b"OBJECT", 1 | 2) => Self::Object(args.bytes()?),
            (b"PINION-MOVE-CLIENT", 2) => {
                let (id, core) = (args.integer()?, args.integer()?);
                let to = usize::try_from(core).ok().filter(|to| *to < cores);
                let to = to.ok_or(CommandError::Text("ERR Out of range core"))?;
                Self::MoveClient(u64::try_from(id).unwrap_or(0), to)
            }
            (b"PAUSE-CRON", _) => one(|flag| Self::PauseCron(leading_number(flag) != 0.0))?,
            (b"POPULATE", 1..=3) => populate(args)?,
            (b"PROTOCOL", _) => one(Self::Protocol)?,
            (b"QUICKLIST", 1 | 2) => Self::Quicklist(args.bytes()?),
            (b"QUICKLIST-PACKED-THRESHOLD", 1) => {
                let bytes = crate::config::units::parse_memory(args.bytes()?);
                bytes.filter(|bytes| *bytes < 4 << 30).ok_or(CommandError::Text(
                    "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
                ))?;
                Self::Nothing
            }
            (b"RELOAD", _) => reload_options(args)?,
            (b"REPLYBUFFER", 2) => {
                if !args.option("PEAK-RESET-TIME") && !args.option("RESIZING") {
                    return Err(wrong_form());
                }
                Self::Nothing
            }
            (b"SET-ACTIVE-EXPIRE", _) => one(|flag| Self::SetActiveExpire(leading_number(flag) != 0.0))?,
            (b"SET-SKIP-CHECKSUM-VALIDATION", _) => {
                one(|flag| Self::SkipChecksums(leading_number(flag) != 0.0))?
            }
            (b"AOF-FLUSH-SLEEP" | b"DROP-CLUSTER-PACKET-FILTER", 1) => Self::Nothing,
            (b"SLEEP", _) => one(|seconds| {
                let nanoseconds = (leading_number(seconds).max(0.0) * 1e9) as u64;
                Self::Sleep { nanoseconds }
            })?,
            _ => return Err(wrong_form()),
        })
    }
}

fn journal<'a>(mut args: Args<'a>) -> Result<Action<'a>, CommandError> {
    if args.option("START") {
        Ok(Action::JournalStart)
    } else if args.option("TAKE") {
        Ok(Action::JournalTake)
    } else {
        Err(help::wrong_form("DEBUG", b"JOURNAL"))
    }
}

fn populate<'a>(mut args: Args<'a>) -> Result<Action<'a>, CommandError> {
    let positive = |word| parse_i64(word).and_then(|number| u64::try_from(number).ok());
    let count = positive(args.bytes()?).ok_or(CommandError::NotPositive)?;
    let prefix = args.next().unwrap_or(b"key");
    let size = match args.next() {
        None => None,
        Some(size) => Some(positive(size).ok_or(CommandError::NotPositive)? as usize),
    };
    Ok(Action::Populate { count, prefix, size })
}

fn reload_options<'a>(mut args: Args<'a>) -> Result<Action<'a>, CommandError> {
    let (mut flush, mut save, mut merge) = (true, true, false);
    while args.remaining() > 0 {
        if args.option("NOFLUSH") {
            flush = false;
        } else if args.option("NOSAVE") {
            save = false;
        } else if args.option("MERGE") {
            merge = true;
        } else {
            return Err(CommandError::Text(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            ));
        }
    }
    Ok(Action::Reload { save, which: Which::Snapshot { flush, merge } })
}

/// The number at the beginning of a text, as C's `strtod` finds it; 0 if there is none.
fn leading_number(text: &[u8]) -> f64 {
    let text = str::from_utf8(text).unwrap_or_default();
    let end = text.find(|byte: char| !matches!(byte, '0'..='9' | '.' | '-' | '+' | 'e' | 'E'));
    text[..end.unwrap_or(text.len())].parse().unwrap_or(0.0)
}

fn begin(session: &mut Session<'_>, args: Args<'_>) -> CommandResult {
    let core = &mut *session.core;
    match Action::of(args, core)? {
        Action::Sleep { nanoseconds } => {
            core.read_clock();
            let until = core.now.monotonic_ns.saturating_add(nanoseconds);
            core.shared.asleep_until_ns.store(until, Ordering::Relaxed);
        }
        Action::Error(text) => {
            let text = String::from_utf8_lossy(text).into_owned();
            return Err(CommandError::built(text));
        }
        Action::RewriteConfig => super::config::rewrite_file(core, rewrite::rewrite_all)?,
        Action::JournalStart | Action::JournalTake if core.shard.appender.is_on() => {
            return Err(CommandError::Text("ERR the append-only file reads the journal"));
        }
        Action::Reload { .. } if core.settings.loading || core.load.is_some() => {
            return Err(CommandError::Text("LOADING Redis is loading the dataset in memory"));
        }
        Action::Reload { save, which } => {
            core.reload = Some(ReloadOrder { save, which });
        }
        Action::Refused(text) => return Err(CommandError::Text(text)),
        Action::Log(text) => {
            core.shared.log.warning(format!("DEBUG LOG: {}", String::from_utf8_lossy(text)));
        }
        Action::AppendStall(stalled) => {
            core.shared.append_only.planted_stall.store(stalled, Ordering::Relaxed);
        }
        Action::AppendSyncError(error) => {
            core.shared.append_only.planted_sync_error.store(error, Ordering::Relaxed);
        }
        Action::ChangeReplicationId => {
            core.shared.log.notice("Changing replication IDs after receiving change-repl-id");
            let mut id = String::new();
            while id.len() < 40 {
                id.push_str(&format!("{:016x}", core.shard.random.next_u64()));
            }
            id.truncate(40);
            core.shared.set_replication_id(id);
        }
        _ => {}
    }
    Ok(())
}

fn collect(core: &mut CoreState, asker: Asker, args: Args<'_>) -> Contribution {
    let Ok(action) = Action::of(args, core) else { return Box::new(()) };
    let keyspace = &core.shard.databases[asker.db];
    match action {
        Action::Digest => {
            let digests = core.shard.databases.iter().map(DatabaseDigest::of);
            Box::new(digests.collect::<Vec<DatabaseDigest>>())
        }
        Action::DigestValue(keys) => {
            let now = core.now.unix;
            let live = |key| keyspace.find(key).filter(|entry| !entry.is_expired(now));
            let digests = keys.map(|key| live(key).map(Digest::of_value));
            Box::new(digests.collect::<Vec<Option<Digest>>>())
        }
        Action::TableStats(database) => {
            let keyspace = &core.shard.databases[database];
            Box::new((keyspace.table_shape(), keyspace.expires_len()))
        }
        Action::TableStatsOfKey(key) | Action::Listpack(key) | Action::Quicklist(key) => {
            Box::new(keyspace.contains(key))
        }
        Action::Object(key) => {
            let clock = core.shard.access_clock;
            let node_limit = core.shard.options.encoding.list_max_listpack_size;
            Box::new(keyspace.find(key).map(|entry| describe(entry, clock, node_limit)))
        }
        Action::JournalStart => {
            if !core.shard.effects.journal.is_on() {
                core.shard.effects.journal.start(0);
            }
            Box::new(())
        }
        Action::JournalTake => {
            let sealed = core.shard.effects.journal.take(AlignedBuffer::default());
            Box::new(sealed.map(|sealed| sealed.bytes.bytes().to_vec()).unwrap_or_default())
        }
        Action::MoveClient(id, to) => Box::new(core.order_away(id, to)),
        Action::PauseCron(paused) => {
            core.cron_paused = paused;
            Box::new(())
        }
        Action::Populate { count, prefix, size } => {
            fill(core, asker.db, count, prefix, size);
            Box::new(())
        }
        Action::SetActiveExpire(active) => {
            core.shard.options.active_expire = active;
            Box::new(())
        }
        Action::SkipChecksums(skip) => {
            core.shard.options.verify_dumps = !skip;
            Box::new(())
        }
        Action::Sleep { .. } => {
            core.sleep_if_told();
            Box::new(())
        }
        _ => Box::new(()),
    }
}

fn finish(
    session: &mut Session<'_>,
    args: Args<'_>,
    parts: Vec<Contribution>,
    reply: &mut Reply<'_>,
) -> CommandResult {
    match Action::of(args, session.core)? {
        Action::Digest => {
            let cores: Vec<Vec<DatabaseDigest>> = parts.into_iter().map(taken).collect();
            reply.simple(digest::of_dataset(&cores).to_hex());
        }
        Action::DigestValue(keys) => {
            let cores: Vec<Vec<Option<Digest>>> = parts.into_iter().map(taken).collect();
            reply.array(keys.remaining());
            for index in 0..keys.remaining() {
                let found = cores.iter().find_map(|digests| digests[index].clone());
                reply.simple(found.unwrap_or_default().to_hex());
            }
        }
        Action::Help => help(reply),
        Action::JournalTake => {
            reply.array(parts.len());
            parts.into_iter().map(taken::<Vec<u8>>).for_each(|bytes| reply.bulk(&bytes));
        }
        Action::TableStats(_) => {
            let cores: Vec<(TableShape, usize)> = parts.into_iter().map(taken).collect();
            reply.verbatim(b"txt", table_stats(&cores).as_bytes());
        }
        Action::TableStatsOfKey(_) => {
            exists(parts)?;
            return Err(CommandError::Text(
                "ERR The value stored at the specified key is not represented using an hash table",
            ));
        }
        Action::Listpack(_) => {
            exists(parts)?;
            return Err(CommandError::Text("ERR Not a listpack encoded object."));
        }
        Action::Quicklist(_) => {
            exists(parts)?;
            return Err(CommandError::Text("ERR Not a quicklist encoded object."));
        }
        Action::MoveClient(..) => {
            if !parts.into_iter().any(taken::<bool>) {
                return Err(CommandError::Text("ERR No such client"));
            }
            reply.ok();
        }
        Action::Object(_) => {
            let text = parts.into_iter().find_map(taken::<Option<String>>).ok_or(CommandError::NoSuchKey)?;
            reply.simple(&text);
        }
        Action::Protocol(kind) => protocol::reply(kind, reply)?,
        _ => reply.ok(),
    }
    Ok(())
}

fn taken<T: 'static>(part: Contribution) -> T {
    *part.downcast::<T>().expect("what the same action collects")
}

fn exists(parts: Vec<Contribution>) -> CommandResult {
    if parts.into_iter().any(taken::<bool>) { Ok(()) } else { Err(CommandError::NoSuchKey) }
}

/// DEBUG OBJECT's line. Strings are not compressed in the length it tells.
fn describe(entry: Entry<'_>, clock: u32, node_limit: i64) -> String {
    let value = entry.as_string();
    let number = value.and_then(|string| string.as_i64()).filter(|_| entry.encoding().as_str() == "int");
    let shared = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
    let length = value.map_or(0, |string| serialized_length(string.as_i64(), string.len()));
    let idle = clock.wrapping_sub(entry.access()) & 0x00ff_ffff;
    format!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{length} lru:{} lru_seconds_idle:{idle}{}",
        entry.key().as_ptr(),
        if shared { i32::MAX } else { 1 },
        entry.encoding().as_str(),
        entry.access(),
        match entry.value() {
            ValueRef::Boxed(Value::List(list)) => describe_nodes(list, node_limit),
            _ => String::new(),
        },
    )
}

/// What DEBUG OBJECT tells of a list. The limit is the one of now: a list does not keep its own.
fn describe_nodes(list: &List, node_limit: i64) -> String {
    let nodes = list.nodes();
    let limit = node_limit.clamp(-5, (1 << 15) - 1);
    format!(
        " ql_nodes:{} ql_avg_node:{:.2} ql_listpack_max:{limit} ql_compressed:{} ql_uncompressed_size:{}",
        nodes.len(),
        list.len() as f64 / nodes.len() as f64,
        u8::from(list.is_compressing()),
        nodes.iter().map(NodeRef::bytes).sum::<usize>(),
    )
}

/// Bytes of a string in an RDB file: integers of up to 32 bits in their own form, else a length and the text.
fn serialized_length(number: Option<i64>, length: usize) -> usize {
    match number {
        Some(-0x80..=0x7f) => 2,
        Some(-0x8000..=0x7fff) => 3,
        Some(-0x8000_0000..=0x7fff_ffff) => 5,
        _ => {
            let header = match length {
                0..64 => 1,
                64..16_384 => 2,
                _ => 5,
            };
            header + length
        }
    }
}

/// The keys of this core among those that POPULATE names; what exists stays.
fn fill(core: &mut CoreState, db: usize, count: u64, prefix: &[u8], size: Option<usize>) {
    let (index, cores) = (core.index, core.cores);
    let Shard { databases, effects, .. } = &mut **core.shard;
    let keyspace = &mut databases[db];
    let mut key = prefix.to_vec();
    key.push(b':');
    let start = key.len();
    for number in 0..count {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number).as_bytes();
        key.truncate(start);
        key.extend_from_slice(digits);
        if shard_of_key(&key, cores) != index || keyspace.contains(&key) {
            continue;
        }
        let mut value = [b"value:", digits].concat();
        if let Some(size) = size {
            value.resize(size, 0);
        }
        keyspace.set_string(&key, &value, Ttl::Clear);
        if effects.journal.is_on() {
            effects.journal.effect(db, [b"SET", &key[..], &value].into_iter());
            effects.journal.seal();
        }
    }
}

/// Our tables have no chains: what there is to tell is how full they are.
fn table_stats(cores: &[(TableShape, usize)]) -> String {
    let sum = |figure: fn(&TableShape) -> usize| cores.iter().map(|(shape, _)| figure(shape)).sum::<usize>();
    let expires: usize = cores.iter().map(|(_, expires)| expires).sum();
    let (keys, slots) = (sum(|shape| shape.keys), sum(|shape| shape.slots));
    if keys == 0 {
        return "[Dictionary HT]\nNo stats available for empty dictionaries\n[Expires HT]\nNo stats available for \
                empty dictionaries\n"
            .into();
    }
    format!(
        "[Dictionary HT]\n table size: {slots}\n number of elements: {keys}\n segments: {}\n directory: {}\n \
         bytes: {}\n load: {:.2}%\n[Expires HT]\n number of elements: {expires}\n",
        sum(|shape| shape.segments),
        sum(|shape| shape.directory),
        sum(|shape| shape.bytes),
        100.0 * keys as f64 / slots.max(1) as f64,
    )
}

fn help(reply: &mut Reply<'_>) {
    help::write(
        reply,
        "DEBUG",
        &[
            ("AOF-STALL <0|1>", &["Lets writes of the append-only file never end, until told 0."]),
            (
                "AOF-SYNC-ERROR <errno>",
                &["Lets syncs of the append-only file fail with this error of the system, until told 0."],
            ),
            ("CHANGE-REPL-ID", &["Gives the server a new replication id."]),
            ("CONFIG-REWRITE-FORCE-ALL", &["CONFIG REWRITE, with the parameters at their defaults too."]),
            ("DIGEST", &["A digest of all data; equal data have equal digests."]),
            ("DIGEST-VALUE <key> [<key> ...]", &["Digests of the values of these keys."]),
            ("ERROR <string>", &["Replies with <string> as an error."]),
            ("HTSTATS <dbid>", &["The hash tables of a database in figures."]),
            ("HTSTATS-KEY <key>", &["The hash table of a value in figures."]),
            (
                "JOURNAL <START|TAKE>",
                &[
                    "Begins to write down what changes; gives out the records since, by shard, and forgets them.",
                ],
            ),
            ("LOADAOF", &["Writes the append-only file to its end, and loads it in place of the data."]),
            ("LOG <message>", &["Writes <message> into the log."]),
            ("OBJECT <key>", &["How the value of <key> is stored."]),
            ("PAUSE-CRON <0|1>", &["Stops or starts the periodic duties of all cores."]),
            (
                "PINION-MOVE-CLIENT <id> <core>",
                &["Moves a client's connection to another core, as soon as it is at rest."],
            ),
            (
                "POPULATE <count> [<prefix>] [<size>]",
                &["Creates <count> strings named key:<num>, or <prefix>:<num>, of <size> bytes."],
            ),
            (
                "PROTOCOL <type>",
                &[
                    "Replies with an example of <type>: string, integer, double, bignum, null, array,",
                    "set, map, attrib, push, verbatim, true, false.",
                ],
            ),
            (
                "RELOAD [option ...]",
                &[
                    "Saves, empties the databases, and loads the snapshot. Options: MERGE (keys that are there",
                    "are replaced), NOFLUSH, NOSAVE.",
                ],
            ),
            ("SET-ACTIVE-EXPIRE <0|1>", &["Stops or starts the removal of keys nobody asks for."]),
            ("SLEEP <seconds>", &["Stops all cores for <seconds>, which may have decimals."]),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        let expected = [("0.5", 0.5), ("1", 1.0), ("abc", 0.0), ("2x", 2.0), ("", 0.0), ("1e-3", 0.001)];
        assert!(expected.into_iter().all(|(text, number)| leading_number(text.as_bytes()) == number));
    }

    #[test]
    fn serialized_lengths_are_those_of_an_rdb_file() {
        assert_eq!(serialized_length(Some(127), 3), 2);
        assert_eq!(serialized_length(Some(12_345), 5), 3);
        assert_eq!(serialized_length(Some(-40_000), 6), 5);
        assert_eq!(serialized_length(Some(1 << 40), 13), 14);
        assert_eq!(serialized_length(None, 3), 4);
        assert_eq!(serialized_length(None, 64), 66);
    }
}
