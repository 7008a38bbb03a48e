//! Lists at one key: pushes, pops, reads and edits.

use crate::base::range;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::keyspace::ValueRef;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::encoding::Entry;
use crate::types::encoding::quicklist::End;
use crate::types::{ELEMENT_BYTES_MAX, EncodingLimits, List, Value};

pub(super) const COMMANDS: &[&CommandSpec] = &[
    &LPUSH, &RPUSH, &LPUSHX, &RPUSHX, &LPOP, &RPOP, &LLEN, &LRANGE, &LINDEX, &LSET, &LINSERT, &LREM, &LTRIM,
    &LPOS,
];

const LPUSH: CommandSpec = CommandSpec {
    name: "LPUSH",
    full_name: "lpush",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Update, &["insert"])],
    complexity: "O(1) per element.",
    summary: "Puts elements before the first one of a list, creating it if it is missing.",
    args: &[Arg::key("key"), Arg::string("element").multiple()],
    handler: Handler::Shard(lpush),
    ..DEFAULTS
};

const RPUSH: CommandSpec = CommandSpec {
    name: "RPUSH",
    full_name: "rpush",
    summary: "Puts elements behind the last one of a list, creating it if it is missing.",
    handler: Handler::Shard(rpush),
    ..LPUSH
};

const LPUSHX: CommandSpec = CommandSpec {
    name: "LPUSHX",
    full_name: "lpushx",
    since: "2.2.0",
    summary: "Puts elements before the first one of a list that exists.",
    handler: Handler::Shard(lpushx),
    ..LPUSH
};

const RPUSHX: CommandSpec = CommandSpec {
    name: "RPUSHX",
    full_name: "rpushx",
    since: "2.2.0",
    summary: "Puts elements behind the last one of a list that exists.",
    handler: Handler::Shard(rpushx),
    ..LPUSH
};

fn lpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, End::Front, true)
}

fn rpush(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, End::Back, true)
}

fn lpushx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, End::Front, false)
}

fn rpushx(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    push(ctx, args, reply, End::Back, false)
}

#[inline]
fn push(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
    end: End,
    create: bool,
) -> CommandResult {
    let key = args.bytes()?;
    let count = args.remaining();
    if args.clone().any(|element| element.len() > ELEMENT_BYTES_MAX) {
        return Err(CommandError::StringTooLong);
    }
    let pushed = ctx.update(key, create, |list: &mut List, limits| {
        args.for_each(|element| list.push(end, element, limits));
        list.len()
    })?;
    if pushed.is_some() {
        changed(ctx, key, push_event(end), count);
    }
    reply.integer(pushed.map_or(0, |pushed| pushed.result as i64));
    Ok(())
}

pub(super) fn push_event(end: End) -> Event {
    match end {
        End::Front => Event::LPush,
        End::Back => Event::RPush,
    }
}

pub(super) fn pop_event(end: End) -> Event {
    match end {
        End::Front => Event::LPop,
        End::Back => Event::RPop,
    }
}

/// Declares a change of several elements, of which each counts.
pub(super) fn changed(ctx: &mut Context<'_>, key: &[u8], event: Event, elements: usize) {
    ctx.modified(key, event);
    ctx.shard.effects.add_dirty(elements.saturating_sub(1) as u64);
}

pub(super) fn write_entry(entry: Entry<'_>, reply: &mut Reply<'_>) {
    match entry {
        Entry::Str(text) => reply.bulk(text),
        Entry::Int(value) => reply.bulk_integer(value),
    }
}

const LPOP: CommandSpec = CommandSpec {
    name: "LPOP",
    full_name: "lpop",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Update, &["access", "delete"])],
    complexity: "O(N) where N is the number of elements returned.",
    summary: "Removes and returns the first elements of a list.",
    args: &[Arg::key("key"), Arg::integer("count").optional().since("6.2.0")],
    handler: Handler::Shard(lpop),
    ..DEFAULTS
};

const RPOP: CommandSpec = CommandSpec {
    name: "RPOP",
    full_name: "rpop",
    summary: "Removes and returns the last elements of a list.",
    handler: Handler::Shard(rpop),
    ..LPOP
};

fn lpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, End::Front, "lpop")
}

fn rpop(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    pop(ctx, args, reply, End::Back, "rpop")
}

