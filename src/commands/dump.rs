//! DUMP and RESTORE: single values in the form of Redis' files.

use crate::base::UnixMillis;
use crate::command_table::{
    Access, Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Handler, KeySpec,
};
use crate::keyspace::Detached;
use crate::persistence::rdb::WriteOptions;
use crate::persistence::rdb::payload::{self, Refusal};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&DUMP, &RESTORE];

/// The LRU clock has 24 bits.
const CLOCK_MASK: u32 = (1 << 24) - 1;

const DUMP: CommandSpec = CommandSpec {
    name: "DUMP",
    full_name: "dump",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "2.6.0",
    complexity: "O(1) to find the key, O(N*M) for its N elements of M bytes on average.",
    summary: "Returns a value in the form of Redis' files.",
    args: &[Arg::key("key")],
    tips: &["nondeterministic_output"],
    handler: Handler::Shard(dump),
    ..DEFAULTS
};

const RESTORE: CommandSpec = CommandSpec {
    name: "RESTORE",
    full_name: "restore",
    arity: Arity::AtLeast(4),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    categories: &[Category::Dangerous],
    keys: &[KeySpec::at(1, Access::Overwrite, &["update"])],
    since: "2.6.0",
    complexity: "O(1) to create the key, O(N*M) for N elements of M bytes on average, O(N*M*log(N)) for sorted sets.",
    summary: "Creates a key from what DUMP has returned.",
    args: &[
        Arg::key("key"),
        Arg::integer("ttl"),
        Arg::string("serialized-value"),
        Arg::token("replace", "REPLACE").optional().since("3.0.0"),
        Arg::token("absttl", "ABSTTL").optional().since("5.0.0"),
        Arg::integer("seconds").after("IDLETIME").optional().since("5.0.0"),
        Arg::integer("frequency").after("FREQ").optional().since("5.0.0"),
    ],
    handler: Handler::Shard(restore),
    ..DEFAULTS
};

fn dump(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let options = WriteOptions { compress: ctx.shard.options.compress };
    ctx.expire_fields(key);
    match ctx.read(key) {
        Some(entry) => reply.bulk(&payload::dump(entry.value(), &options)),
        None => reply.null(),
    }
    Ok(())
}

fn restore(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (key, ttl, payload) = (args.bytes()?, args.bytes()?, args.bytes()?);
    let said = args;
    let options = Options::of(&mut args)?;
    if !options.replace && ctx.write(key).is_some() {
        return Err(CommandError::Text("BUSYKEY Target key name already exists."));
    }
    let ttl = crate::base::number::parse_i64(ttl).ok_or(CommandError::NotAnInteger)?;
    let ttl = u64::try_from(ttl).map_err(|_| CommandError::Text("ERR Invalid TTL value, must be >= 0"))?;
    let shard = &ctx.shard.options;
    let value =
        payload::restore(payload, &shard.encoding, shard.verify_dumps).map_err(|refusal| match refusal {
            Refusal::Footer => CommandError::Text("ERR DUMP payload version or checksum are wrong"),
            Refusal::Damaged(_) => CommandError::Text("ERR Bad data format"),
        })?;

    let deadline = match ttl {
        0 => None,
        _ if options.absolute => Some(UnixMillis(ttl)),
        _ => Some(UnixMillis(ctx.now.0.saturating_add(ttl))),
    };
    let replaced = options.replace && ctx.remove(key, ctx.shard.options.lazy_server_del);
    if deadline.is_some_and(|deadline| deadline <= ctx.now) {
        // It would be gone at once; that the old value is gone is all there is to tell.
        if replaced {
            ctx.modified(key, Event::Del);
            ctx.propagate_deletion(key, ctx.shard.options.lazy_server_del);
        }
        reply.ok();
        return Ok(());
    }
    let access = options.access(ctx);
    ctx.put(key, Detached { value, deadline, access });
    ctx.modified(key, Event::Restore);
    if let (Some(deadline), false) = (deadline, options.absolute) {
        let mut digits = itoa::Buffer::new();
        let head = [b"RESTORE", key, digits.format(deadline.0).as_bytes(), payload];
        ctx.propagate(&head.into_iter().chain(said).chain([&b"ABSTTL"[..]]).collect::<Vec<&[u8]>>());
    }
    reply.ok();
    Ok(())
}

