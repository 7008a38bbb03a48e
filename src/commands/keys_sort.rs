//! SORT and SORT_RO: sort a list, set or sorted set, by themselves or by other keys.
//!
//! ```text
//! elements -> [keys of BY] -> sort, LIMIT -> [keys of GET] -> [STORE] -> reply
//! ```
//! Each arrow is a hop of a plan: what BY and GET look at lives anywhere. Where one shard holds everything the same
//! plan runs there, step by step.

use super::hops::result;
use crate::base::double;
use crate::base::number::parse_i64;
use crate::command_table::{
    Access, Arg, Args, Arity, Category, CommandSpec, Contribution, DEFAULTS, Flag, Flags, Handler, HopWork,
    KeySpec, Kind, Plan, Reach, Step,
};
use crate::keyspace::{Ttl, ValueRef};
use crate::resp::{Argv, ArgvBuf, Reply};
use crate::shard::{CommandError, CommandResult, Context, Event};
use crate::types::encoding::Entry;
use crate::types::encoding::quicklist::End;
use crate::types::{DataType, List, TypeName, Value};
use std::cmp::Ordering;
use std::ops::Range;

pub(super) const COMMANDS: &[&CommandSpec] = &[&SORT, &SORT_RO];

const SORT: CommandSpec = CommandSpec {
    name: "SORT",
    full_name: "sort",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write, Flag::DenyOom]),
    categories: CATEGORIES,
    keys: &[
        KeySpec::at(1, Access::Read, &["access"]),
        KeySpec::unknown(NOTE_PATTERNS, patterns_reach, Access::Read, &["access"]),
        KeySpec::unknown(NOTE_STORE, store_reach, Access::Overwrite, &["update"]),
    ],
    complexity: "O(N+M*log(M)) where N is the number of elements and M the number of those returned.",
    summary: "Sorts the elements of a list, set or sorted set, and returns or stores the result.",
    args: &[
        KEY,
        BY,
        LIMIT,
        GET,
        ORDER,
        ALPHA,
        Arg::new("destination", Kind::Key(2)).after("STORE").optional(),
    ],
    handler: Handler::Transaction { run: sort, plan: plan_sort },
    ..DEFAULTS
};

const SORT_RO: CommandSpec = CommandSpec {
    name: "SORT_RO",
    full_name: "sort_ro",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly]),
    keys: &[
        KeySpec::at(1, Access::Read, &["access"]),
        KeySpec::unknown(NOTE_PATTERNS, patterns_reach, Access::Read, &["access"]),
    ],
    since: "7.0.0",
    summary: "Sorts the elements of a list, set or sorted set, and returns the result.",
    args: &[KEY, BY, LIMIT, GET, ORDER, ALPHA],
    handler: Handler::Transaction { run: sort_ro, plan: plan_sort_ro },
    ..SORT
};

const CATEGORIES: &[Category] = &[Category::Set, Category::SortedSet, Category::List, Category::Dangerous];
const NOTE_PATTERNS: &str = "For the optional BY/GET keyword. It is marked 'unknown' because the key names \
                             derive from the content of the key we sort";
const NOTE_STORE: &str = "For the optional STORE keyword. It is marked 'unknown' because the keyword can \
                          appear anywhere in the argument array";

const KEY: Arg = Arg::key("key");
const BY: Arg = Arg::new("pattern", Kind::KeyPattern(1)).after("BY").optional();
const LIMIT: Arg =
    Arg::block("offset_count", &[Arg::integer("offset"), Arg::integer("count")]).after("LIMIT").optional();
const GET: Arg = Arg {
    multiple_token: true,
    ..Arg::new("pattern", Kind::KeyPattern(1)).after("GET").optional().multiple()
};
const ORDER: Arg = Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional();
const ALPHA: Arg = Arg::token("sorting", "ALPHA").optional();

/// Whether BY or GET names keys that depend on the elements.
fn patterns_reach(argv: Argv<'_>) -> Reach {
    match Request::parse(argv, true) {
        Ok(request) if request.looks_elsewhere() => Reach::Anywhere,
        _ => Reach::Nothing,
    }
}

