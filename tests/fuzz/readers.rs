//! Whatever the bytes and however they are cut: no panic, and the same outcome.

use bolero::check;
use pinion::base::{double, extended::Extended, glob};
use pinion::resp::{Argv, Limits, Progress, ProtocolError, ReplyParser, RequestParser, Value};
use pinion::resp::{inline, parse_reply, reply_len};
use pinion::types::encoding::Intset;

/// Random inputs after the corpus, without an engine.
const ITERATIONS: usize = 2_000;

/// What a stream of requests comes to: the requests, what is left, and the error at its end.
#[derive(Debug, Default, Eq, PartialEq)]
struct Outcome {
    /// Counts, and lengths before bytes: formatting took most of the time.
    requests: Vec<u8>,
    left: usize,
    error: Option<ProtocolError>,
}

impl Outcome {
    fn push(&mut self, argv: Argv<'_>) {
        let mut put = |bytes: &[u8]| self.requests.extend_from_slice(bytes);
        put(&argv.len().to_le_bytes());
        for argument in argv.iter() {
            put(&argument.len().to_le_bytes());
            put(argument);
        }
    }
}

fn requests(stream: &[u8], piece: usize, limits: &Limits) -> Outcome {
    let (mut parser, mut ranges) = (RequestParser::new(), Vec::new());
    let (mut begin, mut end) = (0, 0);
    let mut outcome = Outcome::default();
    loop {
        let bytes = &stream[begin..end];
        match parser.parse(bytes, &mut ranges, limits) {
            Ok(Progress::Complete { consumed }) => {
                assert!(0 < consumed && consumed <= bytes.len() && !ranges.is_empty());
                outcome.push(Argv::new(bytes, &ranges));
                begin += consumed;
            }
            Ok(Progress::Rewritten { consumed, argv }) => {
                assert!(0 < consumed && consumed <= bytes.len() && !argv.is_empty());
                outcome.push(argv.as_argv());
                begin += consumed;
            }
            Ok(Progress::Empty { consumed }) => {
                assert!(0 < consumed && consumed <= bytes.len());
                begin += consumed;
            }
            Ok(Progress::Incomplete { needed }) => {
                assert!(needed != Some(0));
                if end == stream.len() {
                    outcome.left = end - begin;
                    return outcome;
                }
                end = stream.len().min(end + piece);
            }
            Err(error) => {
                assert!(!error.text().is_empty());
                outcome.error = Some(error);
                return outcome;
            }
        }
    }
}

#[test]
fn request_parser() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&piece, stream)) = input.split_first() else { return };
        for limits in [Limits::default(), Limits { bulk_bytes_max: 64, authenticated: false }] {
            let whole = requests(stream, stream.len().max(1), &limits);
            assert_eq!(requests(stream, usize::from(piece % 16) + 1, &limits), whole);
        }
    });
}

#[test]
fn inline_words() {
    check!().with_iterations(ITERATIONS).for_each(|line: &[u8]| {
        let Ok(words) = inline::split_words(line) else { return };
        let bytes: usize = words.as_argv().iter().map(<[u8]>::len).sum();
        assert!(bytes <= line.len(), "no escape is shorter than what it stands for");
    });
}

#[test]
fn reply_parser() {
    // NaN is not equal to itself; its text is.
    let text = |outcome: Option<(Value, usize)>| format!("{outcome:?}");
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        let whole = parse_reply(bytes).map(text);
        let mut parser = ReplyParser::new();
        let pieces = (0..=bytes.len())
            .map(|end| parser.parse(&bytes[..end]))
            .find(|outcome| !matches!(outcome, Ok(None)))
            .unwrap_or(Ok(None));
        assert_eq!(pieces.map(text), whole);
        if let Ok(Some((_, consumed))) = parse_reply(bytes) {
            assert_eq!(reply_len(bytes), Ok(Some(consumed)));
        }
    });
}

#[test]
fn numbers() {
    check!().with_iterations(ITERATIONS).for_each(|text: &[u8]| {
        if let Some(value) = double::parse(text) {
            let mut out = Vec::new();
            double::write_g17(value, &mut out);
            assert_eq!(double::parse(&out), Some(value));
        }
        if let Some(value) = Extended::parse(text) {
            value.write_human(&mut Vec::new());
            if let Some(sum) = value.checked_add(value) {
                sum.write_human(&mut Vec::new());
            }
        }
    });
}

#[test]
fn glob_patterns() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        let Some((&at, rest)) = input.split_first() else { return };
        let (pattern, text) = rest.split_at(usize::from(at).min(rest.len()));
        let exact = glob::matches(pattern, text, glob::Case::Sensitive);
        if glob::is_literal(pattern) {
            assert_eq!(exact, pattern == text);
        }
        glob::matches(pattern, text, glob::Case::Ignored);
    });
}

/// What is taken for an intset is one: ascending, and what is added to it is in it.
#[test]
fn intset() {
    check!().with_iterations(ITERATIONS).for_each(|input: &[u8]| {
        // Random bytes are hardly ever an intset; the header is made up, and then spoilt at times.
        let mut bytes = input.to_vec();
        if let [seed, rest @ ..] = input
            && seed % 4 != 0
        {
            let width = [2_u32, 4, 8][usize::from(seed % 3)];
            let len = rest.len() as u32 / width;
            bytes =
                [&width.to_le_bytes()[..], &len.to_le_bytes()[..], &rest[..(len * width) as usize]].concat();
        }
        let Ok(mut set) = Intset::from_bytes(&bytes) else { return };
        let members: Vec<i64> = set.as_ref().iter().collect();
        assert!(members.is_sorted() && members.iter().all(|&member| set.as_ref().contains(member)));
        set.insert(i64::MIN);
        assert_eq!(set.as_ref().get(0), i64::MIN);
    });
}
