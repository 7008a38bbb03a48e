//! Values of fields and their deadlines in one command, as in Redis 8.0: HGETEX, HSETEX, HGETDEL.

use super::entry_reply::write_value;
use super::hash_deadline::{Condition, FIELDS, Happened, NOT_POSITIVE, fields, set_deadline, tell};
use super::hash_field_options::{Exchange, ExchangeOptions};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandResult, Context, Event, Updated};

pub(super) const COMMANDS: &[&CommandSpec] = &[&HGETEX, &HSETEX, &HGETDEL];

const GET_EXPIRATION: &[Arg] = &[
    Arg::integer("seconds").after("EX"),
    Arg::integer("milliseconds").after("PX"),
    Arg::new("unix-time-seconds", Kind::UnixTime).after("EXAT"),
    Arg::new("unix-time-milliseconds", Kind::UnixTime).after("PXAT"),
    Arg::token("persist", "PERSIST"),
];

const SET_EXPIRATION: &[Arg] = &[
    Arg::integer("seconds").after("EX"),
    Arg::integer("milliseconds").after("PX"),
    Arg::new("unix-time-seconds", Kind::UnixTime).after("EXAT"),
    Arg::new("unix-time-milliseconds", Kind::UnixTime).after("PXAT"),
    Arg::token("keepttl", "KEEPTTL"),
];

const HGETEX: CommandSpec = CommandSpec {
    name: "HGETEX",
    full_name: "hgetex",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update"])],
    since: "8.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the values of fields and sets or removes their deadlines.",
    args: &[Arg::key("key"), Arg::one_of("expiration", GET_EXPIRATION).optional(), FIELDS],
    handler: Handler::Shard(hgetex),
    ..DEFAULTS
};

fn hgetex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    ctx.update_hash(key, false, |_, _| ())?;
    let now = ctx.now;
    let (ExchangeOptions { deadline, persist, .. }, fields) =
        ExchangeOptions::parse(args, Exchange::Get, now)?;
    reply.array(fields.remaining());
    let updated = ctx.update_hash(key, false, |hash, limits| {
        let mut happened = Happened::default();
        for field in fields {
            write_value(reply, hash.get(field, now));
            if let Some(deadline) = deadline {
                happened.note(set_deadline(hash, field, deadline, Condition::Always, now, limits), field);
            } else if persist && hash.persist(field) {
                happened.persisted.push(field);
            }
        }
        happened
    })?;
    match updated {
        None => fields.for_each(|_| reply.null()),
        Some(Updated { result, emptied }) => result.tell(ctx, key, deadline, emptied),
    }
    Ok(())
}

const HSETEX: CommandSpec = CommandSpec {
    name: "HSETEX",
    full_name: "hsetex",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "8.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets fields, all or none, with one deadline for all of them.",
    args: &[
        Arg::key("key"),
        Arg::one_of("condition", &[Arg::token("fnx", "FNX"), Arg::token("fxx", "FXX")]).optional(),
        Arg::one_of("expiration", SET_EXPIRATION).optional(),
        Arg::block(
            "fields",
            &[
                Arg::integer("numfields"),
                Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
            ],
        )
        .after("FIELDS"),
    ],
    handler: Handler::Shard(hsetex),
    ..DEFAULTS
};

fn hsetex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let now = ctx.now;
    let (options, pairs) = ExchangeOptions::parse(args, Exchange::Set, now)?;
    let updated = ctx.update_hash(key, !options.present, |hash, limits| {
        let mut names = pairs.step_by(2);
        let refused = options.absent && names.any(|field| hash.at(now).contains(field))
            || options.present && !names.all(|field| hash.at(now).contains(field));
        if !refused {
            let mut rest = pairs;
            while let (Some(field), Some(value)) = (rest.next(), rest.next()) {
                let over = options.deadline.is_some_and(|deadline| deadline <= now);
                if over {
                    hash.remove(field);
                } else if options.keep {
                    hash.put(field, value, limits);
                } else {
                    hash.set(field, value, limits);
                }
                if let Some(deadline) = options.deadline
                    && !over
                {
                    hash.set_deadline(field, deadline, limits);
                }
            }
        }
        !refused
    })?;
    let Some(Updated { result: set, emptied }) = updated else {
        reply.integer(0);
        return Ok(());
    };
    if set {
        let over = options.deadline.map(|deadline| deadline <= now);
        let events =
            [(true, Event::HSet), (over == Some(false), Event::HExpire), (over == Some(true), Event::HDel)];
        tell(ctx, key, &events, emptied);
        propagate_pairs(ctx, key, &options, over == Some(true), pairs);
    }
    reply.integer(set.into());
    Ok(())
}