/// The last STORE wins. A command with mistakes still has this key, as in Redis.
fn store_reach(argv: Argv<'_>) -> Reach {
    let mut reach = Reach::Nothing;
    let mut index = 2;
    while let Some(word) = argv.get(index) {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("LIMIT") {
            index += 2;
        } else if is("BY") || is("GET") {
            index += 1;
        } else if is("STORE") && index + 1 < argv.len() {
            reach = Reach::At(index + 1);
        }
        index += 1;
    }
    reach
}

/// What the arguments say.
struct Request<'a> {
    key: &'a [u8],
    order: Order<'a>,
    descending: bool,
    alpha: bool,
    /// First index and number; negative as given.
    limit: (i64, i64),
    gets: Vec<Pattern<'a>>,
    store: Option<&'a [u8]>,
}

#[derive(Clone, Copy)]
enum Order<'a> {
    /// BY a pattern without an asterisk: the elements stay as they come.
    AsIs,
    ByElement,
    ByKey(&'a [u8]),
}

#[derive(Clone, Copy)]
enum Pattern<'a> {
    /// `#`
    Element,
    /// Without an asterisk it names no key.
    Missing,
    Key(&'a [u8]),
}

impl<'a> Pattern<'a> {
    fn of(text: &'a [u8]) -> Self {
        if text == b"#" {
            Self::Element
        } else if text.contains(&b'*') {
            Self::Key(text)
        } else {
            Self::Missing
        }
    }
}

