//! LCS: the longest common subsequence of two strings.
//!
//! The table of lengths has `(a + 1) * (b + 1)` cells, `cell(i, j)` being the length for the first `i` bytes of
//! `a` and the first `j` of `b`. Where only the length is asked for, two rows of it are enough.

use super::hops::result;
use crate::command_table::{
    Access, Arg, Args, Arity, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Group, Handler, HopWork,
    KeySpec, Plan, Step,
};
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::shard::{CommandError, CommandResult, Context};

pub(super) const COMMANDS: &[&CommandSpec] = &[&LCS];

const LCS: CommandSpec = CommandSpec {
    name: "LCS",
    full_name: "lcs",
    arity: Arity::AtLeast(3),
    flags: Flags::of(&[Flag::ReadOnly]),
    group: Group::String,
    keys: &[KeySpec::range(1, 1, 1, Access::Read, &["access"])],
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of the two strings.",
    summary: "Returns the longest common subsequence of two strings, its length, or where it lies in both.",
    args: &[
        Arg::key("key1"),
        Arg::key("key2"),
        Arg::token("len", "LEN").optional(),
        Arg::token("idx", "IDX").optional(),
        Arg::integer("len").after("MINMATCHLEN").optional(),
        Arg::token("withmatchlen", "WITHMATCHLEN").optional(),
    ],
    handler: Handler::Transaction { run: lcs, plan: plan_lcs },
    ..DEFAULTS
};

#[derive(Default)]
struct Options {
    length_only: bool,
    matches: bool,
    min_match: i64,
    with_match_length: bool,
}

impl Options {
    fn parse(mut args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        while args.remaining() > 0 {
            if args.option("IDX") {
                options.matches = true;
            } else if args.option("LEN") {
                options.length_only = true;
            } else if args.option("WITHMATCHLEN") {
                options.with_match_length = true;
            } else if args.option("MINMATCHLEN") {
                options.min_match = args.integer()?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.matches && options.length_only {
            const BOTH: &str = "ERR If you want both the length and indexes, please just use IDX.";
            return Err(CommandError::Text(BOTH));
        }
        Ok(options)
    }
}

/// The strings of both keys: an error about their types comes before one about the options.
type Strings = (Result<Vec<u8>, CommandError>, Result<Vec<u8>, CommandError>);

fn read(ctx: &mut Context<'_>, key: &[u8]) -> Result<Vec<u8>, CommandError> {
    let wrong = CommandError::Text("ERR The specified keys must contain string values");
    let string = ctx.read_string(key).map_err(|_| wrong)?;
    Ok(string.map_or_else(Vec::new, |string| string.to_vec()))
}

fn lcs(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let (first, second) = (args.bytes()?, args.bytes()?);
    let strings = (read(ctx, first), read(ctx, second));
    answer(strings, args, ctx.shard.options.string_bytes_max, reply)
}

fn answer(strings: Strings, args: Args<'_>, bytes_max: usize, reply: &mut Reply<'_>) -> CommandResult {
    let (a, b) = (strings.0?, strings.1?);
    let options = Options::parse(args)?;
    // The whole table, even where two rows would do: Redis refuses by this size.
    let bytes = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1).saturating_mul(4);
    if bytes > bytes_max as u64 {
        const TOO_LARGE: &str =
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
        return Err(CommandError::Text(TOO_LARGE));
    }
    if options.length_only {
        reply.length(length(&a, &b));
        return Ok(());
    }
    let table = Table::new(&a, &b);
    let matches = table.matches(&a, &b);
    if options.matches {
        write_matches(&matches, &options, table.cell(a.len(), b.len()) as usize, reply);
    } else {
        let common: Vec<u8> =
            matches.iter().rev().flat_map(|m| &a[m.in_a..m.in_a + m.length]).copied().collect();
        reply.bulk(&common);
    }
    Ok(())
}

fn write_matches(matches: &[Match], options: &Options, length: usize, reply: &mut Reply<'_>) {
    let shown = || matches.iter().filter(|found| found.length as i64 >= options.min_match);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(shown().count());
    for found in shown() {
        reply.array(if options.with_match_length { 3 } else { 2 });
        for start in [found.in_a, found.in_b] {
            reply.array(2);
            reply.length(start);
            reply.length(start + found.length - 1);
        }
        if options.with_match_length {
            reply.length(found.length);
        }
    }
    reply.bulk(b"len");
    reply.length(length);
}

/// Bytes that both strings share, at these places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Match {
    in_a: usize,
    in_b: usize,
    length: usize,
}

struct Table {
    cells: Vec<u32>,
    width: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Self {
        let width = b.len() + 1;
        let mut cells = vec![0; (a.len() + 1) * width];
        for (i, byte) in a.iter().enumerate() {
            let (above, row) = cells[i * width..(i + 2) * width].split_at_mut(width);
            fill_row(*byte, b, above, row);
        }
        Self { cells, width }
    }

