//! What was delivered and not acknowledged: XPENDING tells, XCLAIM and XAUTOCLAIM give it to another consumer.

use super::stream::changed;
use super::stream_group::{no_group, until_zero};
use super::stream_journal::{GroupChange, group_changed};
use super::stream_options::{interval_start, interval_stop, strict_id, write_entry, write_id};
use crate::base::UnixMillis;
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::StreamId;
use crate::types::stream::{self, ConsumerId, Log, Pending};

pub(super) const COMMANDS: &[&CommandSpec] = &[&XPENDING, &XCLAIM, &XAUTOCLAIM];

const XPENDING: CommandSpec = CommandSpec {
    name: "XPENDING",
    full_name: "xpending",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "5.0.0",
    complexity: "O(N) with N entries looked at; the summary O(M) with M consumers.",
    summary: "Tells what was delivered to a group and not acknowledged.",
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::block(
            "filters",
            &[
                Arg::integer("min-idle-time").after("IDLE").optional().since("6.2.0"),
                Arg::string("start"),
                Arg::string("end"),
                Arg::integer("count"),
                Arg::string("consumer").optional(),
            ],
        )
        .optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(xpending),
    ..DEFAULTS
};

fn no_key_or_group(key: &[u8], name: &[u8]) -> CommandError {
    no_group([b"NOGROUP No such key '", key, b"' or consumer group '", name, b"'"])
}

/// Which pending entries XPENDING lists.
struct Filter<'a> {
    idle_min: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filter<'a> {
    fn parse(mut args: Args<'a>) -> Result<Option<Self>, CommandError> {
        let argv = args.argv();
        if argv.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&argv.len()) {
            return Err(CommandError::Syntax);
        }
        let mut idle_min = 0;
        if args.option("IDLE") {
            idle_min = args.integer()?;
            if argv.len() < 8 {
                return Err(CommandError::Syntax);
            }
        }
        let (start, end) = (args.bytes()?, args.bytes()?);
        let count = args.integer()?.max(0) as usize;
        let (start, end) = (interval_start(start)?, interval_stop(end)?);
        Ok(Some(Self { idle_min, start, end, count, consumer: args.next() }))
    }
}

/// Milliseconds since a delivery; the clock may have gone back.
fn idle(now: UnixMillis, since: UnixMillis) -> i64 {
    now.0 as i64 - since.0 as i64
}

fn xpending(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name) = (args.bytes()?, args.bytes()?);
    let filter = Filter::parse(args)?;
    let now = ctx.now;
    let group = ctx.read_stream(key)?.and_then(|stream| stream.group(name));
    let group = group.ok_or_else(|| no_key_or_group(key, name))?;
    match filter {
        None => write_summary(group, reply),
        Some(filter) => write_pending(group, &filter, now, reply),
    }
    Ok(())
}

fn write_summary(group: &stream::Group, reply: &mut Reply<'_>) {
    reply.array(4);
    reply.length(group.pending().len());
    let ends = group.pending().first_key_value().zip(group.pending().last_key_value());
    let Some(((first, _), (last, _))) = ends else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    write_id(*first, reply);
    write_id(*last, reply);
    let busy = || group.consumers().filter(|consumer| !consumer.pending().is_empty());
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.pending().len() as i64);
    }
}

fn write_pending(group: &stream::Group, filter: &Filter<'_>, now: UnixMillis, reply: &mut Reply<'_>) {
    let (array, mut written) = (reply.deferred_array(), 0);
    let mut write = |id: StreamId, pending: &Pending| {
        if written == filter.count {
            return false;
        }
        let idle = idle(now, pending.delivered);
        if filter.idle_min == 0 || idle >= filter.idle_min {
            written += 1;
            reply.array(4);
            write_id(id, reply);
            reply.bulk(group.consumer(pending.consumer).name());
            reply.integer(idle.max(0));
            reply.integer(pending.deliveries as i64);
        }
        true
    };
    let consumer = filter.consumer.map(|name| group.find(name));
    if filter.start <= filter.end {
        match consumer {
            None => {
                let _ =
                    group.pending().range(filter.start..=filter.end).all(|(id, pending)| write(*id, pending));
            }
            Some(Some(consumer)) => {
                let own = group.consumer(consumer).pending().range(filter.start..=filter.end);
                let _ = own
                    .map(|id| (*id, group.pending_of(*id).expect("G1")))
                    .all(|(id, pending)| write(id, pending));
            }
            Some(None) => {}
        }
    }
    reply.finish(array, written);
}