impl<'a> Request<'a> {
    fn parse(argv: Argv<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut args = Args::new(argv, 1);
        let mut request = Self {
            key: args.bytes()?,
            order: Order::ByElement,
            descending: false,
            alpha: false,
            limit: (0, -1),
            gets: Vec::new(),
            store: None,
        };
        while args.remaining() > 0 {
            let follow = args.remaining() - 1;
            if args.option("ASC") {
                request.descending = false;
            } else if args.option("DESC") {
                request.descending = true;
            } else if args.option("ALPHA") {
                request.alpha = true;
            } else if follow >= 2 && args.option("LIMIT") {
                let mut integer = || parse_i64(args.bytes()?).ok_or(CommandError::NotAnInteger);
                request.limit = (integer()?, integer()?);
            } else if follow >= 1 && may_store && args.option("STORE") {
                request.store = Some(args.bytes()?);
            } else if follow >= 1 && args.option("BY") {
                let pattern = args.bytes()?;
                request.order = if pattern.contains(&b'*') { Order::ByKey(pattern) } else { Order::AsIs };
            } else if follow >= 1 && args.option("GET") {
                request.gets.push(Pattern::of(args.bytes()?));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(request)
    }

    fn looks_elsewhere(&self) -> bool {
        matches!(self.order, Order::ByKey(_)) || self.gets.iter().any(|get| matches!(get, Pattern::Key(_)))
    }

    /// What LIMIT leaves of so many elements.
    fn range(&self, len: usize) -> Range<usize> {
        let len = len as i64;
        let start = self.limit.0.clamp(0, len);
        let end = if self.limit.1 < 0 { len } else { start.saturating_add(self.limit.1).min(len) };
        start as usize..end as usize
    }
}

/// A pattern with an element in the place of its asterisk: a key, and the field if the pattern goes on with `->`.
fn target(pattern: &[u8], element: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let asterisk =
        pattern.iter().position(|&byte| byte == b'*').expect("only patterns with one look elsewhere");
    let (prefix, rest) = (&pattern[..asterisk], &pattern[asterisk + 1..]);
    // An arrow at the very end belongs to the key.
    let arrow = rest.windows(2).position(|pair| pair == b"->").filter(|&at| at + 2 < rest.len());
    let (suffix, field) = match arrow {
        Some(at) => (&rest[..at], Some(rest[at + 2..].to_vec())),
        None => (rest, None),
    };
    ([prefix, element, suffix].concat(), field)
}

/// What a key holds that a pattern leads to; a key of another type is as good as missing.
fn fetch(ctx: &mut Context<'_>, key: &[u8], field: Option<&[u8]>) -> Option<Vec<u8>> {
    match field {
        Some(field) => ctx.read_hash(key).ok()??.get(field).map(Entry::to_vec),
        None => ctx.read_string(key).ok()?.map(|string| string.to_vec()),
    }
}

fn fetch_hop(pattern: &[u8], elements: &[Vec<u8>]) -> Vec<HopWork> {
    let fetch_for = |element: &Vec<u8>| {
        let (key, field) = target(pattern, element);
        HopWork::new(&key.clone(), move |ctx| fetch(ctx, &key, field.as_deref()))
    };
    elements.iter().map(fetch_for).collect()
}

struct Elements {
    texts: Vec<Vec<u8>>,
    is_set: bool,
}

/// The elements of a collection, in the order in which it has them.
fn elements(ctx: &mut Context<'_>, key: &[u8], reversed: bool) -> Result<Elements, CommandError> {
    let mut texts = Vec::new();
    let Some(entry) = ctx.read(key) else { return Ok(Elements { texts, is_set: false }) };
    let name = entry.type_name();
    match (name, entry.value()) {
        (TypeName::List, ValueRef::Boxed(Value::List(list))) => {
            list.for_each(|element| texts.push(element.to_vec()));
        }
        (TypeName::Set, ValueRef::Packed(packed)) => {
            packed.as_set().ok_or(CommandError::WrongType)?.for_each(|member| texts.push(member.to_vec()));
        }
        (TypeName::SortedSet, ValueRef::Boxed(Value::SortedSet(set))) => {
            set.each(|member, _| texts.push(member.to_vec()));
        }
        (TypeName::Set, ValueRef::Boxed(Value::Set(set))) => {
            set.as_ref().for_each(|member| texts.push(member.to_vec()));
        }
        _ => return Err(CommandError::WrongType),
    }
    // A set has no order to reverse.
    if reversed && name != TypeName::Set {
        texts.reverse();
    }
    Ok(Elements { texts, is_set: name == TypeName::Set })
}

/// An element with what it is compared by.
struct Weighed {
    element: Vec<u8>,
    number: f64,
    /// ALPHA with BY.
    text: Option<Vec<u8>>,
}

/// Sorts; `weights` are what BY found.
fn sort_elements(
    elements: Vec<Vec<u8>>,
    weights: Option<Vec<Option<Vec<u8>>>>,
    alpha: bool,
    descending: bool,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let by_key = weights.is_some();
    let mut weights = weights.into_iter().flatten();
    let weigh = |element: Vec<u8>| {
        let found = if by_key { weights.next().flatten() } else { None };
        let number = match (&found, by_key) {
            _ if alpha => 0.0,
            (Some(text), _) => number(text)?,
            // A missing weight is zero.
            (None, true) => 0.0,
            (None, false) => number(&element)?,
        };
        Ok(Weighed { element, number, text: found })
    };
    let mut weighed = elements.into_iter().map(weigh).collect::<Result<Vec<_>, CommandError>>()?;
    let ascending = |a: &Weighed, b: &Weighed| match (alpha, by_key) {
        (true, true) => a.text.cmp(&b.text),
        (true, false) => a.element.cmp(&b.element),
        // Equal numbers do not leave the order to chance.
        (false, _) => compare(a.number, b.number).then_with(|| a.element.cmp(&b.element)),
    };
    weighed.sort_by(|a, b| if descending { ascending(b, a) } else { ascending(a, b) });
    Ok(weighed.into_iter().map(|weighed| weighed.element).collect())
}

/// No number here is NaN, and both zeros are the same.
fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).expect("not NaN")
}

/// A weight, read as C reads it: leading spaces are skipped, nothing at all is zero.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let spaces = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let value = double::parse(&text[spaces..]).filter(|value| !value.is_nan());
    value.ok_or(CommandError::Text("ERR One or more scores can't be converted into double"))
}

fn sort(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run_here(ctx, SortPlan::new(args.argv(), true), reply)
}

fn sort_ro(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    run_here(ctx, SortPlan::new(args.argv(), false), reply)
}

fn plan_sort(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(SortPlan::new(argv, true))
}

fn plan_sort_ro(argv: Argv<'_>) -> Box<dyn Plan> {
    Box::new(SortPlan::new(argv, false))
}

