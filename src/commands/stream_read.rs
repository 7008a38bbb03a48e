//! Reading several streams behind given ids, XREAD, or for a group, XREADGROUP; both may wait for more.
//!
//! XREAD takes nothing away, so that one XADD serves all who wait for it. What XREADGROUP delivers is delivered
//! once, and who waits for it is told when its key or its group goes.

use super::hops::{plan_or_error, result};
use super::stream_group::no_group;
use super::stream_journal::{GroupChange, group_changed};
use super::stream_options::{strict_id, write_entry, write_id};
use crate::base::UnixMillis;
use crate::command_table::{
    Access, Arg, Args, Arity, Begin, CommandSpec, Contribution, DEFAULTS, Find, Flag, Flags, Group, Handler,
    HopWork, KeySpec, Plan, Step, WaitOrder,
};
use crate::keyspace::ValueRef;
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event, Wish};
use crate::types::stream::{self, Delivery, Log, Stream};
use crate::types::{StreamId, Value};
use std::ops::Range;
use std::sync::Arc;

pub(super) const COMMANDS: &[&CommandSpec] = &[&XREAD, &XREADGROUP];

/// Entries given to who has waited, where he did not say how many.
const COUNT_AFTER_WAIT: u64 = 1000;

const STREAMS: Arg =
    Arg::block("streams", &[Arg::key("key").multiple(), Arg::string("id").multiple()]).after("STREAMS");

const XREAD: CommandSpec = CommandSpec {
    name: "XREAD",
    full_name: "xread",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Blocking]),
    group: Group::Stream,
    keys: &[KeySpec {
        begin: Begin::Keyword("STREAMS", 1),
        find: Find::FirstHalf(streams_at),
        access: Access::Read,
        effects: &["access"],
    }],
    since: "5.0.0",
    complexity: "O(N) with N entries returned.",
    summary: "Returns the entries behind an id of each of several streams, or waits for some.",
    args: &[
        Arg::integer("count").after("COUNT").optional(),
        Arg::integer("milliseconds").after("BLOCK").optional(),
        STREAMS,
    ],
    handler: Handler::Blocking { run, plan, may_wait, wait },
    ..DEFAULTS
};

const XREADGROUP: CommandSpec = CommandSpec {
    name: "XREADGROUP",
    full_name: "xreadgroup",
    arity: Arity::AtLeast(7),
    flags: Flags::of(&[Flag::Write, Flag::Blocking]),
    keys: &[KeySpec {
        begin: Begin::Keyword("STREAMS", 4),
        find: Find::FirstHalf(streams_at),
        access: Access::Consume,
        effects: &["access"],
    }],
    summary: "Delivers new entries of streams to a consumer of a group, or waits for some; or shows what is \
              pending for the consumer.",
    args: &[
        Arg::block("group_consumer", &[Arg::string("group"), Arg::string("consumer")]).after("GROUP"),
        Arg::integer("count").after("COUNT").optional(),
        Arg::integer("milliseconds").after("BLOCK").optional(),
        Arg::token("noack", "NOACK").optional(),
        STREAMS,
    ],
    ..XREAD
};

/// Where the word STREAMS is: options before it may have values that look like it.
fn streams_at(argv: Argv<'_>) -> Option<usize> {
    let mut index = 1;
    while let Some(word) = argv.get(index) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match () {
            _ if is(b"STREAMS") => return Some(index),
            _ if is(b"BLOCK") || is(b"COUNT") => index += 2,
            _ if is(b"GROUP") => index += 3,
            _ if is(b"NOACK") => index += 1,
            _ => return None,
        }
    }
    None
}

/// Whether BLOCK is among the options.
fn may_wait(argv: Argv<'_>) -> bool {
    let end = streams_at(argv).unwrap_or(0);
    (1..end).any(|index| argv[index].eq_ignore_ascii_case(b"BLOCK"))
}

/// What a request says. Ids are read when their streams are looked at, for the sake of the order of complaints.
struct Request<'a> {
    argv: Argv<'a>,
    /// The keys; the ids are as many arguments behind them.
    keys: Range<usize>,
    group: Option<Reader<'a>>,
    count: Option<u64>,
    block_ms: Option<u64>,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    noack: bool,
}