const XCLAIM: CommandSpec = CommandSpec {
    name: "XCLAIM",
    full_name: "xclaim",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Stream,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "5.0.0",
    complexity: "O(log N) with N entries pending for the group.",
    summary: "Gives pending entries to a consumer, as if they had been delivered to it.",
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("id").multiple(),
        Arg::integer("ms").after("IDLE").optional(),
        Arg::new("unix-time-milliseconds", Kind::UnixTime).after("TIME").optional(),
        Arg::integer("count").after("RETRYCOUNT").optional(),
        Arg::token("force", "FORCE").optional(),
        Arg::token("justid", "JUSTID").optional(),
        Arg::string("id").after("LASTID").optional(),
    ],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(xclaim),
    ..DEFAULTS
};

/// The options of XCLAIM.
#[derive(Default)]
struct ClaimOptions {
    /// As given, perhaps nonsense.
    delivered: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
}

impl ClaimOptions {
    fn parse(mut args: Args<'_>, now: UnixMillis) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let number = |text: &[u8], error| parse_i64(text).ok_or(CommandError::Text(error));
        while let Some(word) = args.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let more = args.remaining() > 0;
            if is(b"FORCE") {
                options.force = true;
            } else if is(b"JUSTID") {
                options.just_id = true;
            } else if is(b"IDLE") && more {
                let idle = number(args.bytes()?, "ERR Invalid IDLE option argument for XCLAIM")?;
                options.delivered = Some((now.0 as i64).wrapping_sub(idle));
            } else if is(b"TIME") && more {
                let time = number(args.bytes()?, "ERR Invalid TIME option argument for XCLAIM")?;
                options.delivered = Some(time);
            } else if is(b"RETRYCOUNT") && more {
                let count = number(args.bytes()?, "ERR Invalid RETRYCOUNT option argument for XCLAIM")?;
                options.deliveries = u64::try_from(count).ok();
            } else if is(b"LASTID") && more {
                options.last_id = strict_id(args.bytes()?)?;
            } else {
                let parts: [&[u8]; 3] = [b"ERR Unrecognized XCLAIM option '", until_zero(word), b"'"];
                return Err(CommandError::built(parts.concat()));
            }
        }
        Ok(options)
    }

    /// -1 is as good as nothing, and so is any time that cannot be.
    fn delivered_at(&self, now: UnixMillis) -> UnixMillis {
        let time = self.delivered.and_then(|time| u64::try_from(time).ok()).map(UnixMillis);
        // Where a journal is replayed it is the beginning of time.
        time.filter(|time| *time <= now || now == UnixMillis(0)).unwrap_or(now)
    }
}

/// Who claims. If nothing comes of it he is not made, nor was he seen.
struct Claimant<'a> {
    name: &'a [u8],
    now: UnixMillis,
    found: Option<ConsumerId>,
    is_new: bool,
}

impl<'a> Claimant<'a> {
    fn new(name: &'a [u8], now: UnixMillis) -> Self {
        Self { name, now, found: None, is_new: false }
    }

    fn claim(&mut self, group: &mut stream::Group, id: StreamId, delivered: UnixMillis, deliveries: u64) {
        let consumer = self.found.or_else(|| group.find(self.name)).unwrap_or_else(|| {
            self.is_new = true;
            group.create(self.name, self.now)
        });
        self.found = Some(consumer);
        let own = group.consumer_mut(consumer);
        (own.seen, own.active) = (self.now, Some(self.now));
        group.assign(id, Pending { consumer, delivered, deliveries });
    }
}

fn write_claimed(log: &Log, id: StreamId, just_id: bool, reply: &mut Reply<'_>) {
    if just_id {
        write_id(id, reply);
    } else {
        write_entry(&log.get(id).expect("looked up before"), reply);
    }
}

fn xclaim(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, consumer) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let now = ctx.now;
    let found = ctx.write_stream(key)?.and_then(|stream| stream.group_mut(name));
    let (log, group) = found.ok_or_else(|| no_key_or_group(key, name))?;
    let idle_min = parse_i64(args.bytes()?)
        .ok_or(CommandError::Text("ERR Invalid min-idle-time argument for XCLAIM"))?;
    // Ids end where something cannot be one.
    let mut ids = Vec::new();
    while let Some(id) = args.peek().and_then(|text| strict_id(text).ok()) {
        ids.push(id);
        args.next();
    }
    let options = ClaimOptions::parse(args, now)?;
    let delivered = options.delivered_at(now);
    let mut changes = 0;
    let later = options.last_id > group.last_id;
    if later {
        group.last_id = options.last_id;
    }
    let mut change = GroupChange { moved: later, ..GroupChange::default() };
    let mut claimant = Claimant::new(consumer, now);
    let (array, mut written) = (reply.deferred_array(), 0);
    for id in ids {
        let old = group.pending_of(id).copied();
        if log.get(id).is_none() {
            if group.forget(id) {
                changes += 1;
                change.forgotten.push(id);
            }
            continue;
        }
        if let Some(old) = &old
            && idle_min > 0
            && idle(now, old.delivered) < idle_min
        {
            continue;
        }
        if old.is_none() && !options.force {
            continue;
        }
        let count = old.map_or(1, |old| old.deliveries);
        let deliveries = options.deliveries.unwrap_or(count.wrapping_add(u64::from(!options.just_id)));
        claimant.claim(group, id, delivered, deliveries);
        write_claimed(log, id, options.just_id, reply);
        change.claimed.push(id);
        written += 1;
    }
    reply.finish(array, written);
    changes += written as u64 + u64::from(later && changes + written as u64 == 0);
    let is_new = claimant.is_new;
    declare(ctx, key, is_new, changes);
    group_changed(ctx, key, name, &change);
    Ok(())
}