    fn cell(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// The way back through the table, from the ends of both strings, as runs of common bytes.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let (mut i, mut j) = (a.len(), b.len());
        let mut matches: Vec<Match> = Vec::new();
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                match matches.last_mut() {
                    Some(run) if run.in_a == i + 1 && run.in_b == j + 1 => {
                        *run = Match { in_a: i, in_b: j, length: run.length + 1 };
                    }
                    _ => matches.push(Match { in_a: i, in_b: j, length: 1 }),
                }
            } else if self.cell(i - 1, j) > self.cell(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

fn fill_row(byte: u8, b: &[u8], above: &[u32], row: &mut [u32]) {
    for (j, other) in b.iter().enumerate() {
        row[j + 1] = if byte == *other { above[j] + 1 } else { above[j + 1].max(row[j]) };
    }
}

fn length(a: &[u8], b: &[u8]) -> usize {
    let (mut above, mut row) = (vec![0; b.len() + 1], vec![0; b.len() + 1]);
    for byte in a {
        fill_row(*byte, b, &above, &mut row);
        std::mem::swap(&mut above, &mut row);
    }
    above[b.len()] as usize
}

fn plan_lcs(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(ReadBoth { argv: argv.to_owned(), asked: false })
}

/// One hop reads both strings; the rest happens where they meet.
struct ReadBoth {
    argv: ArgvBuf,
    asked: bool,
}

impl Plan for ReadBoth {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        if !self.asked {
            self.asked = true;
            let hop = self.argv.as_argv().iter().skip(1).take(2).map(|key| {
                let owned: Box<[u8]> = key.into();
                HopWork::new(key, move |ctx| (read(ctx, &owned), ctx.shard.options.string_bytes_max))
            });
            return Step::Hop(hop.collect());
        }
        let mut strings = results.into_iter().map(result::<(Result<Vec<u8>, CommandError>, usize)>);
        let ((first, bytes_max), (second, _)) =
            strings.next().zip(strings.next()).expect("both keys were read");
        Step::Done(answer((first, second), Args::new(self.argv.as_argv(), 3), bytes_max, reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::testing::check;
    use proptest::prelude::*;

    proptest! {
        /// What is found is common to both, in order, and as long as the table says.
        #[test]
        fn the_matches_make_a_common_subsequence(a in "[abc]{0,24}", b in "[abc]{0,24}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            let table = Table::new(a, b);
            let matches = table.matches(a, b);
            let (mut end_a, mut end_b, mut total) = (a.len(), b.len(), 0);
            for found in &matches {
                prop_assert!(found.in_a + found.length <= end_a && found.in_b + found.length <= end_b);
                prop_assert_eq!(&a[found.in_a..][..found.length], &b[found.in_b..][..found.length]);
                (end_a, end_b, total) = (found.in_a, found.in_b, total + found.length);
            }
            prop_assert_eq!(total, table.cell(a.len(), b.len()) as usize);
            prop_assert_eq!(total, length(a, b));
        }

        /// Nothing longer exists, by trying all subsequences.
        #[test]
        fn nothing_is_longer(a in "[ab]{0,9}", b in "[ab]{0,9}") {
            let is_subsequence = |of: &[u8], text: &[u8]| {
                let mut rest = of.iter();
                text.iter().all(|byte| rest.any(|other| other == byte))
            };
            let longest = (0..1u32 << a.len())
                .map(|mask| (0..a.len()).filter(|i| mask >> i & 1 == 1).map(|i| a.as_bytes()[i]).collect())
                .filter(|picked: &Vec<u8>| is_subsequence(b.as_bytes(), picked))
                .map(|picked| picked.len())
                .max();
            prop_assert_eq!(Some(length(a.as_bytes(), b.as_bytes())), longest);
        }
    }

    #[test]
    fn lcs_as_redis_replies() {
        check(
            r#"
            > MSET a ohmytext b mynewtext e ""
            +OK
            > LCS a b
            $mytext
            > LCS a b LEN
            :6
            > LCS a b IDX
            [$matches, [[[:4, :7], [:5, :8]], [[:2, :3], [:0, :1]]], $len, :6]
            > LCS a b IDX MINMATCHLEN 4
            [$matches, [[[:4, :7], [:5, :8]]], $len, :6]
            > LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN
            [$matches, [[[:4, :7], [:5, :8], :4]], $len, :6]
            > LCS a b IDX WITHMATCHLEN
            [$matches, [[[:4, :7], [:5, :8], :4], [[:2, :3], [:0, :1], :2]], $len, :6]
            > LCS a b MINMATCHLEN 4
            $mytext
            > LCS a b IDX MINMATCHLEN -5
            [$matches, [[[:4, :7], [:5, :8]], [[:2, :3], [:0, :1]]], $len, :6]
            > LCS a b LEN WITHMATCHLEN
            :6
            > LCS a e
            $
            > LCS a missing
            $
            > LCS a missing LEN
            :0
            > LCS a missing IDX
            [$matches, [], $len, :0]
            > LCS missing missing IDX
            [$matches, [], $len, :0]
            > LCS a a IDX
            [$matches, [[[:0, :7], [:0, :7]]], $len, :8]
            > LCS b a IDX
            [$matches, [[[:5, :8], [:4, :7]], [[:0, :1], [:2, :3]]], $len, :6]
            > LCS a b LEN IDX
            -ERR If you want both the length and indexes, please just use IDX.
            > LCS a b LEN IDX FOO
            -ERR syntax error
            > LCS a b FOO
            -ERR syntax error
            > LCS a b MINMATCHLEN
            -ERR syntax error
            > LCS a b MINMATCHLEN abc
            -ERR value is not an integer or out of range
            > LCS a b MINMATCHLEN abc FOO
            -ERR value is not an integer or out of range
            > LCS a
            -ERR wrong number of arguments for 'lcs' command
            > SET n 123456
            +OK
            > SET m 2347
            +OK
            > LCS n m
            $234
            > LCS n m IDX
            [$matches, [[[:1, :3], [:0, :2]]], $len, :3]
            @ resp3
            > LCS a b IDX WITHMATCHLEN
            {$matches: [[[:4, :7], [:5, :8], :4], [[:2, :3], [:0, :1], :2]], $len: :6}
            "#,
        );
    }
}