#[inline]
fn pop(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
    end: End,
    name: &'static str,
) -> CommandResult {
    let key = args.bytes()?;
    if args.remaining() > 1 {
        return Err(CommandError::WrongArity(name));
    }
    if args.remaining() == 0 {
        if !pop_one(ctx, key, end, |entry| write_entry(entry, reply))? {
            reply.null();
        }
        return Ok(());
    }
    let count = count(&mut args)?;
    if count == 0 {
        match list_at(ctx, key)? {
            Some(_) => reply.array(0),
            None => reply.null_array(),
        }
    } else if pop_many(ctx, key, end, count, reply)? == 0 {
        reply.null_array();
    }
    Ok(())
}

/// The list at a key, for a command that may go on to change it: no hit, no miss.
pub(super) fn list_at<'c>(ctx: &'c mut Context<'_>, key: &[u8]) -> Result<Option<&'c List>, CommandError> {
    match ctx.peek(key).map(|entry| entry.value()) {
        None => Ok(None),
        Some(ValueRef::Boxed(Value::List(list))) => Ok(Some(list)),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// A number of elements, which is not negative.
fn count(args: &mut Args<'_>) -> Result<usize, CommandError> {
    let text = args.bytes()?;
    let value = crate::base::number::parse_i64(text);
    value.and_then(|value| usize::try_from(value).ok()).ok_or(CommandError::NotPositive)
}

/// Removes the element at an end, shows it, and declares all that follows; false if there is no such list.
#[inline]
pub(super) fn pop_one(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    show: impl FnOnce(Entry<'_>),
) -> Result<bool, CommandError> {
    let popped = ctx.update(key, false, |list: &mut List, _| {
        list.pop(end, show).expect("no list is empty");
    })?;
    if let Some(popped) = &popped {
        declare_popped(ctx, key, end, 1, popped.emptied);
    }
    Ok(popped.is_some())
}

fn declare_popped(ctx: &mut Context<'_>, key: &[u8], end: End, count: usize, emptied: bool) {
    changed(ctx, key, pop_event(end), count);
    if emptied {
        ctx.announce(key, Event::Del);
    }
}

/// Removes up to `count` elements, and replies with an array of them unless there are none; returns how many.
pub(super) fn pop_many(
    ctx: &mut Context<'_>,
    key: &[u8],
    end: End,
    count: usize,
    reply: &mut Reply<'_>,
) -> Result<usize, CommandError> {
    let popped = ctx.update(key, false, |list: &mut List, _| {
        let count = count.min(list.len());
        reply.array(count);
        write_from(list, end, count, reply);
        let kept = list.len() - count;
        match end {
            End::Front => list.trim(count..count + kept),
            End::Back => list.trim(0..kept),
        }
        count
    })?;
    let Some(popped) = popped else { return Ok(0) };
    declare_popped(ctx, key, end, popped.result, popped.emptied);
    Ok(popped.result)
}

/// Journals that elements were taken from an end, as LPOP or RPOP; one without saying so.
pub(super) fn propagate_popped(ctx: &mut Context<'_>, key: &[u8], end: End, count: Option<usize>) {
    let name: &[u8] = match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    };
    match count {
        Some(count) => ctx.propagate(&[name, key, itoa::Buffer::new().format(count).as_bytes()]),
        None => ctx.propagate(&[name, key]),
    }
}

/// The first elements from an end on.
fn write_from(list: &List, end: End, count: usize, reply: &mut Reply<'_>) {
    match end {
        End::Front => list.iter().take(count).for_each(|entry| write_entry(entry, reply)),
        End::Back => {
            let last = list.len() - 1;
            list.iter_back_from(last).take(count).for_each(|entry| write_entry(entry, reply));
        }
    }
}

const LLEN: CommandSpec = CommandSpec {
    name: "LLEN",
    full_name: "llen",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Read, &[])],
    summary: "Returns how many elements a list has.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(llen),
    ..DEFAULTS
};

fn llen(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let list = ctx.read_value::<List>(args.bytes()?)?;
    reply.integer(list.map_or(0, List::len) as i64);
    Ok(())
}

const LRANGE: CommandSpec = CommandSpec {
    name: "LRANGE",
    full_name: "lrange",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    complexity: "O(S+N) where S is the distance of the range from the nearer end, N its length.",
    summary: "Returns the elements of a list within a range of indices.",
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    handler: Handler::Shard(lrange),
    ..DEFAULTS
};