fn declare(ctx: &mut Context<'_>, key: &[u8], new_consumer: bool, changes: u64) {
    if new_consumer {
        ctx.modified(key, Event::XGroupCreateConsumer);
    }
    changed(ctx, key, Event::XClaim, changes);
}

const XAUTOCLAIM: CommandSpec = CommandSpec {
    name: "XAUTOCLAIM",
    full_name: "xautoclaim",
    arity: Arity::AtLeast(6),
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    since: "6.2.0",
    complexity: "O(1) if COUNT is small.",
    summary: "Gives entries that have been pending for long to a consumer.",
    args: &[
        Arg::key("key"),
        Arg::string("group"),
        Arg::string("consumer"),
        Arg::string("min-idle-time"),
        Arg::string("start"),
        Arg::integer("count").after("COUNT").optional(),
        Arg::token("justid", "JUSTID").optional(),
    ],
    handler: Handler::Shard(xautoclaim),
    ..XCLAIM
};

/// Entries looked at for each one asked for.
const ATTEMPTS: i64 = 10;
const COUNT_MAX: i64 = i64::MAX / 16;
/// More could not be remembered, should all of them have been deleted.
const COUNT_MEMORY_MAX: i64 = 1 << 36;

fn xautoclaim(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, name, consumer) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let idle_min = parse_i64(args.bytes()?)
        .ok_or(CommandError::Text("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let start = interval_start(args.bytes()?)?;
    let (mut count, mut just_id) = (100, false);
    while let Some(word) = args.next() {
        if word.eq_ignore_ascii_case(b"COUNT") && args.remaining() > 0 {
            let told = parse_i64(args.bytes()?).filter(|count| (1..=COUNT_MAX).contains(count));
            count = told.ok_or(CommandError::Text("ERR COUNT must be > 0"))?;
        } else if word.eq_ignore_ascii_case(b"JUSTID") {
            just_id = true;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let now = ctx.now;
    let found = ctx.write_stream(key)?.and_then(|stream| stream.group_mut(name));
    let (log, group) = found.ok_or_else(|| no_key_or_group(key, name))?;
    if count > COUNT_MEMORY_MAX {
        return Err(CommandError::Text(
            "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        ));
    }
    let mut claimant = Claimant::new(consumer, now);
    let (mut claimed, mut deleted) = (Vec::new(), Vec::new());
    let mut attempts = count.saturating_mul(ATTEMPTS);
    let mut at = group.pending().range(start..).next().map(|(id, pending)| (*id, *pending));
    while attempts > 0 && count > 0 {
        attempts -= 1;
        let Some((id, pending)) = at else { break };
        if log.get(id).is_none() {
            group.forget(id);
            deleted.push(id);
            count -= 1;
        } else if idle_min <= 0 || idle(now, pending.delivered) >= idle_min {
            let deliveries = pending.deliveries.wrapping_add(u64::from(!just_id));
            claimant.claim(group, id, now, deliveries);
            claimed.push(id);
            count -= 1;
        }
        let behind = id.next().and_then(|next| group.pending().range(next..).next());
        at = behind.map(|(id, pending)| (*id, *pending));
    }
    reply.array(3);
    write_id(at.map_or(StreamId::MIN, |(id, _)| id), reply);
    reply.array(claimed.len());
    claimed.iter().for_each(|id| write_claimed(log, *id, just_id, reply));
    reply.array(deleted.len());
    deleted.iter().for_each(|id| write_id(*id, reply));
    let changes = (claimed.len() + deleted.len()) as u64;
    let is_new = claimant.is_new;
    declare(ctx, key, is_new, changes);
    let change = GroupChange { claimed, forgotten: deleted, ..GroupChange::default() };
    group_changed(ctx, key, name, &change);
    Ok(())
}