/// All hops on one shard.
fn run_here(ctx: &mut Context<'_>, mut plan: SortPlan, reply: &mut Reply<'_>) -> CommandResult {
    let mut results = Vec::new();
    loop {
        match plan.step(results, reply) {
            Step::Hop(hop) => results = hop.into_iter().map(|work| (work.run)(ctx)).collect(),
            Step::Done(result) => return result,
        }
    }
}

struct SortPlan {
    argv: ArgvBuf,
    may_store: bool,
    stage: Stage,
    elements: Vec<Vec<u8>>,
}

/// `Elements -> Weigh -> Sort -> Output -> Stored`; stages without work for other shards follow at once.
enum Stage {
    Elements,
    Weigh,
    Sort,
    Output,
    Stored(usize),
}

type Fetched = Option<Vec<u8>>;

impl SortPlan {
    fn new(argv: Argv<'_>, may_store: bool) -> Self {
        Self { argv: argv.to_owned(), may_store, stage: Stage::Elements, elements: Vec::new() }
    }

    fn try_step(
        &mut self,
        results: Vec<Contribution>,
        reply: &mut Reply<'_>,
    ) -> Result<Option<Vec<HopWork>>, CommandError> {
        let argv = self.argv.clone();
        let request = Request::parse(argv.as_argv(), self.may_store)?;
        let as_is = matches!(request.order, Order::AsIs);
        match self.stage {
            Stage::Elements => {
                self.stage = Stage::Weigh;
                let key: Box<[u8]> = request.key.into();
                let reversed = as_is && request.descending;
                return Ok(Some(vec![HopWork::new(request.key, move |ctx| elements(ctx, &key, reversed))]));
            }
            Stage::Weigh => {
                let found = results.into_iter().next().map(result::<Result<Elements, CommandError>>);
                let Elements { texts, is_set } = found.expect("asked")?;
                self.elements = texts;
                self.stage = Stage::Sort;
                if let Order::ByKey(pattern) = request.order {
                    return Ok(Some(fetch_hop(pattern, &self.elements)));
                }
                // What is stored must not depend on the order of a set's table.
                let settled = as_is && is_set && request.store.is_some();
                if settled {
                    let elements = std::mem::take(&mut self.elements);
                    self.elements = sort_elements(elements, None, true, request.descending)?;
                }
                return self.sorted(Vec::new(), &request, reply);
            }
            Stage::Sort => {
                let weights = results.into_iter().map(result::<Fetched>).collect();
                return self.sorted(weights, &request, reply);
            }
            Stage::Output => {
                let fetched = results.into_iter().map(result::<Fetched>).collect();
                return Ok(self.output(fetched, &request, reply));
            }
            Stage::Stored(length) => reply.integer(length as i64),
        }
        Ok(None)
    }

