//! Deadlines of single fields, as in Redis 7.4: HEXPIRE, HTTL, HPERSIST and their kin.

use super::hash_deadline::{FIELDS, Happened, NOT_POSITIVE, Outcome, Time, fields, set_deadline, tell};
use super::hash_field_options::parse_conditional;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandResult, Context, Event, Updated};

pub(super) const COMMANDS: &[&CommandSpec] =
    &[&HEXPIRE, &HPEXPIRE, &HEXPIREAT, &HPEXPIREAT, &HTTL, &HPTTL, &HEXPIRETIME, &HPEXPIRETIME, &HPERSIST];

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[Arg::token("nx", "NX"), Arg::token("xx", "XX"), Arg::token("gt", "GT"), Arg::token("lt", "LT")],
)
.optional();

const HEXPIRE: CommandSpec = CommandSpec {
    name: "HEXPIRE",
    full_name: "hexpire",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets the remaining life of fields in seconds.",
    args: &[Arg::key("key"), Arg::integer("seconds"), CONDITION, FIELDS],
    handler: Handler::Shard(hexpire),
    ..DEFAULTS
};

const HPEXPIRE: CommandSpec = CommandSpec {
    name: "HPEXPIRE",
    full_name: "hpexpire",
    summary: "Sets the remaining life of fields in milliseconds.",
    args: &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION, FIELDS],
    handler: Handler::Shard(hpexpire),
    ..HEXPIRE
};

const HEXPIREAT: CommandSpec = CommandSpec {
    name: "HEXPIREAT",
    full_name: "hexpireat",
    summary: "Sets the deadline of fields as a Unix time in seconds.",
    args: &[Arg::key("key"), Arg::new("unix-time-seconds", Kind::UnixTime), CONDITION, FIELDS],
    handler: Handler::Shard(hexpireat),
    ..HEXPIRE
};

const HPEXPIREAT: CommandSpec = CommandSpec {
    name: "HPEXPIREAT",
    full_name: "hpexpireat",
    summary: "Sets the deadline of fields as a Unix time in milliseconds.",
    args: &[Arg::key("key"), Arg::new("unix-time-milliseconds", Kind::UnixTime), CONDITION, FIELDS],
    handler: Handler::Shard(hpexpireat),
    ..HEXPIREAT
};

fn hexpire(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_deadlines(ctx, args, Time::After(1000), "hexpire", reply)
}

fn hpexpire(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_deadlines(ctx, args, Time::After(1), "hpexpire", reply)
}

fn hexpireat(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_deadlines(ctx, args, Time::At(1000), "hexpireat", reply)
}

fn hpexpireat(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    set_deadlines(ctx, args, Time::At(1), "hpexpireat", reply)
}

fn set_deadlines(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    time: Time,
    command: &'static str,
    reply: &mut Reply<'_>,
) -> CommandResult {
    let key = args.bytes()?;
    // The type comes first.
    ctx.update_hash(key, false, |_, _| ())?;
    let now = ctx.now;
    let deadline = time.parse(args.bytes()?, now, command)?;
    let (condition, fields) = parse_conditional(args)?;
    reply.array(fields.remaining());
    let updated = ctx.update_hash(key, false, |hash, limits| {
        let mut happened = Happened::default();
        for field in fields {
            let outcome = set_deadline(hash, field, deadline, condition, now, limits);
            happened.note(outcome, field);
            reply.integer(outcome as i64);
        }
        happened
    })?;
    match updated {
        None => fields.for_each(|_| reply.integer(Outcome::NoField as i64)),
        Some(Updated { result, emptied }) => result.tell(ctx, key, Some(deadline), emptied),
    }
    Ok(())
}

const HTTL: CommandSpec = CommandSpec {
    name: "HTTL",
    full_name: "httl",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the remaining life of fields in seconds.",
    args: &[Arg::key("key"), FIELDS],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(httl),
    ..DEFAULTS
};

const HPTTL: CommandSpec = CommandSpec {
    name: "HPTTL",
    full_name: "hpttl",
    summary: "Returns the remaining life of fields in milliseconds.",
    handler: Handler::Shard(hpttl),
    ..HTTL
};

const HEXPIRETIME: CommandSpec = CommandSpec {
    name: "HEXPIRETIME",
    full_name: "hexpiretime",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the deadline of fields as a Unix time in seconds.",
    args: &[Arg::key("key"), FIELDS],
    handler: Handler::Shard(hexpiretime),
    ..DEFAULTS
};

const HPEXPIRETIME: CommandSpec = CommandSpec {
    name: "HPEXPIRETIME",
    full_name: "hpexpiretime",
    summary: "Returns the deadline of fields as a Unix time in milliseconds.",
    handler: Handler::Shard(hpexpiretime),
    ..HEXPIRETIME
};

fn httl(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now = ctx.now.0;
    show_deadlines(ctx, args, reply, |deadline| (deadline.saturating_sub(now)).div_ceil(1000))
}

fn hpttl(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let now = ctx.now.0;
    show_deadlines(ctx, args, reply, |deadline| deadline.saturating_sub(now))
}

fn hexpiretime(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show_deadlines(ctx, args, reply, |deadline| deadline.div_ceil(1000))
}

fn hpexpiretime(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    show_deadlines(ctx, args, reply, |deadline| deadline)
}

