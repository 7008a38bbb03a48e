//! Deadlines of single fields: HEXPIRE, HTTL and their kin as in Redis 7.4, HGETEX, HSETEX and HGETDEL as in 8.0.

use super::hash::write_value;
use crate::base::UnixMillis;
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event, Updated};
use crate::types::{EncodingLimits, Hash};

pub(super) const COMMANDS: &[&CommandSpec] = &[
    &HEXPIRE,
    &HPEXPIRE,
    &HEXPIREAT,
    &HPEXPIREAT,
    &HTTL,
    &HPTTL,
    &HEXPIRETIME,
    &HPEXPIRETIME,
    &HPERSIST,
    &HGETEX,
    &HSETEX,
    &HGETDEL,
];

/// Redis keeps deadlines of fields in 46 bits.
const DEADLINE_MAX: i64 = 0x0000_ffff_ffff_ffff >> 2;

const MISSING_FIELDS: CommandError =
    CommandError::Text("ERR Mandatory argument FIELDS is missing or not at the right position");
const WRONG_NUMBER: CommandError =
    CommandError::Text("ERR The `numfields` parameter must match the number of arguments");

const FIELDS: Arg =
    Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()]).after("FIELDS");

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
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets the remaining life of fields in milliseconds.",
    args: &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION, FIELDS],
    handler: Handler::Shard(hpexpire),
    ..DEFAULTS
};

const HEXPIREAT: CommandSpec = CommandSpec {
    name: "HEXPIREAT",
    full_name: "hexpireat",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets the deadline of fields as a Unix time in seconds.",
    args: &[Arg::key("key"), Arg::new("unix-time-seconds", Kind::UnixTime), CONDITION, FIELDS],
    handler: Handler::Shard(hexpireat),
    ..DEFAULTS
};

const HPEXPIREAT: CommandSpec = CommandSpec {
    name: "HPEXPIREAT",
    full_name: "hpexpireat",
    arity: Arity::AtLeast(6),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Update, &["update"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Sets the deadline of fields as a Unix time in milliseconds.",
    args: &[Arg::key("key"), Arg::new("unix-time-milliseconds", Kind::UnixTime), CONDITION, FIELDS],
    handler: Handler::Shard(hpexpireat),
    ..DEFAULTS
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

/// How a time is given: from now on or since 1970, in units of so many milliseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Time {
    After(i64),
    At(i64),
}

impl Time {
    fn parse(self, text: &[u8], now: UnixMillis, command: &'static str) -> Result<UnixMillis, CommandError> {
        let amount = parse_i64(text).ok_or(CommandError::NotAnInteger)?;
        if amount < 0 {
            return Err(CommandError::Text("ERR invalid expire time, must be >= 0"));
        }
        let (unit, base) = match self {
            Self::After(unit) => (unit, now.0 as i64),
            Self::At(unit) => (unit, 0),
        };
        let deadline = amount.checked_mul(unit).and_then(|millis| millis.checked_add(base));
        match deadline {
            Some(deadline) if deadline <= DEADLINE_MAX => Ok(UnixMillis(deadline as u64)),
            _ => Err(CommandError::InvalidExpire(command)),
        }
    }
}

/// Which present deadlines may be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Condition {
    Always,
    Absent,
    Present,
    Greater,
    Less,
}

impl Condition {
    fn parse(args: &mut Args<'_>) -> Self {
        let conditions =
            [("NX", Self::Absent), ("XX", Self::Present), ("GT", Self::Greater), ("LT", Self::Less)];
        conditions
            .into_iter()
            .find(|(name, _)| args.option(name))
            .map_or(Self::Always, |(_, condition)| condition)
    }

    /// No deadline counts as an infinite one.
    fn allows(self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => old.is_none(),
            Self::Present => old.is_some(),
            Self::Greater => old.is_some_and(|old| new > old),
            Self::Less => old.is_none_or(|old| new < old),
        }
    }
}