fn lrange(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, start, stop) = (args.bytes()?, args.integer()?, args.integer()?);
    let Some(list) = ctx.read_value::<List>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let range = range::resolve(start, stop, list.len());
    reply.array(range.len());
    list.iter_from(range.start).take(range.len()).for_each(|entry| write_entry(entry, reply));
    Ok(())
}

const LINDEX: CommandSpec = CommandSpec {
    name: "LINDEX",
    full_name: "lindex",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    complexity: "O(N) where N is the distance from the nearer end.",
    summary: "Returns the element of a list at an index.",
    args: &[Arg::key("key"), Arg::integer("index")],
    handler: Handler::Shard(lindex),
    ..DEFAULTS
};

fn lindex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let Some(list) = ctx.read_value::<List>(args.bytes()?)? else {
        reply.null();
        return Ok(());
    };
    // The index is looked at only if there is a list.
    match list.resolve(args.integer()?).and_then(|index| list.get(index)) {
        Some(entry) => write_entry(entry, reply),
        None => reply.null(),
    }
    Ok(())
}

const LSET: CommandSpec = CommandSpec {
    name: "LSET",
    full_name: "lset",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    complexity: "O(N) where N is the distance from the nearer end.",
    summary: "Replaces the element of a list at an index.",
    args: &[Arg::key("key"), Arg::integer("index"), Arg::string("element")],
    handler: Handler::Shard(lset),
    ..DEFAULTS
};

fn lset(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, index, element) = (args.bytes()?, args.integer(), args.bytes()?);
    refuse_huge(element)?;
    let updated = ctx.update(key, false, |list: &mut List, limits| {
        let index = list.resolve(index?).ok_or(CommandError::IndexOutOfRange)?;
        list.set(index, element, limits);
        Ok(())
    })?;
    updated.ok_or(CommandError::NoSuchKey)?.result?;
    ctx.modified(key, Event::LSet);
    reply.ok();
    Ok(())
}

fn refuse_huge(element: &[u8]) -> CommandResult {
    if element.len() > ELEMENT_BYTES_MAX { Err(CommandError::StringTooLong) } else { Ok(()) }
}

const LINSERT: CommandSpec = CommandSpec {
    name: "LINSERT",
    full_name: "linsert",
    arity: Arity::Exactly(5),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Update, &["insert"])],
    since: "2.2.0",
    complexity: "O(N) where N is the number of elements before the pivot.",
    summary: "Puts an element before or behind another one of a list.",
    args: &[
        Arg::key("key"),
        Arg::one_of("where", &[Arg::token("before", "BEFORE"), Arg::token("after", "AFTER")]),
        Arg::string("pivot"),
        Arg::string("element"),
    ],
    handler: Handler::Shard(linsert),
    ..DEFAULTS
};

fn linsert(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let behind = args.option("AFTER");
    if !behind && !args.option("BEFORE") {
        return Err(CommandError::Syntax);
    }
    let (pivot, element) = (args.bytes()?, args.bytes()?);
    refuse_huge(element)?;
    let insert = |list: &mut List, limits: &EncodingLimits| {
        list.insert(pivot, behind, element, limits).then(|| list.len())
    };
    let Some(updated) = ctx.update(key, false, insert)? else {
        reply.integer(0);
        return Ok(());
    };
    match updated.result {
        Some(length) => {
            ctx.modified(key, Event::LInsert);
            reply.integer(length as i64);
        }
        None => reply.integer(-1),
    }
    Ok(())
}

const LREM: CommandSpec = CommandSpec {
    name: "LREM",
    full_name: "lrem",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    complexity: "O(N+M) where N is the length of the list and M the number of elements removed.",
    summary: "Removes elements of a list that are equal to a given one.",
    args: &[Arg::key("key"), Arg::integer("count"), Arg::string("element")],
    handler: Handler::Shard(lrem),
    ..DEFAULTS
};

fn lrem(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, count, element) = (args.bytes()?, args.integer()?, args.bytes()?);
    let from = if count < 0 { End::Back } else { End::Front };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let updated = ctx.update(key, false, |list: &mut List, _| list.remove(from, element, most))?;
    let removed = updated.as_ref().map_or(0, |updated| updated.result);
    if removed > 0 {
        changed(ctx, key, Event::LRem, removed);
        if updated.is_some_and(|updated| updated.emptied) {
            ctx.announce(key, Event::Del);
        }
    }
    reply.integer(removed as i64);
    Ok(())
}