impl<'a> Request<'a> {
    fn parse(argv: Argv<'a>) -> Result<Self, CommandError> {
        let is_group = argv[0].eq_ignore_ascii_case(b"XREADGROUP");
        let (mut count, mut block_ms, mut group, mut noack) = (None, None, None, false);
        let mut args = Args::new(argv, 1);
        let keys = loop {
            let word = args.bytes()?;
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let more = args.remaining();
            if is(b"BLOCK") && more > 0 {
                block_ms = Some(block(args.bytes()?)?);
            } else if is(b"COUNT") && more > 0 {
                count = u64::try_from(args.integer()?).ok().filter(|count| *count > 0);
            } else if is(b"STREAMS") && more > 0 {
                let first = argv.len() - more;
                if !more.is_multiple_of(2) {
                    return Err(CommandError::Text(
                        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be \
                         specified.",
                    ));
                }
                break first..first + more / 2;
            } else if is(b"GROUP") && more >= 2 {
                if !is_group {
                    return Err(CommandError::Text(
                        "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                group = Some((args.bytes()?, args.bytes()?));
            } else if is(b"NOACK") {
                if !is_group {
                    return Err(CommandError::Text(
                        "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                    ));
                }
                noack = true;
            } else {
                return Err(CommandError::Syntax);
            }
        };
        if is_group && group.is_none() {
            return Err(CommandError::Text("ERR Missing GROUP option for XREADGROUP"));
        }
        let group = group.map(|(group, consumer)| Reader { group, consumer, noack });
        Ok(Self { argv, keys, group, count, block_ms })
    }

    fn id_of(&self, key: usize) -> &'a [u8] {
        self.argv.get(key + self.keys.len()).expect("as many ids as keys")
    }

    fn key(&self, index: usize) -> &'a [u8] {
        self.argv.get(index).expect("within")
    }
}

fn block(text: &[u8]) -> Result<u64, CommandError> {
    let millis = crate::base::number::parse_i64(text)
        .ok_or(CommandError::Text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(millis).map_err(|_| CommandError::Text("ERR timeout is negative"))
}

/// Behind what a stream is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum From {
    After(StreamId),
    /// `>`: behind what the group has been given.
    New,
    /// `+` of XREAD, as in Redis 7.4: the last entry, if there is one.
    Last,
}

/// Checks one stream of a request, and what its id means.
fn look(ctx: &mut Context<'_>, key: &[u8], id: &[u8], group: Option<&[u8]>) -> Result<From, CommandError> {
    let stream = ctx.read_stream(key)?;
    if let Some(group) = group
        && stream.and_then(|stream| stream.group(group)).is_none()
    {
        return Err(no_group([
            b"NOGROUP No such key '",
            key,
            b"' or consumer group '",
            group,
            b"' in XREADGROUP with GROUP option",
        ]));
    }
    match id {
        b"$" if group.is_some() => Err(CommandError::Text(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
             consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
             return an empty result set.",
        )),
        b"+" if group.is_some() => Err(CommandError::Text(
            "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this \
             consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just \
             return an empty result set.",
        )),
        b"+" if stream.is_some_and(|stream| !stream.log().is_empty()) => Ok(From::Last),
        b"$" | b"+" => Ok(From::After(stream.map_or(StreamId::MIN, |stream| stream.log().last_id()))),
        b">" if group.is_none() => Err(CommandError::Text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
             option.",
        )),
        b">" => Ok(From::New),
        id => match strict_id(id)? {
            // To Redis this is what `>` stands for.
            StreamId::MAX if group.is_some() => Ok(From::New),
            id => Ok(From::After(id)),
        },
    }
}

/// The entries behind an id, if there are any.
fn behind(log: &Log, id: StreamId) -> Option<stream::Range<'_>> {
    if log.last_id() <= id {
        return None;
    }
    let start = id.next()?;
    log.range(start, StreamId::MAX).next()?;
    Some(log.range(start, StreamId::MAX))
}

/// The name of a stream; its entries follow.
fn write_name(key: &[u8], reply: &mut Reply<'_>) {
    if !reply.is_resp3() {
        reply.array(2);
    }
    reply.bulk(key);
}

fn write_range(range: stream::Range<'_>, count: Option<u64>, reply: &mut Reply<'_>) {
    let (array, mut written) = (reply.deferred_array(), 0);
    for entry in range.take(count.map_or(usize::MAX, |count| count as usize)) {
        write_entry(&entry, reply);
        written += 1;
    }
    reply.finish(array, written);
}

/// Reads one stream of a request; `false` if it has nothing.
fn serve(
    ctx: &mut Context<'_>,
    key: &[u8],
    from: From,
    reader: Option<Reader<'_>>,
    count: Option<u64>,
    reply: &mut Reply<'_>,
) -> bool {
    let Some(reader) = reader else {
        let Ok(Some(stream)) = ctx.read_stream(key) else { return false };
        match from {
            From::After(id) => {
                let Some(range) = behind(stream.log(), id) else { return false };
                write_name(key, reply);
                write_range(range, count, reply);
            }
            From::Last => {
                let Some(entry) = stream.log().last() else { return false };
                write_name(key, reply);
                reply.array(1);
                write_entry(&entry, reply);
            }
            From::New => unreachable!("`>` is for groups"),
        }
        return true;
    };
    let now = ctx.now;
    let Ok(Some(stream)) = ctx.write_stream(key) else { return false };
    let Some((log, group)) = stream.group_mut(reader.group) else { return false };
    if from == From::New && behind(log, group.last_id).is_none() {
        return false;
    }
    let delivered = deliver(stream, key, from, reader, count, now, reply);
    declare(ctx, key, from, reader, delivered);
    true
}

/// Declares that a group was read.
fn declare(ctx: &mut Context<'_>, key: &[u8], from: From, reader: Reader<'_>, delivered: Delivered) {
    if delivered.new_consumer {
        ctx.modified(key, Event::XGroupCreateConsumer);
    }
    ctx.modified(key, Event::XReadGroup);
    let change = GroupChange {
        new_consumer: delivered.new_consumer.then_some(reader.consumer),
        claimed: delivered.ids,
        forgotten: Vec::new(),
        moved: from == From::New,
    };
    group_changed(ctx, key, reader.group, &change);
}

/// What came of reading a group.
struct Delivered {
    new_consumer: bool,
    /// What is pending since then.
    ids: Vec<StreamId>,
}

/// Gives a consumer what there is for it.
fn deliver(
    stream: &mut Stream,
    key: &[u8],
    from: From,
    reader: Reader<'_>,
    count: Option<u64>,
    now: UnixMillis,
    reply: &mut Reply<'_>,
) -> Delivered {
    let (log, group) = stream.group_mut(reader.group).expect("looked up by the caller");
    let old = group.find(reader.consumer);
    let consumer = old.unwrap_or_else(|| group.create(reader.consumer, now));
    group.consumer_mut(consumer).seen = now;
    write_name(key, reply);
    let (array, mut written) = (reply.deferred_array(), 0);
    let mut delivered = Delivered { new_consumer: old.is_none(), ids: Vec::new() };
    match from {
        From::New => {
            let delivery = Delivery { consumer, count, noack: reader.noack, now };
            stream.deliver(reader.group, &delivery, |entry| {
                write_entry(entry, reply);
                written += 1;
                if !reader.noack {
                    delivered.ids.push(entry.id);
                }
            });
        }
        From::Last => unreachable!("`+` is for XREAD"),
        From::After(id) => {
            let start = id.next().unwrap_or(StreamId::MAX);
            let most = count.map_or(usize::MAX, |count| count as usize);
            let ids: Vec<StreamId> =
                group.consumer(consumer).pending().range(start..).take(most).copied().collect();
            written = ids.len();
            for id in ids {
                match log.get(id) {
                    Some(entry) => {
                        write_entry(&entry, reply);
                        group.deliver_again(id, now);
                        delivered.ids.push(id);
                    }
                    None => {
                        reply.array(2);
                        write_id(id, reply);
                        reply.null_array();
                    }
                }
            }
        }
    }
    reply.finish(array, written);
    delivered
}

/// The header of a reply with so many streams.
fn write_header(streams: usize, reply: &mut Reply<'_>) {
    if reply.is_resp3() { reply.map(streams) } else { reply.array(streams) }
}

fn run(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let request = Request::parse(args.argv())?;
    let group = request.group.map(|reader| reader.group);
    let from: Result<Vec<From>, CommandError> = request
        .keys
        .clone()
        .map(|index| look(ctx, request.key(index), request.id_of(index), group))
        .collect();
    let start = reply.mark();
    let container = if reply.is_resp3() { reply.deferred_map() } else { reply.deferred_array() };
    let mut served = 0;
    for (index, from) in request.keys.clone().zip(from?) {
        served += usize::from(serve(ctx, request.key(index), from, request.group, request.count, reply));
    }
    if served == 0 {
        reply.rollback(start);
        reply.null_array();
    } else if reply.is_resp3() {
        reply.finish_map(container, served);
    } else {
        reply.finish(container, served);
    }
    Ok(())
}

// -- Over several shards

fn plan(argv: Argv<'_>) -> Box<dyn Plan> {
    plan_or_error(Request::parse(argv).map(|_| {
        let plan: Box<dyn Plan> = Box::new(ReadPlan { argv: Arc::new(argv.to_owned()), stage: Stage::Look });
        plan
    }))
}

/// Hop 1 looks at all streams; a group's streams are read in hop 2, when all is known to be right. XREAD, which
/// changes nothing, is done with the first.
struct ReadPlan {
    argv: Arc<ArgvBuf>,
    stage: Stage,
}

enum Stage {
    Look,
    Judge,
    Done,
}

/// What a shard has found out about a stream, and read of it.
type Looked = Result<(From, Option<Vec<u8>>), CommandError>;

impl Plan for ReadPlan {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        let request = Request::parse(self.argv.as_argv()).expect("parsed before");
        let protocol = reply.protocol();
        let parts = match self.stage {
            Stage::Look => {
                self.stage = Stage::Judge;
                let look = |index: usize| {
                    let argv = Arc::clone(&self.argv);
                    HopWork::new(request.key(index), move |ctx| -> Looked {
                        let request = Request::parse(argv.as_argv()).expect("parsed before");
                        let (key, id) = (request.key(index), request.id_of(index));
                        let from = look(ctx, key, id, request.group.map(|reader| reader.group))?;
                        let read = request.group.is_none();
                        let mut bytes = Vec::new();
                        let mut reply = Reply::new(&mut bytes, protocol);
                        let served = read && serve(ctx, key, from, None, request.count, &mut reply);
                        Ok((from, served.then_some(bytes)))
                    })
                };
                return Step::Hop(request.keys.clone().map(look).collect());
            }
            Stage::Judge => {
                let looked: Result<Vec<_>, CommandError> =
                    results.into_iter().map(result::<Looked>).collect();
                let looked = match looked {
                    Ok(looked) => looked,
                    Err(error) => return Step::Done(Err(error)),
                };
                if request.group.is_some() {
                    self.stage = Stage::Done;
                    let read = |(index, (from, _)): (usize, (From, _))| {
                        let argv = Arc::clone(&self.argv);
                        HopWork::new(request.key(index), move |ctx| -> Option<Vec<u8>> {
                            let request = Request::parse(argv.as_argv()).expect("parsed before");
                            let mut bytes = Vec::new();
                            let mut reply = Reply::new(&mut bytes, protocol);
                            let (key, count) = (request.key(index), request.count);
                            serve(ctx, key, from, request.group, count, &mut reply).then_some(bytes)
                        })
                    };
                    return Step::Hop(request.keys.clone().zip(looked).map(read).collect());
                }
                looked.into_iter().filter_map(|(_, bytes)| bytes).collect()
            }
            Stage::Done => {
                let parts = results.into_iter().filter_map(result::<Option<Vec<u8>>>);
                parts.collect::<Vec<Vec<u8>>>()
            }
        };
        if parts.is_empty() {
            reply.null_array();
        } else {
            write_header(parts.len(), reply);
            parts.iter().for_each(|part| reply.raw(part));
        }
        Step::Done(Ok(()))
    }
}