/// `FIELDS numfields field …` to the end.
fn fields<'a>(args: &mut Args<'a>, bad_number: &'static str) -> Result<Args<'a>, CommandError> {
    if !args.option("FIELDS") {
        return Err(MISSING_FIELDS);
    }
    let number = args.next().and_then(parse_i64).filter(|number| *number > 0);
    let number = number.ok_or(CommandError::Text(bad_number))?;
    if number != args.remaining() as i64 {
        return Err(WRONG_NUMBER);
    }
    Ok(*args)
}

const NOT_GREATER: &str = "ERR Parameter `numFields` should be greater than 0";
const NOT_POSITIVE: &str = "ERR Number of fields must be a positive integer";

/// What became of a field, as the replies tell it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    NoField = -2,
    NotAllowed = 0,
    Set = 1,
    /// The deadline is over already.
    Deleted = 2,
}

fn set_deadline(
    hash: &mut Hash,
    field: &[u8],
    deadline: UnixMillis,
    condition: Condition,
    now: UnixMillis,
    limits: &EncodingLimits,
) -> Outcome {
    if !hash.at(now).contains(field) {
        Outcome::NoField
    } else if !condition.allows(hash.deadline(field), deadline) {
        Outcome::NotAllowed
    } else if deadline <= now {
        hash.remove(field);
        Outcome::Deleted
    } else {
        hash.set_deadline(field, deadline, limits);
        Outcome::Set
    }
}

/// Tells what happened to a hash, and that it is gone if it is.
fn tell(ctx: &mut Context<'_>, key: &[u8], events: &[(bool, Event)], emptied: bool) {
    let mut happened = events.iter().filter(|(happened, _)| *happened).map(|(_, event)| *event);
    if let Some(first) = happened.next() {
        ctx.modified(key, first);
    }
    happened.for_each(|event| ctx.announce(key, event));
    if emptied {
        ctx.announce(key, Event::Del);
    }
}

/// Fields that something has happened to, for the journal.
#[derive(Default)]
struct Happened<'a> {
    set: Vec<&'a [u8]>,
    deleted: Vec<&'a [u8]>,
    persisted: Vec<&'a [u8]>,
}

impl<'a> Happened<'a> {
    fn note(&mut self, outcome: Outcome, field: &'a [u8]) {
        match outcome {
            Outcome::Set => self.set.push(field),
            Outcome::Deleted => self.deleted.push(field),
            Outcome::NoField | Outcome::NotAllowed => {}
        }
    }