fn propagate_pairs(
    ctx: &mut Context<'_>,
    key: &[u8],
    options: &ExchangeOptions,
    over: bool,
    pairs: Args<'_>,
) {
    if !ctx.journals() {
        return;
    }
    if over {
        let fields = pairs.step_by(2);
        return ctx.propagate(&[b"HDEL", key].into_iter().chain(fields).collect::<Vec<&[u8]>>());
    }
    let (mut digits, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
    let mut argv: Vec<&[u8]> = match options.deadline {
        Some(deadline) => vec![b"HSETEX", key, b"PXAT", digits.format(deadline.0).as_bytes()],
        None if options.keep => vec![b"HSETEX", key, b"KEEPTTL"],
        None => vec![b"HSET", key],
    };
    if argv[0] == b"HSETEX" {
        argv.extend([&b"FIELDS"[..], number.format(pairs.remaining() / 2).as_bytes()]);
    }
    argv.extend(pairs);
    ctx.propagate(&argv);
}

const HGETDEL: CommandSpec = CommandSpec {
    name: "HGETDEL",
    full_name: "hgetdel",
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["access", "delete"])],
    since: "8.0.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the values of fields and removes them.",
    args: &[Arg::key("key"), FIELDS],
    handler: Handler::Shard(hgetdel),
    ..DEFAULTS
};

fn hgetdel(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    ctx.update_hash(key, false, |_, _| ())?;
    let fields = fields(&mut args, NOT_POSITIVE)?;
    let now = ctx.now;
    reply.array(fields.remaining());
    let updated = ctx.update_hash(key, false, |hash, _| {
        let mut happened = Happened::default();
        for field in fields {
            write_value(reply, hash.get(field, now));
            if hash.remove(field) {
                happened.deleted.push(field);
            }
        }
        happened
    })?;
    match updated {
        None => fields.for_each(|_| reply.null()),
        Some(Updated { result, emptied }) => result.tell(ctx, key, None, emptied),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check_new;

    #[test]
    fn get_and_set_with_deadlines() {
        check_new(
            "
            > HSETEX h EX 10 FIELDS 2 a 1 b 2
            :1
            > HTTL h FIELDS 2 a b
            [:10, :10]
            > HSETEX h FNX FIELDS 2 b 3 c 3
            :0
            > HSETEX h FXX FIELDS 2 b 3 c 3
            :0
            > HSETEX h FXX KEEPTTL FIELDS 2 a 4 b 3
            :1
            > HTTL h FIELDS 2 a b
            [:10, :10]
            > HSETEX h FIELDS 1 a 5
            :1
            > HTTL h FIELDS 2 a b
            [:-1, :10]
            > HSETEX missing FXX FIELDS 1 a 1
            :0
            > HSETEX h FXX FNX FIELDS 1 a 1
            -ERR Only one of FXX or FNX arguments can be specified
            > HSETEX h EX 1 KEEPTTL FIELDS 1 a 1
            -ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified
            > HSETEX h NX FIELDS 1 a 1
            -ERR unknown argument: NX
            > HSETEX h FIELDS 2 a 1 b
            -ERR wrong number of arguments
            > HSETEX h FIELDS 0 a 1
            -ERR invalid number of fields
            > HGETEX h EX 20 FIELDS 2 a x
            [$5, nil]
            > HTTL h FIELDS 1 a
            [:20]
            > HGETEX h PERSIST FIELDS 1 a
            [$5]
            > HTTL h FIELDS 1 a
            [:-1]
            > HGETEX h FIELDS 1 b
            [$3]
            > HGETEX missing FIELDS 2 a b
            [nil, nil]
            > HGETDEL h FIELDS 2 a x
            [$5, nil]
            > HSETEX h PXAT 1 FIELDS 1 b 1
            :1
            > EXISTS h
            :0
            > HGETDEL missing FIELDS 1 a
            [nil]
            ",
        );
    }
}
