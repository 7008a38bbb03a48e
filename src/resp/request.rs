//! Reads requests from a receive buffer, in place: what it yields are places in that buffer.
//!
//! ```text
//!   *3\r\n  $3\r\nSET\r\n  $1\r\nk\r\n  $5\r\nhello\r\n        a request of three arguments
//!   SET k hello\r\n                                            the same, inline
//! ```
//!
//! Most requests arrive whole and small: [`whole`] reads those in one go and has an opinion on nothing
//! else. All the rest, from half a header to a protocol error, is [`RequestParser::resume`]'s.
//!
//! Invariants
//!   Q1  However the bytes are cut into calls, the same requests and the same error come out.
//!   Q2  No byte is looked at twice because more arrived: a large argument in many pieces costs O(n).
//!   Q3  Between calls the bytes may move in memory; only offsets are remembered.
//!   Q4  `\n` after `\r` and the two bytes after an argument are counted, not compared, as in Redis.

use std::borrow::Cow;
use std::fmt;

use super::argv::{ArgRange, ArgvBuf};
use super::inline::{self, UnbalancedQuotes};
use crate::base::number::parse_i64;

/// An inline request, or the line of a count, may be this long before its end must have been seen.
const LINE_BYTES_MAX: usize = 64 * 1024;
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16_384;
const CR: u8 = b'\r';

/// What a request may ask of us. Consulted request by request: AUTH earlier in a pipeline changes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// `proto-max-bulk-len`; a master's stream is not limited (`usize::MAX`).
    pub bulk_bytes_max: usize,
    /// False while the client has still to authenticate; then only small requests are read.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bulk_bytes_max: 512 * 1024 * 1024, authenticated: true }
    }
}

/// What a call of [`RequestParser::parse`] came to.
#[derive(Debug, Eq, PartialEq)]
pub enum Progress {
    /// A request; `ranges` hold its arguments, at least one.
    Complete { consumed: usize },
    /// An inline request with escapes: its arguments are not a part of the buffer.
    Rewritten { consumed: usize, argv: Box<ArgvBuf> },
    /// A request of no arguments (`*0`, `*-1`, an empty line): skip it, there is no reply.
    Empty { consumed: usize },
    /// The bytes end inside a request. At least `needed` more must come, if that is known.
    Incomplete { needed: Option<usize> },
}

/// The client does not speak our language. It is told so and disconnected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProtocolError {
    TooBigInline,
    TooBigCount,
    InvalidCount,
    UnauthenticatedCount,
    TooBigBulkCount,
    ExpectedBulk { got: u8 },
    InvalidBulk,
    UnauthenticatedBulk,
    UnbalancedQuotes,
}

impl ProtocolError {
    /// The text of the error reply. Not a `str`: one of them quotes the client's byte.
    pub fn text(self) -> Cow<'static, [u8]> {
        let text: &'static str = match self {
            Self::TooBigInline => "ERR Protocol error: too big inline request",
            Self::TooBigCount => "ERR Protocol error: too big mbulk count string",
            Self::InvalidCount => "ERR Protocol error: invalid multibulk length",
            Self::UnauthenticatedCount => "ERR Protocol error: unauthenticated multibulk length",
            Self::TooBigBulkCount => "ERR Protocol error: too big bulk count string",
            Self::InvalidBulk => "ERR Protocol error: invalid bulk length",
            Self::UnauthenticatedBulk => "ERR Protocol error: unauthenticated bulk length",
            Self::UnbalancedQuotes => "ERR Protocol error: unbalanced quotes in request",
            Self::ExpectedBulk { got } => {
                return [b"ERR Protocol error: expected '$', got '", &[got][..], b"'"].concat().into();
            }
        };
        text.as_bytes().into()
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

impl std::error::Error for ProtocolError {}

impl From<UnbalancedQuotes> for ProtocolError {
    fn from(_: UnbalancedQuotes) -> Self {
        Self::UnbalancedQuotes
    }
}

