//! Integers of any width within strings: BITFIELD, BITFIELD_RO.

use super::bitmap::{edit, parse_offset};
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::bitfield::{FieldType, Overflow};

pub(super) const COMMANDS: &[&CommandSpec] = &[&BITFIELD, &BITFIELD_RO];

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    field: FieldType,
    at: usize,
    action: Action,
    overflow: Overflow,
}

fn parse(mut args: Args<'_>, bytes_max: usize) -> Result<Vec<Operation>, CommandError> {
    let mut overflow = Overflow::Wrap;
    let mut operations = Vec::new();
    while args.remaining() > 0 {
        let (takes_value, make): (bool, fn(i64) -> Action) = if args.remaining() > 2 && args.option("GET") {
            (false, |_| Action::Get)
        } else if args.remaining() > 3 && args.option("SET") {
            (true, Action::Set)
        } else if args.remaining() > 3 && args.option("INCRBY") {
            (true, Action::Add)
        } else if args.remaining() > 1 && args.option("OVERFLOW") {
            overflow = if args.option("WRAP") {
                Overflow::Wrap
            } else if args.option("SAT") {
                Overflow::Saturate
            } else if args.option("FAIL") {
                Overflow::Fail
            } else {
                return Err(CommandError::Text("ERR Invalid OVERFLOW type specified"));
            };
            continue;
        } else {
            return Err(CommandError::Syntax);
        };
        let field = FieldType::parse(args.bytes()?).ok_or(CommandError::Text(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        ))?;
        let at = parse_offset(args.bytes()?, Some(field.bits), bytes_max)?;
        let value = if takes_value { args.integer()? } else { 0 };
        operations.push(Operation { field, at, action: make(value), overflow });
    }
    Ok(operations)
}

/// Does one operation; what it answers and whether it changed anything.
fn apply(bytes: &mut [u8], operation: Operation) -> (Option<i64>, bool) {
    let Operation { field, at, action, overflow } = operation;
    let old = field.read(bytes, at);
    let (new, answers_old) = match action {
        Action::Get => return (Some(old), false),
        Action::Set(value) => (field.add(value, 0, overflow), true),
        Action::Add(increment) => (field.add(old, increment, overflow), false),
    };
    let Some(new) = new else { return (None, false) };
    field.write(bytes, at, new);
    (Some(if answers_old { old } else { new }), new != old)
}

const BITFIELD: CommandSpec = CommandSpec {
    name: "BITFIELD",
    full_name: "bitfield",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(1, Access::Update, &["access", "update", "variable_flags"])],
    since: "3.2.0",
    complexity: "O(1) for each operation.",
    summary: "Reads and changes integers of any width within a string.",
    args: &[
        Arg::key("key"),
        Arg::one_of(
            "operation",
            &[
                Arg::block("encoding_offset", &[Arg::string("encoding"), Arg::integer("offset")])
                    .after("GET"),
                Arg::block(
                    "write",
                    &[
                        Arg::one_of(
                            "wrap_sat_fail",
                            &[
                                Arg::token("wrap", "WRAP"),
                                Arg::token("sat", "SAT"),
                                Arg::token("fail", "FAIL"),
                            ],
                        )
                        .after("OVERFLOW")
                        .optional(),
                        Arg::one_of(
                            "write_operation",
                            &[
                                Arg::block(
                                    "encoding_offset_value",
                                    &[Arg::string("encoding"), Arg::integer("offset"), Arg::integer("value")],
                                )
                                .after("SET"),
                                Arg::block(
                                    "encoding_offset_increment",
                                    &[
                                        Arg::string("encoding"),
                                        Arg::integer("offset"),
                                        Arg::integer("increment"),
                                    ],
                                )
                                .after("INCRBY"),
                            ],
                        ),
                    ],
                ),
            ],
        )
        .optional()
        .multiple(),
    ],
    handler: Handler::Shard(bitfield),
    ..DEFAULTS
};

fn bitfield(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let operations = parse(args, ctx.shard.options.string_bytes_max)?;
    let writes = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    let Some(end) = writes.map(|operation| operation.at + operation.field.bits as usize).max() else {
        return read(ctx, key, &operations, reply);
    };
    let (results, grown) = edit(ctx, key, (end - 1) / 8 + 1, |bytes| {
        operations.iter().map(|operation| apply(bytes, *operation)).collect::<Vec<_>>()
    })?;
    let changes = results.iter().filter(|(_, changed)| *changed).count();
    if grown || changes > 0 {
        ctx.modified(key, Event::SetBit);
    }
    reply.array(results.len());
    for (answer, _) in results {
        match answer {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    }
    Ok(())
}

const BITFIELD_RO: CommandSpec = CommandSpec {
    name: "BITFIELD_RO",
    full_name: "bitfield_ro",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    group: Group::Bitmap,
    keys: &[KeySpec::at(1, Access::Read, &["access"])],
    since: "6.0.0",
    complexity: "O(1) for each operation.",
    summary: "Reads integers of any width within a string.",
    args: &[
        Arg::key("key"),
        Arg::block("encoding_offset", &[Arg::string("encoding"), Arg::integer("offset")])
            .after("GET")
            .optional()
            .multiple()
            .multiple_token(),
    ],
    handler: Handler::Shard(bitfield_ro),
    ..DEFAULTS
};

fn bitfield_ro(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let key = args.bytes()?;
    let operations = parse(args, ctx.shard.options.string_bytes_max)?;
    if operations.iter().any(|operation| !matches!(operation.action, Action::Get)) {
        return Err(CommandError::Text("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read(ctx, key, &operations, reply)
}

fn read(ctx: &mut Context<'_>, key: &[u8], operations: &[Operation], reply: &mut Reply<'_>) -> CommandResult {
    let string = ctx.read_string(key)?;
    let mut digits = itoa::Buffer::new();
    let bytes = string.map_or(&b""[..], |string| string.as_bytes(&mut digits));
    reply.array(operations.len());
    operations.iter().for_each(|operation| reply.integer(operation.field.read(bytes, operation.at)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn fields() {
        check(
            r#"
            > BITFIELD k SET u8 0 255 GET u8 0 INCRBY u8 0 10
            [:0, :255, :9]
            > BITFIELD k OVERFLOW SAT INCRBY i8 #1 200 OVERFLOW FAIL INCRBY i8 #1 1 GET i8 #1
            [:127, nil, :127]
            > BITFIELD k OVERFLOW WRAP SET i4 3 100
            [:4]
            > BITFIELD k GET u64 0
            -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
            > BITFIELD k GET i64 0
            [:684265668383604736]
            > BITFIELD k SET u8 x 1
            -ERR bit offset is not an integer or out of range
            > BITFIELD k SET u8 0 x
            -ERR value is not an integer or out of range
            > BITFIELD k OVERFLOW MAYBE
            -ERR Invalid OVERFLOW type specified
            > BITFIELD k FOO
            -ERR syntax error
            > BITFIELD k
            []
            > BITFIELD_RO k GET u4 1 GET i4 1
            [:1, :1]
            > BITFIELD_RO k SET u4 1 1
            -ERR BITFIELD_RO only supports the GET subcommand
            > BITFIELD none GET u8 0
            [:0]
            > EXISTS none
            :0
            > STRLEN k
            :2
            "#,
        );
    }
}