// -- Waiting

fn wait(argv: Argv<'_>) -> Result<WaitOrder, CommandError> {
    let request = Request::parse(argv)?;
    let keys: Vec<Box<[u8]>> = request.keys.clone().map(|index| request.key(index).into()).collect();
    let count = request.count.or(Some(COUNT_AFTER_WAIT));
    let wish: Arc<dyn Wish> = match request.group {
        Some(Reader { group, consumer, noack }) => {
            Arc::new(GroupWish { group: group.into(), consumer: consumer.into(), noack, count })
        }
        None => {
            let id = |index| strict_id(request.id_of(index)).ok();
            let ids = request.keys.clone().map(id);
            Arc::new(ReadWish { starts: keys.iter().cloned().zip(ids).collect(), count })
        }
    };
    Ok(WaitOrder { wish, keys, further: None, timeout_ms: request.block_ms.unwrap_or(0) })
}

/// XREAD, as long as it stands in no line.
struct ReadWish {
    /// By key; `None` is `$`, and `+` where there is nothing.
    starts: Vec<(Box<[u8]>, Option<StreamId>)>,
    count: Option<u64>,
}

/// XREAD in the line of one key.
struct ReadBehind {
    id: StreamId,
    count: Option<u64>,
}

fn as_stream(value: ValueRef<'_>) -> Option<&Stream> {
    match value {
        ValueRef::Boxed(Value::Stream(stream)) => Some(stream),
        _ => None,
    }
}