/// Reads one request after the other. Remembers how far it got into a request that is not all there.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// All before this offset is understood: headers, and arguments already in `ranges`.
    at: usize,
    /// A line end was searched for up to this offset; at least `at` once anything was read.
    searched: usize,
    /// Arguments still to come; zero before the count was read.
    missing: usize,
    /// The length of the next argument, once its header was read.
    bulk_len: Option<usize>,
}

impl RequestParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Is it between two requests, as far as it knows?
    pub fn is_idle(&self) -> bool {
        self.searched == 0
    }

    /// Reads the request that `bytes` begins with.
    ///
    /// After [`Progress::Incomplete`] call again with the same bytes and more behind them, and the same
    /// `ranges`. After any other outcome drop the consumed bytes and begin anew. After an error the
    /// connection is over.
    #[inline]
    pub fn parse(
        &mut self,
        bytes: &[u8],
        ranges: &mut Vec<ArgRange>,
        limits: &Limits,
    ) -> Result<Progress, ProtocolError> {
        if self.searched == 0
            && limits.authenticated
            && let Some(consumed) = whole(bytes, ranges, limits.bulk_bytes_max)
        {
            return Ok(Progress::Complete { consumed });
        }
        self.resume(bytes, ranges, limits)
    }

    #[cold]
    #[inline(never)]
    fn resume(
        &mut self,
        bytes: &[u8],
        ranges: &mut Vec<ArgRange>,
        limits: &Limits,
    ) -> Result<Progress, ProtocolError> {
        if self.missing == 0 {
            match bytes.first() {
                None => return Ok(Progress::Incomplete { needed: None }),
                Some(b'*') => {}
                Some(_) => return self.inline(bytes, ranges),
            }
            let Some(end) = self.line_end(bytes, ProtocolError::TooBigCount)? else {
                return Ok(Progress::Incomplete { needed: None });
            };
            let count = parse_i64(&bytes[1..end])
                .filter(|&count| count <= i64::from(i32::MAX))
                .ok_or(ProtocolError::InvalidCount)?;
            if count > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
                return Err(ProtocolError::UnauthenticatedCount);
            }
            if count <= 0 {
                return Ok(Progress::Empty { consumed: self.finish(end + 2) });
            }
            ranges.clear();
            self.missing = count as usize;
            self.advance(end + 2);
        }
        while self.missing > 0 {
            let len = match self.bulk_len {
                Some(len) => len,
                None => match self.bulk_header(bytes, limits)? {
                    Some(len) => len,
                    None => return Ok(Progress::Incomplete { needed: None }),
                },
            };
            let end = self.at + len + 2;
            if end > bytes.len() {
                self.bulk_len = Some(len);
                return Ok(Progress::Incomplete { needed: Some(end - bytes.len()) });
            }
            ranges.push(ArgRange::new(self.at, len));
            self.bulk_len = None;
            self.missing -= 1;
            self.advance(end);
        }
        Ok(Progress::Complete { consumed: self.finish(self.at) })
    }

    /// Reads `$<len>\r\n`, if it is all there.
    fn bulk_header(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.line_end(bytes, ProtocolError::TooBigBulkCount)? else {
            return Ok(None);
        };
        if bytes[self.at] != b'$' {
            return Err(ProtocolError::ExpectedBulk { got: bytes[self.at] });
        }
        let len = parse_i64(&bytes[self.at + 1..end]).ok_or(ProtocolError::InvalidBulk)?;
        let payload = end + 2;
        match usize::try_from(len) {
            // An argument's place is 32 bits wide, so a request ends within 4 GiB.
            Ok(size) if size <= limits.bulk_bytes_max && size < u32::MAX as usize - payload => {}
            _ => return Err(ProtocolError::InvalidBulk),
        }
        if len > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        self.advance(payload);
        Ok(Some(len as usize))
    }

    /// The offset of the `\r` of the line that begins at `at`, once the byte after it is there too.
    ///
    /// A NUL hides what follows it, as Redis searches in a C string: such a line never ends.
    fn line_end(&mut self, bytes: &[u8], too_big: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let from = self.searched.max(self.at);
        let found = memchr::memchr2(CR, 0, &bytes[from..]).map(|index| from + index);
        self.searched = found.unwrap_or(bytes.len());
        match found {
            Some(end) if bytes[end] == CR => Ok((end + 2 <= bytes.len()).then_some(end)),
            _ if bytes.len() - self.at > LINE_BYTES_MAX => Err(too_big),
            _ => Ok(None),
        }
    }

    #[cold]
    fn inline(&mut self, bytes: &[u8], ranges: &mut Vec<ArgRange>) -> Result<Progress, ProtocolError> {
        let from = self.searched;
        let found = memchr::memchr2(b'\n', 0, &bytes[from..]).map(|index| from + index);
        self.searched = found.unwrap_or(bytes.len());
        let newline = match found {
            Some(end) if bytes[end] == b'\n' => end,
            _ if bytes.len() > LINE_BYTES_MAX => return Err(ProtocolError::TooBigInline),
            _ => return Ok(Progress::Incomplete { needed: None }),
        };
        let end = if bytes[..newline].last() == Some(&CR) { newline - 1 } else { newline };
        let consumed = self.finish(newline + 1);

        if !inline::split_in_place(bytes, 0, end, ranges)? {
            let argv = Box::new(inline::split_words(&bytes[..end])?);
            return Ok(Progress::Rewritten { consumed, argv });
        }
        if ranges.is_empty() {
            return Ok(Progress::Empty { consumed });
        }
        Ok(Progress::Complete { consumed })
    }

    fn advance(&mut self, to: usize) {
        debug_assert!(to >= self.at, "Q2: never backwards");
        self.at = to;
        self.searched = to;
    }

    /// Back to the state between two requests. Returns `consumed`.
    fn finish(&mut self, consumed: usize) -> usize {
        *self = Self::default();
        consumed
    }
}