const LTRIM: CommandSpec = CommandSpec {
    name: "LTRIM",
    full_name: "ltrim",
    arity: Arity::Exactly(4),
    flags: Flags::of(&[Flag::Write]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Update, &["delete"])],
    complexity: "O(N) where N is the number of elements removed.",
    summary: "Removes the elements of a list outside of a range of indices.",
    args: &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")],
    handler: Handler::Shard(ltrim),
    ..DEFAULTS
};

fn ltrim(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, start, stop) = (args.bytes()?, args.integer()?, args.integer()?);
    let updated = ctx.update(key, false, |list: &mut List, _| {
        let before = list.len();
        list.trim(range::resolve(start, stop, before));
        before - list.len()
    })?;
    if let Some(updated) = updated {
        // Redis tells of a trim that removed nothing, too, but does not count it as a change.
        match updated.result {
            0 => ctx.announce(key, Event::LTrim),
            removed => changed(ctx, key, Event::LTrim, removed),
        }
        if updated.emptied {
            ctx.announce(key, Event::Del);
        }
    }
    reply.ok();
    Ok(())
}

const LPOS: CommandSpec = CommandSpec {
    name: "LPOS",
    full_name: "lpos",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::List,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.0.6",
    complexity: "O(N) where N is the number of elements looked at.",
    summary: "Returns the indices of elements of a list that are equal to a given one.",
    args: &[
        Arg::key("key"),
        Arg::string("element"),
        Arg::new("rank", Kind::Integer).after("RANK").optional(),
        Arg::new("num-matches", Kind::Integer).after("COUNT").optional(),
        Arg::new("len", Kind::Integer).after("MAXLEN").optional(),
    ],
    handler: Handler::Shard(lpos),
    ..DEFAULTS
};

fn lpos(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, element) = (args.bytes()?, args.bytes()?);
    let options = LposOptions::parse(args)?;
    let Some(list) = ctx.read_value::<List>(key)? else {
        match options.count {
            Some(_) => reply.array(0),
            None => reply.null(),
        }
        return Ok(());
    };

    let needle = Entry::of(element);
    let last = list.len() - 1;
    let looked_at = if options.len_max == 0 { usize::MAX } else { options.len_max };
    // The smallest integer has no counterpart: C takes it for -1.
    let passed_over = options.rank.checked_abs().map_or(0, |rank| rank as usize - 1);
    let is_it = |(place, entry): (usize, Entry<'_>)| (entry == needle).then_some(place);
    if options.rank > 0 {
        let found = list.iter().enumerate().take(looked_at).filter_map(is_it).skip(passed_over);
        write_positions(found, options.count, reply);
    } else {
        let backward = list.iter_back_from(last).enumerate().take(looked_at);
        let found = backward.filter_map(is_it).skip(passed_over).map(|place| last - place);
        write_positions(found, options.count, reply);
    }
    Ok(())
}

fn write_positions(mut found: impl Iterator<Item = usize>, count: Option<usize>, reply: &mut Reply<'_>) {
    match count {
        None => match found.next() {
            Some(index) => reply.integer(index as i64),
            None => reply.null(),
        },
        Some(count) => {
            let array = reply.deferred_array();
            let most = if count == 0 { usize::MAX } else { count };
            let mut written = 0;
            for index in found.take(most) {
                reply.integer(index as i64);
                written += 1;
            }
            reply.finish(array, written);
        }
    }
}

struct LposOptions {
    /// Not 0; negative from the end.
    rank: i64,
    count: Option<usize>,
    /// 0 for all.
    len_max: usize,
}

