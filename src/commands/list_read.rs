//! Lists at one key: what only reads.

use super::list::{count, write_entry};
use crate::base::range;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, DEFAULTS, Flag, Flags, Group, Handler, KeySpec, Kind,
};
use crate::resp::Reply;
use crate::shard::{CommandError, CommandResult, Context};
use crate::types::List;
use crate::types::encoding::Entry;
use crate::types::encoding::quicklist::End;

pub(super) const COMMANDS: &[&CommandSpec] = &[&LLEN, &LRANGE, &LINDEX, &LPOS];

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
    list.for_each_of(range.start, End::Back, range.len(), |entry| write_entry(entry, reply));
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
    let shown =
        list.resolve(args.integer()?).and_then(|index| list.show(index, |entry| write_entry(entry, reply)));
    if shown.is_none() {
        reply.null();
    }
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

    match options.count {
        None => {
            let mut found = false;
            options.search(list, element, 1, |index| {
                reply.integer(index as i64);
                found = true;
            });
            if !found {
                reply.null();
            }
        }
        Some(count) => {
            let array = reply.deferred_array();
            let mut written = 0;
            options.search(list, element, if count == 0 { usize::MAX } else { count }, |index| {
                reply.integer(index as i64);
                written += 1;
            });
            reply.finish(array, written);
        }
    }
    Ok(())
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

    /// Tells the indices of up to `most` matches.
    fn search(&self, list: &List, element: &[u8], most: usize, mut tell: impl FnMut(usize)) {
        let needle = Entry::of(element);
        let last = list.len() - 1;
        let (first, towards) = if self.rank > 0 { (0, End::Back) } else { (last, End::Front) };
        let looked_at = if self.len_max == 0 { usize::MAX } else { self.len_max };
        // The smallest integer has no counterpart: C takes it for -1.
        let mut passed_over = self.rank.checked_abs().map_or(0, |rank| rank as usize - 1);
        let (mut place, mut left) = (0, most);
        list.visit(first, towards, |entry| {
            if entry == needle {
                if passed_over > 0 {
                    passed_over -= 1;
                } else {
                    tell(if self.rank > 0 { place } else { last - place });
                    left -= 1;
                }
            }
            place += 1;
            left > 0 && place < looked_at
        });
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