    /// Tells what has happened, and journals it, deadlines as times.
    fn tell(self, ctx: &mut Context<'_>, key: &[u8], deadline: Option<UnixMillis>, emptied: bool) {
        let Self { set, deleted, persisted } = self;
        let events = [
            (!set.is_empty(), Event::HExpire),
            (!deleted.is_empty(), Event::HDel),
            (!persisted.is_empty(), Event::HPersist),
        ];
        tell(ctx, key, &events, emptied);
        if !ctx.journals() {
            return;
        }
        let (mut digits, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
        if let (false, Some(deadline)) = (set.is_empty(), deadline) {
            let at = digits.format(deadline.0).as_bytes();
            let head = [b"HPEXPIREAT", key, at, b"FIELDS", number.format(set.len()).as_bytes()];
            ctx.propagate(&head.into_iter().chain(set).collect::<Vec<&[u8]>>());
        }
        if !deleted.is_empty() {
            ctx.propagate(&[b"HDEL", key].into_iter().chain(deleted).collect::<Vec<&[u8]>>());
        }
        if !persisted.is_empty() {
            let head = [b"HPERSIST", key, b"FIELDS", number.format(persisted.len()).as_bytes()];
            ctx.propagate(&head.into_iter().chain(persisted).collect::<Vec<&[u8]>>());
        }
    }
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
    let condition = Condition::parse(&mut args);
    let fields = fields(&mut args, NOT_GREATER)?;
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
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the remaining life of fields in milliseconds.",
    args: &[Arg::key("key"), FIELDS],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(hpttl),
    ..DEFAULTS
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
    arity: Arity::AtLeast(5),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Hash,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "7.4.0",
    complexity: "O(N) where N is the number of fields given.",
    summary: "Returns the deadline of fields as a Unix time in milliseconds.",
    args: &[Arg::key("key"), FIELDS],
    handler: Handler::Shard(hpexpiretime),
    ..DEFAULTS
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

/// The options that name a deadline.
const TIMES: [(&str, Time); 4] =
    [("EX", Time::After(1000)), ("PX", Time::After(1)), ("EXAT", Time::At(1000)), ("PXAT", Time::At(1))];

fn hgetex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    ctx.update_hash(key, false, |_, _| ())?;
    let now = ctx.now;
    let mut deadline = None;
    let mut persist = false;
    if let Some((_, time)) = TIMES.into_iter().find(|(name, _)| args.option(name)) {
        deadline = Some(time.parse(args.bytes()?, now, "hgetex")?);
    } else {
        persist = args.option("PERSIST");
    }
    let fields = fields(&mut args, NOT_POSITIVE)?;
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

/// What HSETEX says before the fields.
#[derive(Default)]
struct SetOptions {
    /// None of the fields may exist, or all must.
    absent: bool,
    present: bool,
    keep: bool,
    deadline: Option<UnixMillis>,
}

impl SetOptions {
    /// Leaves the fields and values in `args`.
    fn parse(args: &mut Args<'_>, now: UnixMillis) -> Result<Self, CommandError> {
        const ONE_CONDITION: CommandError =
            CommandError::Text("ERR Only one of FXX or FNX arguments can be specified");
        const ONE_TIME: CommandError =
            CommandError::Text("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
        let mut options = Self::default();
        loop {
            if args.option("FIELDS") {
                return Self::end(args).map(|()| options);
            }
            let has_time = options.keep || options.deadline.is_some();
            if let Some((_, time)) = TIMES.into_iter().find(|(name, _)| args.option(name)) {
                if has_time {
                    return Err(ONE_TIME);
                }
                let text = args.next().ok_or(CommandError::Text("ERR missing expire time"))?;
                options.deadline = Some(time.parse(text, now, "hsetex")?);
            } else if args.option("KEEPTTL") {
                if has_time {
                    return Err(ONE_TIME);
                }
                options.keep = true;
            } else {
                let (absent, present) = (args.option("FNX"), args.option("FXX"));
                if !absent && !present {
                    return Err(match args.next() {
                        Some(other) => {
                            let other = String::from_utf8_lossy(other).into_owned();
                            CommandError::built(format!("ERR unknown argument: {other}"))
                        }
                        None => MISSING_FIELDS,
                    });
                }
                if absent && present || options.absent || options.present {
                    return Err(ONE_CONDITION);
                }
                (options.absent, options.present) = (absent, present);
            }
        }
    }

    fn end(args: &mut Args<'_>) -> CommandResult {
        if args.remaining() < 3 {
            return Err(CommandError::WrongArity("hsetex"));
        }
        let number =
            args.next().and_then(parse_i64).filter(|number| (1..=i64::from(i32::MAX)).contains(number));
        let number = number.ok_or(CommandError::Text("ERR invalid number of fields"))?;
        if args.remaining() as i64 != number * 2 {
            return Err(CommandError::WrongArity("hsetex"));
        }
        Ok(())
    }
}

fn hsetex(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let now = ctx.now;
    let options = SetOptions::parse(&mut args, now)?;
    let pairs = args;
    let updated = ctx.update_hash(key, !options.present, |hash, limits| {
        let mut names = args.step_by(2);
        let refused = options.absent && names.any(|field| hash.at(now).contains(field))
            || options.present && !names.all(|field| hash.at(now).contains(field));
        if !refused {
            while let (Some(field), Some(value)) = (args.next(), args.next()) {
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

fn propagate_pairs(ctx: &mut Context<'_>, key: &[u8], options: &SetOptions, over: bool, pairs: Args<'_>) {
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
            -ERR The `numfields` parameter must match the number of arguments
            > HEXPIRE h 10 FIELDS 0 a
            -ERR Parameter `numFields` should be greater than 0
            > HEXPIRE h 10 NX a 1 b
            -ERR Mandatory argument FIELDS is missing or not at the right position
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
            -ERR wrong number of arguments for 'hsetex' command
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