impl LposOptions {
    fn parse(mut args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self { rank: 1, count: None, len_max: 0 };
        while args.remaining() > 0 {
            let value_follows = args.remaining() > 1;
            if value_follows && args.option("RANK") {
                options.rank = args.integer()?;
                if options.rank == 0 {
                    return Err(RANK_ZERO);
                }
            } else if value_follows && args.option("COUNT") {
                options.count = Some(count(&mut args).map_err(|_| COUNT_NEGATIVE)?);
            } else if value_follows && args.option("MAXLEN") {
                options.len_max = count(&mut args).map_err(|_| MAXLEN_NEGATIVE)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }
}

const RANK_ZERO: CommandError = CommandError::Text(
    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
     or use negative to start from the end of the list",
);
const COUNT_NEGATIVE: CommandError = CommandError::Text("ERR COUNT can't be negative");
const MAXLEN_NEGATIVE: CommandError = CommandError::Text("ERR MAXLEN can't be negative");

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn pushes_and_pops() {
        check(
            r#"
            > LPUSH l a b c
            :3
            > RPUSH l 1 -2
            :5
            > LPUSHX l z
            :6
            > RPUSHX missing z
            :0
            > LRANGE l 0 -1
            [$z, $c, $b, $a, $1, $-2]
            > LLEN l
            :6
            > LLEN missing
            :0
            > LPOP l
            $z
            > RPOP l 2
            [$-2, $1]
            > LPOP l 0
            []
            > LPOP missing 0
            NullArray
            > LPOP missing
            nil
            > RPOP missing 2
            NullArray
            > LPOP l -1
            -ERR value is out of range, must be positive
            > LPOP l x
            -ERR value is out of range, must be positive
            > LPOP l 1 2
            -ERR wrong number of arguments for 'lpop' command
            > RPOP l 100
            [$a, $b, $c]
            > EXISTS l
            :0
            > SET s x
            +OK
            > LPUSH s a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > LPOP s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > LLEN s
            -WRONGTYPE Operation against a key holding the wrong kind of value
            "#,
        );
    }

    #[test]
    fn reads() {
        check(
            r#"
            > RPUSH l a b c d
            :4
            > LINDEX l 0
            $a
            > LINDEX l -1
            $d
            > LINDEX l 4
            nil
            > LINDEX l x
            -ERR value is not an integer or out of range
            > LINDEX missing x
            nil
            > LRANGE l 1 -2
            [$b, $c]
            > LRANGE l -100 1
            [$a, $b]
            > LRANGE l 2 1
            []
            > LRANGE l 0 x
            -ERR value is not an integer or out of range
            > LRANGE missing 0 -1
            []
            > OBJECT ENCODING l
            $quicklist
            > TYPE l
            +list
            "#,
        );
    }

    #[test]
    fn edits() {
        check(
            r#"
            > RPUSH l a b c b a
            :5
            > LSET l 1 x
            +OK
            > LSET l -1 y
            +OK
            > LSET l 5 z
            -ERR index out of range
            > LSET l x z
            -ERR value is not an integer or out of range
            > LSET missing x z
            -ERR no such key
            > LINSERT l BEFORE c 1
            :6
            > LINSERT l after c 2
            :7
            > LINSERT l nowhere c 2
            -ERR syntax error
            > LINSERT l BEFORE nope 2
            :-1
            > LINSERT missing AFTER c 2
            :0
            > LRANGE l 0 -1
            [$a, $x, $1, $c, $2, $b, $y]
            > RPUSH l a 1 a 2 a
            :12
            > LREM l 1 a
            :1
            > LREM l -2 a
            :2
            > LREM l 0 2
            :2
            > LREM l x 2
            -ERR value is not an integer or out of range
            > LREM missing 1 2
            :0
            > LRANGE l 0 -1
            [$x, $1, $c, $b, $y, $a, $1]
            > LTRIM l 1 -2
            +OK
            > LTRIM l x 1
            -ERR value is not an integer or out of range
            > LRANGE l 0 -1
            [$1, $c, $b, $y, $a]
            > LTRIM l 1 0
            +OK
            > EXISTS l
            :0
            "#,
        );
    }

    #[test]
    fn positions() {
        check(
            r#"
            > RPUSH l a b c 1 2 3 c c
            :8
            > LPOS l c
            :2
            > LPOS l c RANK 2
            :6
            > LPOS l c RANK -1
            :7
            > LPOS l c RANK 4
            nil
            > LPOS l c RANK 0
            -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
            > LPOS l c RANK -9223372036854775808
            :7
            > LPOS l c COUNT 0
            [:2, :6, :7]
            > LPOS l c COUNT 2 RANK -1
            [:7, :6]
            > LPOS l c COUNT 0 MAXLEN 3
            [:2]
            > LPOS l c COUNT -1
            -ERR COUNT can't be negative
            > LPOS l c MAXLEN -1
            -ERR MAXLEN can't be negative
            > LPOS l c COUNT
            -ERR syntax error
            > LPOS missing c
            nil
            > LPOS missing c COUNT 1
            []
            "#,
        );
    }
}
