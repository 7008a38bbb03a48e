//! Lists at one key: pushes and pops.

use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::keyspace::ValueRef;
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::encoding::Entry;
use crate::types::encoding::quicklist::End;
use crate::types::{ELEMENT_BYTES_MAX, List, Value};

pub(super) const COMMANDS: &[&CommandSpec] = &[&LPUSH, &RPUSH, &LPUSHX, &RPUSHX, &LPOP, &RPOP];

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
pub(super) fn count(args: &mut Args<'_>) -> Result<usize, CommandError> {
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
    let popped = ctx.update(key, false, |list: &mut List, limits| {
        list.pop(end, limits, show).expect("no list is empty");
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
    let first = match end {
        End::Front => 0,
        End::Back => list.len() - 1,
    };
    list.for_each_of(first, end.other(), count, |entry| write_entry(entry, reply));
}

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
}