/// Reads a request that is all there and has nothing unusual about it; `None` if it is not so, in which
/// case it has to be read again from its beginning.
#[inline]
fn whole(bytes: &[u8], ranges: &mut Vec<ArgRange>, bulk_bytes_max: usize) -> Option<usize> {
    let (count, mut at) = short_header(bytes, 0, b'*')?;
    // Each argument takes six bytes or more. Checked first, so that a count alone reserves no memory.
    if count == 0 || count * 6 > bytes.len() {
        return None;
    }
    ranges.clear();
    ranges.resize(count, ArgRange::default());
    for range in ranges.iter_mut() {
        let (len, start) = short_header(bytes, at, b'$')?;
        at = start + len + 2;
        if at > bytes.len() || len > bulk_bytes_max {
            return None;
        }
        *range = ArgRange::new(start, len);
    }
    Some(at)
}

/// Reads `<kind><number>\r\n` of one to six digits at `at`: the number, and the offset behind the line. That
/// the last byte of it is there, the caller learns from what must follow (Q4).
#[inline(always)]
fn short_header(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..at + 4)?;
    let mut value = digit(line[1])?;
    if line[0] != kind {
        return None;
    }
    if line[2] == CR {
        return Some((value, at + 4));
    }
    // Several digits: not canonical if the first is a zero.
    if value == 0 {
        return None;
    }
    value = value * 10 + digit(line[2])?;
    if line[3] == CR {
        return Some((value, at + 5));
    }
    value = value * 10 + digit(line[3])?;
    for (index, &byte) in bytes.get(at + 4..at + 8)?.iter().enumerate() {
        if byte == CR {
            return Some((value, at + 6 + index));
        }
        value = value * 10 + digit(byte)?;
    }
    None
}