#[derive(Default)]
struct Options {
    replace: bool,
    /// The time to live is a time, Unix in milliseconds.
    absolute: bool,
    idle_s: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn of(args: &mut Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        while args.remaining() > 0 {
            // An option that lacks its value is not that option.
            let has_value = args.remaining() > 1;
            if args.option("REPLACE") {
                options.replace = true;
            } else if args.option("ABSTTL") {
                options.absolute = true;
            } else if has_value && options.frequency.is_none() && args.option("IDLETIME") {
                const INVALID: CommandError = CommandError::Text("ERR Invalid IDLETIME value, must be >= 0");
                options.idle_s = Some(args.integer_in(0, i64::MAX, INVALID)? as u64);
            } else if has_value && options.idle_s.is_none() && args.option("FREQ") {
                const INVALID: CommandError =
                    CommandError::Text("ERR Invalid FREQ value, must be >= 0 and <= 255");
                options.frequency = Some(args.integer_in(0, 255, INVALID)? as u8);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// The access data of the new key. Which of the two options counts is up to the policy.
    fn access(&self, ctx: &Context<'_>) -> u32 {
        let clock = ctx.shard.access_clock;
        match (ctx.shard.options.lfu, self.idle_s, self.frequency) {
            // The upper bits are the minute in which the counter was last looked at.
            (true, _, Some(frequency)) => ((ctx.now.0 / 60_000) as u32 & 0xffff) << 8 | u32::from(frequency),
            (false, Some(idle), _) => clock.wrapping_sub(idle.min(CLOCK_MASK.into()) as u32) & CLOCK_MASK,
            _ => clock,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{check, check_new};

    #[test]
    fn dump_and_restore() {
        check(
            r#"
            > DUMP missing
            nil
            > SET s text
            +OK
            > DUMP s
            $\x00\x04text\n\x00|\xf3&m\xca\xb5\xa51
            > RESTORE s 0 x
            -BUSYKEY Target key name already exists.
            > RESTORE t 0 "\x00\x04text\x0a\x00|\xf3&m\xca\xb5\xa51"
            +OK
            > GET t
            $text
            > TTL t
            :-1
            > RPUSH l a 1
            :2
            > DUMP l
            $\x12\x01\x02\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x01\x01\xff\n\x00\x94\x96+#\xac\x17\xaa\x85
            > RESTORE t 0 "\x12\x01\x02\x0c\x0c\x00\x00\x00\x02\x00\x81a\x02\x01\x01\xff\x0a\x00\x94\x96+#\xac\x17\xaa\x85" REPLACE
            +OK
            > LRANGE t 0 -1
            [$a, $1]
            > SADD i 1 2
            :2
            > DUMP i
            $\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x02\x00\n\x00oy8\xb14\xeb .
            > HSET h f v
            :1
            > DUMP h
            $\x10\r\r\x00\x00\x00\x02\x00\x81f\x02\x81v\x02\xff\n\x00 \xf1=D#T\x08\x9d
            > RESTORE g 0 "\x10\x0d\x0d\x00\x00\x00\x02\x00\x81f\x02\x81v\x02\xff\x0a\x00 \xf1=D#T\x08\x9d"
            +OK
            > HGETALL g
            [$f, $v]
            > DUMP
            -ERR wrong number of arguments for 'dump' command
            > RESTORE a 0
            -ERR wrong number of arguments for 'restore' command
            "#,
        );
    }

    #[test]
    fn options_in_the_order_in_which_they_are_looked_at() {
        check(
            r"
            > SET s text
            +OK
            > RESTORE s x x
            -BUSYKEY Target key name already exists.
            > RESTORE s x x FOO
            -ERR syntax error
            > RESTORE n x x
            -ERR value is not an integer or out of range
            > RESTORE n -1 x
            -ERR Invalid TTL value, must be >= 0
            > RESTORE n 0 x FOO
            -ERR syntax error
            > RESTORE n 0 x IDLETIME
            -ERR syntax error
            > RESTORE n 0 x IDLETIME x
            -ERR value is not an integer or out of range
            > RESTORE n 0 x IDLETIME -1
            -ERR Invalid IDLETIME value, must be >= 0
            > RESTORE n 0 x FREQ 256
            -ERR Invalid FREQ value, must be >= 0 and <= 255
            > RESTORE n 0 x FREQ 1 IDLETIME 1
            -ERR syntax error
            > RESTORE n 0 x IDLETIME 1 FREQ 1
            -ERR syntax error
            > RESTORE n 0 x IDLETIME 1 IDLETIME 2
            -ERR DUMP payload version or checksum are wrong
            > RESTORE n 0 x replace absttl
            -ERR DUMP payload version or checksum are wrong
            > RESTORE s 0 x REPLACE
            -ERR DUMP payload version or checksum are wrong
            > GET s
            $text
            ",
        );
    }

    #[test]
    fn deadlines_and_access() {
        check(
            r#"
            > RESTORE t 10000 "\x00\x04text\x0a\x00|\xf3&m\xca\xb5\xa51"
            +OK
            > PTTL t
            ~:10000
            > RESTORE t 1 "\x00\x04text\x0a\x00|\xf3&m\xca\xb5\xa51" ABSTTL REPLACE
            +OK
            > EXISTS t
            :0
            > RESTORE t 2569591501000 "\x00\x04text\x0a\x00|\xf3&m\xca\xb5\xa51" ABSTTL
            +OK
            > PEXPIRETIME t
            :2569591501000
            > RESTORE t 0 "\x00\x04text\x0a\x00|\xf3&m\xca\xb5\xa51" IDLETIME 1000 REPLACE
            +OK
            > OBJECT IDLETIME t
            :1000
            > PTTL t
            :-1
            > RESTORE t 0 "\x00\x04text\x0a\x00|\xf3&m\xca\xb5\xa51" FREQ 100 REPLACE
            +OK
            > OBJECT IDLETIME t
            :0
            "#,
        );
    }

    /// Cut, spoilt, of a version to come, with something behind it; and values that are not what they say.
    #[test]
    fn payloads_that_are_refused() {
        check_new(
            r#"
            > RESTORE t 0 ""
            -ERR DUMP payload version or checksum are wrong
            > RESTORE t 0 "\x00\x04tex\x0a\x00|\xf3&m\xca\xb5\xa51"
            -ERR DUMP payload version or checksum are wrong
            > RESTORE t 0 "\x00\x04Text\x0a\x00|\xf3&m\xca\xb5\xa51"
            -ERR DUMP payload version or checksum are wrong
            > DEBUG SET-SKIP-CHECKSUM-VALIDATION 1
            +OK
            > RESTORE t 0 "\x00\x04Text\x0a\x00|\xf3&m\xca\xb5\xa51"
            +OK
            > GET t
            $Text
            > RESTORE n 0 "\x00\x04text\x0e\x00|\xf3&m\xca\xb5\xa51"
            -ERR DUMP payload version or checksum are wrong
            > RESTORE n 0 "\x00\x05text\x0a\x00|\xf3&m\xca\xb5\xa51"
            -ERR Bad data format
            > RESTORE n 0 "\x00\x03text\x0a\x00|\xf3&m\xca\xb5\xa51"
            -ERR Bad data format
            > RESTORE n 0 "\x01\x00\x0a\x00|\xf3&m\xca\xb5\xa51"
            -ERR Bad data format
            > EXISTS n
            :0
            "#,
        );
    }

    /// What redis-server 7.0 cannot read is written as 7.4 does, and comes back with its deadlines.
    #[test]
    fn field_deadlines() {
        check_new(
            r#"
            > HSET h a 1 b 2
            :2
            > HPEXPIREAT h 1800000000000 FIELDS 1 a
            [:1]
            > DUMP h
            $\x18\x00P\\\x18\xa3\x01\x00\x00\x02\x01\x01a\xc0\x01\x00\x01b\xc0\x02\x0c\x00\x89\xb4\xe2\x1bB?X\xd4
            > RESTORE g 0 "\x18\x00P\x5c\x18\xa3\x01\x00\x00\x02\x01\x01a\xc0\x01\x00\x01b\xc0\x02\x0c\x00\x89\xb4\xe2\x1bB?X\xd4"
            +OK
            > HPEXPIRETIME g FIELDS 2 a b
            [:1800000000000, :-1]
            "#,
        );
    }
}
