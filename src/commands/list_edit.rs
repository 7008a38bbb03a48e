//! Lists at one key: elements that change where they are, and those that go.

use super::list::changed;
use crate::base::range;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::encoding::quicklist::End;
use crate::types::{ELEMENT_BYTES_MAX, EncodingLimits, List};

pub(super) const COMMANDS: &[&CommandSpec] = &[&LSET, &LINSERT, &LREM, &LTRIM];

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

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

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
}