/// -2 for a missing field, -1 for one without a deadline.
fn show_deadlines(
    ctx: &mut Context<'_>,
    mut args: Args<'_>,
    reply: &mut Reply<'_>,
    show: impl Fn(u64) -> u64,
) -> CommandResult {
    let hash = ctx.read_hash(args.bytes()?)?;
    let fields = fields(&mut args, NOT_POSITIVE)?;
    reply.array(fields.remaining());
    for field in fields {
        let found = hash.filter(|hash| hash.contains(field));
        reply.integer(match found {
            None => -2,
            Some(hash) => hash.deadline(field).map_or(-1, |deadline| show(deadline.0) as i64),
        });
    }
    Ok(())
}

const HPERSIST: CommandSpec = CommandSpec {
    name: "HPERSIST",
    full_name: "hpersist",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Removes the deadlines of fields.",
    args: &[Arg::key("key"), FIELDS],
    handler: Handler::Shard(hpersist),
    ..DEFAULTS
};

fn hpersist(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    ctx.update_hash(key, false, |_, _| ())?;
    let fields = fields(&mut args, NOT_POSITIVE)?;
    let now = ctx.now;
    reply.array(fields.remaining());
    let updated = ctx.update_hash(key, false, |hash, _| {
        let mut changed = false;
        for field in fields {
            let there = hash.at(now).contains(field);
            let persisted = there && hash.persist(field);
            changed |= persisted;
            reply.integer(if persisted {
                1
            } else if there {
                -1
            } else {
                -2
            });
        }
        changed
    })?;
    match updated {
        None => fields.for_each(|_| reply.integer(-2)),
        Some(updated) => tell(ctx, key, &[(updated.result, Event::HPersist)], false),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check_new;

    #[test]
    fn fields_live_and_die() {
        check_new(
            "
            > HSET h a 1 b 2 c 3
            :3
            > HTTL h FIELDS 2 a x
            [:-1, :-2]
            > HPEXPIRE h 100 FIELDS 2 a x
            [:1, :-2]
            > HPTTL h FIELDS 1 a
            [:100]
            > HTTL h FIELDS 1 a
            [:1]
            > HPEXPIREAT h 1700000000423 FIELDS 1 b
            [:1]
            > HPEXPIRETIME h FIELDS 2 a b
            [:1700000000223, :1700000000423]
            > HEXPIRETIME h FIELDS 1 a
            [:1700000001]
            @ later 100
            > HGET h a
            $1
            @ later 1
            > HGET h a
            nil
            > HMGET h a b
            [nil, $2]
            > HEXISTS h a
            :0
            > HLEN h
            :2
            > HTTL h FIELDS 1 a
            [:-2]
            > HPERSIST h FIELDS 3 a b c
            [:-2, :1, :-1]
            > HEXPIRE h 10 FIELDS 1 c
            [:1]
            > HSET h c 4
            :0
            > HTTL h FIELDS 1 c
            [:-1]
            > HEXPIRE h 10 FIELDS 1 c
            [:1]
            > HINCRBY h c 1
            :5
            > HTTL h FIELDS 1 c
            [:10]
            > HPEXPIRE h 1 FIELDS 2 b c
            [:1, :1]
            @ later 2
            > HGETALL h
            []
            > EXISTS h
            :0
            ",
        );
    }

    #[test]
    fn conditions() {
        check_new(
            "
            > HSET h a 1 b 2
            :2
            > HEXPIRE h 100 XX FIELDS 1 a
            [:0]
            > HEXPIRE h 100 GT FIELDS 1 a
            [:0]
            > HEXPIRE h 100 NX FIELDS 1 a
            [:1]
            > HEXPIRE h 100 nx FIELDS 2 a b
            [:0, :1]
            > HEXPIRE h 50 GT FIELDS 1 a
            [:0]
            > HEXPIRE h 200 GT FIELDS 1 a
            [:1]
            > HEXPIRE h 300 LT FIELDS 1 a
            [:0]
            > HEXPIRE h 20 LT FIELDS 1 a
            [:1]
            > HEXPIRE h 30 XX FIELDS 1 a
            [:1]
            > HEXPIRE h 0 FIELDS 1 a
            [:2]
            > HEXPIREAT h 1 FIELDS 1 b
            [:2]
            > EXISTS h
            :0
            ",
        );
    }

    #[test]
    fn refusals() {
        check_new(
            "
            > HEXPIRE missing 10 FIELDS 2 a b
            [:-2, :-2]
            > HTTL missing FIELDS 1 a
            [:-2]
            > HPERSIST missing FIELDS 1 a
            [:-2]
            > HSET h a 1
            :1
            > HEXPIRE h 10 FIELDS 2 a
            -ERR wrong number of arguments
            > HEXPIRE h 10 FIELDS 0 a
            -ERR Parameter `numFields` should be greater than 0
            > HEXPIRE h 10 NX a 1 b
            -ERR unknown argument: a
            > HEXPIRE h x FIELDS 1 a
            -ERR value is not an integer or out of range
            > HEXPIRE h -1 FIELDS 1 a
            -ERR invalid expire time, must be >= 0
            > HEXPIRE h 99999999999999 FIELDS 1 a
            -ERR invalid expire time in 'hexpire' command
            > HTTL h FIELDS x a
            -ERR Number of fields must be a positive integer
            > HPERSIST h FIELDS 2 a
            -ERR The `numfields` parameter must match the number of arguments
            > SET text v
            +OK
            > HEXPIRE text x FIELDS 1 a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HTTL text FIELDS 1 a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > HGETDEL text FIELDS 1 a
            -WRONGTYPE Operation against a key holding the wrong kind of value
            ",
        );
    }
}