    /// Sorts, cuts, and asks for what GET names.
    fn sorted(
        &mut self,
        weights: Vec<Fetched>,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<Option<Vec<HopWork>>, CommandError> {
        let mut elements = std::mem::take(&mut self.elements);
        if !matches!(request.order, Order::AsIs) {
            let weights = matches!(request.order, Order::ByKey(_)).then_some(weights);
            elements = sort_elements(elements, weights, request.alpha, request.descending)?;
        }
        let range = request.range(elements.len());
        elements.truncate(range.end);
        elements.drain(..range.start);
        self.elements = elements;
        self.stage = Stage::Output;
        let keys = request.gets.iter().filter_map(|get| match get {
            Pattern::Key(pattern) => Some(pattern),
            _ => None,
        });
        let hop: Vec<HopWork> = keys.flat_map(|pattern| fetch_hop(pattern, &self.elements)).collect();
        if hop.is_empty() { Ok(self.output(Vec::new(), request, reply)) } else { Ok(Some(hop)) }
    }

    /// `fetched` has what the keys of GET hold, pattern by pattern.
    fn output(
        &mut self,
        fetched: Vec<Fetched>,
        request: &Request<'_>,
        reply: &mut Reply<'_>,
    ) -> Option<Vec<HopWork>> {
        let elements = std::mem::take(&mut self.elements);
        let output = if request.gets.is_empty() {
            elements.into_iter().map(Some).collect()
        } else {
            interleave(&elements, fetched, &request.gets)
        };
        let Some(destination) = request.store else {
            reply.array(output.len());
            for value in output {
                match value {
                    Some(text) => reply.bulk(&text),
                    None => reply.null(),
                }
            }
            return None;
        };
        self.stage = Stage::Stored(output.len());
        let key: Box<[u8]> = destination.into();
        Some(vec![HopWork::new(destination, move |ctx| store(ctx, &key, &output))])
    }
}

/// One value per element and GET.
fn interleave(elements: &[Vec<u8>], mut fetched: Vec<Fetched>, gets: &[Pattern<'_>]) -> Vec<Fetched> {
    let mut output = Vec::with_capacity(elements.len() * gets.len());
    for (index, element) in elements.iter().enumerate() {
        let mut column = 0;
        for get in gets {
            output.push(match get {
                Pattern::Element => Some(element.clone()),
                Pattern::Missing => None,
                Pattern::Key(_) => {
                    column += 1;
                    fetched[(column - 1) * elements.len() + index].take()
                }
            });
        }
    }
    output
}

/// Stores the result as a list; an empty one deletes the key.
fn store(ctx: &mut Context<'_>, key: &[u8], output: &[Fetched]) {
    if output.is_empty() {
        let lazily = ctx.shard.options.lazy_server_del;
        if ctx.remove(key, lazily) {
            ctx.modified(key, Event::Del);
        }
        return;
    }
    let limits = ctx.shard.options.encoding;
    let mut list = List::default();
    for value in output {
        list.push(End::Back, value.as_deref().unwrap_or_default(), &limits);
    }
    ctx.insert(key, list.into_value(), Ttl::Clear);
    super::list::changed(ctx, key, Event::SortStore, output.len());
}

impl Plan for SortPlan {
    fn step(&mut self, results: Vec<Contribution>, reply: &mut Reply<'_>) -> Step {
        match self.try_step(results, reply) {
            Ok(Some(hop)) => Step::Hop(hop),
            Ok(None) => Step::Done(Ok(())),
            Err(error) => Step::Done(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::check;

    #[test]
    fn sort() {
        check(
            r#"
            > RPUSH l 3 1 2 10
            :4
            > SORT l
            [$1, $2, $3, $10]
            > SORT l DESC LIMIT 1 2
            [$3, $2]
            > SORT l ALPHA
            [$1, $10, $2, $3]
            > SORT l LIMIT 9 1
            []
            > SORT l LIMIT 1 x
            -ERR value is not an integer or out of range
            > SORT l BY nosort LIMIT 1 -1
            [$1, $2, $10]
            > MSET w1 30 w2 20 w3 10 n1 one n2 two
            +OK
            > SORT l BY w*
            [$10, $3, $2, $1]
            > SORT l BY w* GET # GET n* DESC
            [$1, $one, $2, $two, $3, nil, $10, nil]
            > SORT l BY n* ALPHA GET fixed
            [nil, nil, nil, nil]
            > SORT l BY n*
            -ERR One or more scores can't be converted into double
            > SORT l BY w* GET n* STORE d
            :4
            > LRANGE d 0 -1
            [$, $, $two, $one]
            > SORT missing STORE d
            :0
            > EXISTS d
            :0
            > SORT w1
            -WRONGTYPE Operation against a key holding the wrong kind of value
            > SORT l STORE
            -ERR syntax error
            > SORT_RO l STORE d
            -ERR syntax error
            > SORT_RO l BY w* GET n* LIMIT 0 1
            [nil]
            "#,
        );
    }

    #[test]
    fn sort_by_fields_and_sets() {
        check(
            r#"
            > RPUSH l 3 1 2 10
            :4
            > HSET h1 f 5
            :1
            > HSET h3 f 1
            :1
            > HSET h10 f -1
            :1
            > SORT l BY h*->f GET h*->f
            [$-1, nil, $1, $5]
            > SORT l BY h*->f STORE {l}d
            :4
            > LRANGE {l}d 0 -1
            [$10, $2, $3, $1]
            > SADD set b c a
            :3
            > SORT set
            -ERR One or more scores can't be converted into double
            > SORT set ALPHA DESC
            [$c, $b, $a]
            > SORT set BY nosort STORE d
            :3
            > LRANGE d 0 -1
            [$a, $b, $c]
            "#,
        );
    }
}