impl Wish for ReadWish {
    fn wants(&self, _: ValueRef<'_>) -> bool {
        false
    }

    fn at_start(&self, key: &[u8], value: Option<ValueRef<'_>>) -> Option<Arc<dyn Wish>> {
        let (_, start) = self.starts.iter().find(|(own, _)| **own == *key)?;
        let last = || value.and_then(as_stream).map_or(StreamId::MIN, |stream| stream.log().last_id());
        Some(Arc::new(ReadBehind { id: start.unwrap_or_else(last), count: self.count }))
    }

    fn serve(&self, _: &mut Context<'_>, _: &[u8], _: &mut Reply<'_>) -> CommandResult {
        unreachable!("in each line stands a ReadBehind")
    }
}

impl Wish for ReadBehind {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        as_stream(value).is_some_and(|stream| stream.log().last_id() > self.id)
    }

    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        let stream = ctx.read_stream(key)?.expect("it was wanted");
        let start = self.id.next().expect("there is something behind it");
        write_header(1, reply);
        write_name(key, reply);
        // Without entries if they have been deleted at once, as in Redis.
        write_range(stream.log().range(start, StreamId::MAX), self.count, reply);
        Ok(())
    }
}

/// XREADGROUP; who waits is always behind all that the group was given.
struct GroupWish {
    group: Box<[u8]>,
    consumer: Box<[u8]>,
    noack: bool,
    count: Option<u64>,
}

const KEY_GONE: CommandError = CommandError::Text("UNBLOCKED the stream key no longer exists");
const GROUP_GONE: CommandError =
    CommandError::Text("NOGROUP the consumer group this client was blocked on no longer exists");

impl Wish for GroupWish {
    fn wants(&self, value: ValueRef<'_>) -> bool {
        let Some(stream) = as_stream(value) else { return true };
        stream.group(&self.group).is_none_or(|group| stream.log().last_id() > group.last_id)
    }

    fn minds_absence(&self) -> bool {
        true
    }

    fn serve(&self, ctx: &mut Context<'_>, key: &[u8], reply: &mut Reply<'_>) -> CommandResult {
        let now = ctx.now;
        let stream = ctx.write_stream(key).ok().flatten().ok_or(KEY_GONE)?;
        if stream.group(&self.group).is_none() {
            return Err(GROUP_GONE);
        }
        write_header(1, reply);
        let reader = Reader { group: &self.group, consumer: &self.consumer, noack: self.noack };
        let delivered = deliver(stream, key, From::New, reader, self.count, now, reply);
        declare(ctx, key, From::New, reader, delivered);
        Ok(())
    }
}