#[inline(always)]
fn digit(byte: u8) -> Option<usize> {
    let value = byte.wrapping_sub(b'0');
    (value <= 9).then_some(usize::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Argv;
    use proptest::prelude::*;
    use std::slice;

    const GUEST: Limits = Limits { bulk_bytes_max: 512 * 1024 * 1024, authenticated: false };

    /// What a stream of requests comes to: the requests, skipped ones included, then how it ended.
    #[derive(Debug, Default, Eq, PartialEq)]
    struct Outcome {
        requests: Vec<Vec<Vec<u8>>>,
        error: Option<ProtocolError>,
        rest: usize,
    }

    /// Feeds `stream` in pieces which end at `cuts`, as a connection would.
    fn feed(stream: &[u8], cuts: &[usize], limits: &Limits) -> Outcome {
        let mut outcome = Outcome::default();
        let mut parser = RequestParser::new();
        let mut ranges = Vec::new();
        let mut begin = 0;
        for &cut in cuts.iter().chain([&stream.len()]) {
            loop {
                // A copy of its own, so that an address remembered across calls would be noticed (Q3).
                let bytes = stream[begin..cut].to_vec();
                match parser.parse(&bytes, &mut ranges, limits) {
                    Ok(Progress::Complete { consumed }) => {
                        let argv = Argv::new(&bytes, &ranges);
                        outcome.requests.push(argv.iter().map(<[u8]>::to_vec).collect());
                        begin += consumed;
                    }
                    Ok(Progress::Rewritten { consumed, argv }) => {
                        outcome.requests.push(argv.as_argv().iter().map(<[u8]>::to_vec).collect());
                        begin += consumed;
                    }
                    Ok(Progress::Empty { consumed }) => {
                        outcome.requests.push(Vec::new());
                        begin += consumed;
                    }
                    Ok(Progress::Incomplete { needed }) => {
                        if let Some(needed) = needed {
                            assert!(needed > 0);
                        }
                        break;
                    }
                    Err(error) => return Outcome { error: Some(error), ..outcome },
                }
                assert!(parser.is_idle());
            }
        }
        outcome.rest = stream.len() - begin;
        outcome
    }

    fn requests(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let outcome = feed(stream, &[], &Limits::default());
        assert_eq!((outcome.error, outcome.rest), (None, 0), "{}", stream.escape_ascii());
        outcome.requests
    }

    fn error(stream: &[u8], limits: &Limits) -> String {
        let outcome = feed(stream, &[], limits);
        outcome.error.map_or_else(|| format!("none, {} bytes left", outcome.rest), |error| error.to_string())
    }

    fn encode(args: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            bytes.extend_from_slice(arg);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    #[test]
    fn well_formed_requests() {
        let set: Vec<Vec<u8>> = vec![b"SET".to_vec(), b"k".to_vec(), b"".to_vec()];
        assert_eq!(requests(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n"), slice::from_ref(&set));
        assert_eq!(requests(b"SET k ''\r\n"), slice::from_ref(&set));
        assert_eq!(requests(b"SET\tk \"\"\n"), [set]);
        assert_eq!(requests(b"GET \"\\x41 b\"\r\n"), [[b"GET".to_vec(), b"A b".to_vec()]]);
        let nothing: [Vec<Vec<u8>>; 6] = Default::default();
        assert_eq!(requests(b"*0\r\n*-1\r\n\r\n\n  \r\n*-9223372036854775808\r\n"), nothing);
        // Q4: these bytes are counted only.
        assert_eq!(requests(b"*1\rx$4\ryPINGzz"), [[b"PING".to_vec()]]);
    }

    #[test]
    fn lengths_of_every_number_of_digits() {
        for len in
            [0, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 99_999, 100_000, 999_999, 1_000_000, 2_000_000]
        {
            let args = vec![b"x".to_vec(), vec![b'v'; len]];
            assert_eq!(requests(&encode(&args)), [args]);
        }
        let many = vec![b"x".to_vec(); 12_345];
        assert_eq!(requests(&encode(&many)), [many]);
    }

    /// Every text was compared with what redis-server 7.0.15 sends for these bytes.
    #[test]
    fn protocol_errors() {
        let anyone = Limits::default();
        let long = |prefix: &str| [prefix.as_bytes(), &[b'1'; LINE_BYTES_MAX]].concat();
        for (stream, limits, expected) in [
            (long("x"), anyone, "too big inline request"),
            (long("*"), anyone, "too big mbulk count string"),
            (long("*1\r\n$"), anyone, "too big bulk count string"),
            (b"*\r\n".to_vec(), anyone, "invalid multibulk length"),
            (b"*x\r\n".to_vec(), anyone, "invalid multibulk length"),
            (b"*01\r\n".to_vec(), anyone, "invalid multibulk length"),
            (b"*2147483648\r\n".to_vec(), anyone, "invalid multibulk length"),
            (b"*11\r\n".to_vec(), GUEST, "unauthenticated multibulk length"),
            (b"*1\r\nPING\r\n".to_vec(), anyone, "expected '$', got 'P'"),
            (b"*1\r\n$\r\n".to_vec(), anyone, "invalid bulk length"),
            (b"*1\r\n$-1\r\n".to_vec(), anyone, "invalid bulk length"),
            (b"*1\r\n$01\r\n".to_vec(), anyone, "invalid bulk length"),
            (b"*1\r\n$536870913\r\n".to_vec(), anyone, "invalid bulk length"),
            (b"*1\r\n$16385\r\n".to_vec(), GUEST, "unauthenticated bulk length"),
            (b"\"\r\n".to_vec(), anyone, "unbalanced quotes in request"),
            (b"'a'b\r\n".to_vec(), anyone, "unbalanced quotes in request"),
        ] {
            assert_eq!(error(&stream, &limits), format!("ERR Protocol error: {expected}"));
        }
    }

    #[test]
    fn just_within_the_limits() {
        let anyone = Limits::default();
        assert_eq!(error(&[b'x'; LINE_BYTES_MAX], &anyone), "none, 65536 bytes left");
        assert_eq!(error(b"*2147483647\r\n", &anyone), "none, 13 bytes left");
        assert_eq!(error(b"*1\r\n$536870912\r\n", &anyone), "none, 16 bytes left");
        assert_eq!(error(b"*10\r\n$16384\r\n", &GUEST), "none, 13 bytes left");
        // A NUL hides the end of the line, as Redis searches in a C string.
        assert_eq!(error(b"PI\0NG\r\n", &anyone), "none, 7 bytes left");
        assert_eq!(error(b"*1\0\r\n$4\r\nPING\r\n", &anyone), "none, 15 bytes left");
    }

    /// Q2, by the work done: a byte of a half-read argument is never part of what is searched.
    #[test]
    fn a_large_argument_in_pieces_is_not_reread() {
        let stream = encode(&[b"SET".to_vec(), b"k".to_vec(), vec![b'v'; 100_000]]);
        let mut parser = RequestParser::new();
        let mut ranges = Vec::new();
        for end in (0..stream.len()).step_by(1000) {
            let got = parser.parse(&stream[..end], &mut ranges, &Limits::default());
            if end > 100 {
                assert_eq!(got, Ok(Progress::Incomplete { needed: Some(stream.len() - end) }));
                assert_eq!((parser.at, parser.searched), (stream.len() - 100_002, stream.len() - 100_002));
            }
        }
        let got = parser.parse(&stream, &mut ranges, &Limits::default());
        assert_eq!(got, Ok(Progress::Complete { consumed: stream.len() }));
    }

    fn any_request() -> impl Strategy<Value = Vec<u8>> {
        let args = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 1..6);
        prop_oneof![
            8 => args.prop_map(|args| encode(&args)),
            2 => "[a-z\"' \\\\x0-9]{0,20}\r?\n".prop_map(String::into_bytes),
            1 => Just(b"*0\r\n".to_vec()),
            1 => "[*$0-9a\r\n-]{1,8}".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        /// Q1, with streams that may be wrong as well.
        #[test]
        fn cuts_do_not_matter(
            stream in proptest::collection::vec(any_request(), 0..6).prop_map(|all| all.concat()),
            mut cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
            authenticated: bool,
        ) {
            let limits = Limits { authenticated, ..Limits::default() };
            let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.sort_unstable();
            let all_at_once = feed(&stream, &[], &limits);
            prop_assert_eq!(&feed(&stream, &cuts, &limits), &all_at_once);
            let every: Vec<usize> = (0..stream.len()).collect();
            prop_assert_eq!(&feed(&stream, &every, &limits), &all_at_once);
        }

        #[test]
        fn what_was_encoded_is_read(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..20)) {
            prop_assert_eq!(requests(&encode(&args)), [args]);
        }

        #[test]
        fn garbage_is_survived(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
            feed(&stream, &[], &Limits::default());
        }
    }
}
