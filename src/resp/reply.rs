//! Writes replies in the protocol version the client chose with HELLO.
//!
//! Invariants
//!   W1  What is appended is a sequence of whole RESP values; containers are announced by their length, so
//!       whoever opens one writes that many elements, or patches the length ([`Reply::deferred_array`]).
//!   W2  A client that speaks RESP2 never sees a RESP3 type.
//!   W3  [`Reply::rollback`] leaves the bytes and the error count as they were at the mark.
//!   W4  An error is one line: `\r` and `\n` within it become spaces.

use crate::base::{double, number};

/// The protocol version of a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Appends replies to a connection's output.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
    errors: u32,
}

/// A moment in the writing of a reply, to return to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    len: usize,
    errors: u32,
}

/// A container whose length is not known yet. It has to be handed back, or the reply is broken; of nested ones
/// the inner first.
#[derive(Debug)]
#[must_use = "the length has to be written: hand it to `Reply::finish`"]
pub struct Deferred {
    header_at: usize,
    kind: u8,
}

/// The room a deferred header takes at first: enough for 999 elements.
const DEFERRED_HEADER_BYTES: usize = 6;

impl<'a> Reply<'a> {
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol, errors: 0 }
    }

    /// What is in the buffer, with earlier replies.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// HELLO answers in the version it switches to.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    #[inline]
    pub fn is_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    // Position.

    #[inline]
    pub fn mark(&self) -> Mark {
        Mark { len: self.out.len(), errors: self.errors }
    }

    /// Takes back all that was written after `mark`.
    pub fn rollback(&mut self, mark: Mark) {
        debug_assert!(mark.len <= self.out.len(), "W3: a mark lies in the past");
        self.out.truncate(mark.len);
        self.errors = mark.errors;
    }

    /// What was written after `mark`.
    pub fn since(&self, mark: Mark) -> &[u8] {
        &self.out[mark.len..]
    }

    /// The length of the output, earlier replies included.
    #[inline]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// How many errors were written: INFO's `total_error_replies`, and whether a command failed.
    #[inline]
    pub fn errors(&self) -> u32 {
        self.errors
    }

    // Lines.

    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A short text that holds no line break: `QUEUED`, `PONG`, a type's name.
    #[inline]
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        debug_assert!(!text.iter().any(is_line_break), "W1: a simple string is a single line");
        self.line(b'+', text);
    }

    /// An error, `text` beginning with its code: `ERR syntax error`.
    #[cold]
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let mut text = text.as_ref();
        while let [first, rest @ ..] = text
            && is_line_break(first)
        {
            text = rest;
        }
        while let [rest @ .., last] = text
            && is_line_break(last)
        {
            text = rest;
        }
        self.errors += 1;
        self.out.push(b'-');
        self.out.extend(text.iter().map(|byte| if is_line_break(byte) { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.out.extend_from_slice(b":0\r\n"),
            1 => self.out.extend_from_slice(b":1\r\n"),
            value => self.number_line(b':', value),
        }
    }

    /// A length or a count.
    #[inline]
    pub fn length(&mut self, value: usize) {
        self.integer(value as i64);
    }

    // Strings.

    #[inline]
    pub fn bulk(&mut self, payload: &[u8]) {
        self.out.reserve(payload.len() + 16);
        self.header(b'$', payload.len());
        self.out.extend_from_slice(payload);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string: a value stored as one.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// A double where the reply is a string in both protocols (INCRBYFLOAT's and GEO's texts are made elsewhere).
    pub fn bulk_double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(32);
        double::write_g17(value, &mut text);
        self.bulk(&text);
    }

    /// A text for people, of `format` `txt` or `mkd`.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if !self.is_resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() + 4);
        self.out.extend_from_slice(format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    // Scalars.

    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The null of commands that otherwise reply with an array.
    #[inline]
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    pub fn double(&mut self, value: f64) {
        let mut text = Vec::with_capacity(32);
        double::write_g17(value, &mut text);
        match self.protocol {
            Protocol::Resp2 => self.bulk(&text),
            Protocol::Resp3 => self.line(b',', &text),
        }
    }

    /// An integer beyond 64 bits, as its decimal digits.
    pub fn big_number(&mut self, digits: impl AsRef<[u8]>) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_ref()),
            Protocol::Resp3 => self.line(b'(', digits.as_ref()),
        }
    }

    // Containers: announced here, then filled by the caller.

    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// Of `pairs` keys and values in turn.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', pairs * 2),
            Protocol::Resp3 => self.header(b'%', pairs),
        }
    }

    #[inline]
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'~', len),
        }
    }

    /// A message nobody asked for: pub/sub, invalidation.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len),
            Protocol::Resp3 => self.header(b'>', len),
        }
    }

    /// Of `pairs` keys and values, before the reply they annotate. RESP2 has no such thing: then it is
    /// `false`, and the pairs must not be written.
    #[must_use]
    pub fn attribute(&mut self, pairs: usize) -> bool {
        if self.is_resp3() {
            self.header(b'|', pairs);
        }
        self.is_resp3()
    }

    /// An array of a length that is known only at its end.
    pub fn deferred_array(&mut self) -> Deferred {
        self.deferred(b'*')
    }

    pub fn deferred_set(&mut self) -> Deferred {
        self.deferred(if self.is_resp3() { b'~' } else { b'*' })
    }

    /// A map; [`Reply::finish`] is told the number of pairs.
    pub fn deferred_map(&mut self) -> Deferred {
        self.deferred(if self.is_resp3() { b'%' } else { b'*' })
    }

    /// Writes the length of a deferred container: of elements, or of pairs if it is a map.
    pub fn finish(&mut self, deferred: Deferred, len: usize) {
        self.patch(deferred, len);
    }

    /// As [`Reply::finish`], for a map.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        let len = if deferred.kind == b'%' { pairs } else { pairs * 2 };
        self.patch(deferred, len);
    }

    // What others encoded.

    /// Appends whole values that are encoded already, in this client's version.
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.errors += u32::from(encoded.first() == Some(&b'-'));
        self.out.extend_from_slice(encoded);
    }

    fn deferred(&mut self, kind: u8) -> Deferred {
        let header_at = self.out.len();
        self.out.extend_from_slice(&[0; DEFERRED_HEADER_BYTES]);
        Deferred { header_at, kind }
    }

    /// The room left for the header is closed or widened to what it needs, which moves what follows it: once,
    /// at the speed of memory, and not at all for 100 to 999 elements.
    fn patch(&mut self, deferred: Deferred, len: usize) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(len).as_bytes();
        let room = deferred.header_at..deferred.header_at + DEFERRED_HEADER_BYTES;
        let header = [deferred.kind].into_iter().chain(digits.iter().copied()).chain(*b"\r\n");
        self.out.splice(room, header);
    }

    #[inline]
    fn header(&mut self, kind: u8, len: usize) {
        if len < 10 {
            self.out.extend_from_slice(&[kind, b'0' + len as u8, b'\r', b'\n']);
        } else if len < 100 {
            let (tens, ones) = (len as u8 / 10, len as u8 % 10);
            self.out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
        } else {
            self.number_line(kind, len as i64);
        }
    }

    fn number_line(&mut self, kind: u8, value: i64) {
        self.out.push(kind);
        number::write_i64(value, self.out);
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }
}

fn is_line_break(byte: &u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, protocol));
        String::from_utf8(out).expect("the tests write text")
    }

    /// W2, type by type.
    #[test]
    fn each_type_in_both_versions() {
        let both = |write: fn(&mut Reply<'_>), resp2: &str, resp3: &str| {
            assert_eq!(written(Protocol::Resp2, write), resp2);
            assert_eq!(written(Protocol::Resp3, write), resp3);
        };
        both(|reply| reply.ok(), "+OK\r\n", "+OK\r\n");
        both(|reply| reply.simple("QUEUED"), "+QUEUED\r\n", "+QUEUED\r\n");
        both(|reply| reply.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n");
        both(|reply| reply.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        both(|reply| reply.bulk_integer(-12), "$3\r\n-12\r\n", "$3\r\n-12\r\n");
        both(|reply| reply.integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n");
        both(|reply| reply.null(), "$-1\r\n", "_\r\n");
        both(|reply| reply.null_array(), "*-1\r\n", "_\r\n");
        both(|reply| reply.boolean(true), ":1\r\n", "#t\r\n");
        both(|reply| reply.boolean(false), ":0\r\n", "#f\r\n");
        both(|reply| reply.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
        both(|reply| reply.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        both(|reply| reply.big_number("123"), "$3\r\n123\r\n", "(123\r\n");
        both(|reply| reply.verbatim(b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
        both(|reply| reply.array(2), "*2\r\n", "*2\r\n");
        both(|reply| reply.map(2), "*4\r\n", "%2\r\n");
        both(|reply| reply.set(2), "*2\r\n", "~2\r\n");
        both(|reply| reply.push(2), "*2\r\n", ">2\r\n");
        both(|reply| assert_eq!(reply.attribute(1), reply.is_resp3()), "", "|1\r\n");
    }

    #[test]
    fn headers_of_every_width() {
        for len in [0, 9, 10, 99, 100, 101, 12_345] {
            assert_eq!(written(Protocol::Resp2, |reply| reply.array(len)), format!("*{len}\r\n"));
            assert_eq!(written(Protocol::Resp2, |reply| reply.length(len)), format!(":{len}\r\n"));
        }
    }

    #[test]
    fn w4_an_error_is_one_line() {
        let text = "\r\nERR unknown 'a\r\nb'\n";
        assert_eq!(written(Protocol::Resp2, |reply| reply.error(text)), "-ERR unknown 'a  b'\r\n");
        assert_eq!(written(Protocol::Resp2, |reply| reply.error("\n")), "-\r\n");
    }

    #[test]
    fn deferred_lengths() {
        for len in [0, 1, 99, 100, 999, 1000, 20_000] {
            let got = written(Protocol::Resp2, |reply| {
                reply.integer(7);
                let array = reply.deferred_array();
                (0..len).for_each(|_| reply.integer(1));
                reply.finish(array, len);
                reply.integer(8);
            });
            assert_eq!(got, format!(":7\r\n*{len}\r\n{}:8\r\n", ":1\r\n".repeat(len)));
        }
        let nested = written(Protocol::Resp2, |reply| {
            let outer = reply.deferred_array();
            let inner = reply.deferred_array();
            reply.finish(inner, 0);
            reply.integer(5);
            reply.finish(outer, 2);
        });
        assert_eq!(nested, "*2\r\n*0\r\n:5\r\n");
        let map = |reply: &mut Reply<'_>| {
            let map = reply.deferred_map();
            reply.bulk(b"k");
            reply.integer(1);
            reply.finish_map(map, 1);
        };
        assert_eq!(written(Protocol::Resp2, map), "*2\r\n$1\r\nk\r\n:1\r\n");
        assert_eq!(written(Protocol::Resp3, map), "%1\r\n$1\r\nk\r\n:1\r\n");
    }

    #[test]
    fn w3_rollback_leaves_nothing_behind() {
        let mut out = b"+OK\r\n".to_vec();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        reply.raw(b"-ERR a\r\n");
        let mark = reply.mark();
        reply.array(2);
        reply.error("ERR b");
        assert_eq!(reply.errors(), 2);
        assert_eq!(reply.since(mark), b"*2\r\n-ERR b\r\n");
        reply.rollback(mark);
        assert_eq!((reply.errors(), reply.mark()), (1, mark));
        assert_eq!(out, b"+OK\r\n-ERR a\r\n");
    }
}
