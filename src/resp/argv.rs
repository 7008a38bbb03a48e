//! A request's arguments: borrowed from the receive buffer while it runs here, owned when they travel
//! to another core or wait in a MULTI queue.
//!
//! Invariants
//!   V1  Every range of an [`Argv`] lies inside its bytes.
//!   V2  An [`ArgvBuf`] holds its arguments back to back: no protocol headers, no gaps.

use std::fmt;

/// Where one argument lies, relative to the first byte of its request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ArgRange {
    start: u32,
    len: u32,
}

impl ArgRange {
    /// `start + len` must fit in 32 bits; the request parser refuses longer requests.
    #[inline]
    pub fn new(start: usize, len: usize) -> Self {
        debug_assert!(start + len <= u32::MAX as usize, "V1: a request of more than 4 GiB");
        Self { start: start as u32, len: len as u32 }
    }

    pub fn start(self) -> usize {
        self.start as usize
    }

    /// The length of the argument, which may well be zero.
    #[expect(clippy::len_without_is_empty, reason = "a place is never empty, an argument may be")]
    pub fn len(self) -> usize {
        self.len as usize
    }

    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &bytes[start..start + self.len as usize]
    }
}

/// A request's arguments, borrowed. `argv[0]` is the command's name.
#[derive(Clone, Copy, Default)]
pub struct Argv<'a> {
    bytes: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Argv<'a> {
    /// Joins what [`RequestParser::parse`](super::RequestParser::parse) found with the bytes it found it in.
    #[inline]
    pub fn new(bytes: &'a [u8], ranges: &'a [ArgRange]) -> Self {
        debug_assert!(ranges.iter().all(|range| range.start() + range.len() <= bytes.len()), "V1");
        Self { bytes, ranges }
    }

    #[inline]
    pub fn len(self) -> usize {
        self.ranges.len()
    }

    #[inline]
    pub fn is_empty(self) -> bool {
        self.ranges.is_empty()
    }

    #[inline]
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|range| range.of(self.bytes))
    }

    #[inline]
    pub fn first(self) -> Option<&'a [u8]> {
        self.get(0)
    }

    #[inline]
    pub fn last(self) -> Option<&'a [u8]> {
        self.ranges.last().map(|range| range.of(self.bytes))
    }

    /// All arguments in order.
    #[inline]
    pub fn iter(self) -> ArgvIter<'a> {
        ArgvIter { bytes: self.bytes, ranges: self.ranges.iter() }
    }

    /// The arguments from `index` on; empty if there are none.
    #[inline]
    pub fn from_index(self, index: usize) -> Self {
        Self { bytes: self.bytes, ranges: self.ranges.get(index..).unwrap_or(&[]) }
    }

    /// The arguments at `range`, which must exist.
    #[inline]
    pub fn slice(self, range: std::ops::Range<usize>) -> Self {
        Self { bytes: self.bytes, ranges: &self.ranges[range] }
    }

    /// The bytes of all arguments together, without headers.
    pub fn payload_len(self) -> usize {
        self.ranges.iter().map(|range| range.len()).sum()
    }

    pub fn to_owned(self) -> ArgvBuf {
        let mut owned = ArgvBuf::with_capacity(self.len(), self.payload_len());
        self.iter().for_each(|arg| owned.push(arg));
        owned
    }
}

impl std::ops::Index<usize> for Argv<'_> {
    type Output = [u8];

    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        self.ranges[index].of(self.bytes)
    }
}

impl<'a> IntoIterator for Argv<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgvIter<'a>;

    #[inline]
    fn into_iter(self) -> ArgvIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Argv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|arg| arg.escape_ascii().to_string())).finish()
    }
}

impl PartialEq for Argv<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Argv<'_> {}

/// The arguments of an [`Argv`], in order.
#[derive(Clone, Debug)]
pub struct ArgvIter<'a> {
    bytes: &'a [u8],
    ranges: std::slice::Iter<'a, ArgRange>,
}

impl<'a> Iterator for ArgvIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.ranges.next().map(|range| range.of(self.bytes))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }

    #[inline]
    fn nth(&mut self, n: usize) -> Option<&'a [u8]> {
        self.ranges.nth(n).map(|range| range.of(self.bytes))
    }
}

impl DoubleEndedIterator for ArgvIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.ranges.next_back().map(|range| range.of(self.bytes))
    }
}

impl ExactSizeIterator for ArgvIter<'_> {}

/// A request's arguments, owned: what travels between cores and what MULTI queues.
#[derive(Clone, Default)]
pub struct ArgvBuf {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl ArgvBuf {
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for `args` arguments of `payload_bytes` together.
    pub fn with_capacity(args: usize, payload_bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(payload_bytes), ranges: Vec::with_capacity(args) }
    }

    #[inline]
    pub fn push(&mut self, arg: &[u8]) {
        self.ranges.push(ArgRange::new(self.bytes.len(), arg.len()));
        self.bytes.extend_from_slice(arg);
    }

    #[inline]
    pub fn as_argv(&self) -> Argv<'_> {
        Argv { bytes: &self.bytes, ranges: &self.ranges }
    }

    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes of all arguments together.
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Forgets the arguments and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    /// The heap bytes held, for a client's memory accounting (`multi-mem`, `argv-mem`).
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ranges.capacity() * size_of::<ArgRange>()
    }

    /// Begins an argument whose bytes are appended one by one; [`ArgvBuf::finish_arg`] ends it.
    pub(super) fn open_arg(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn push_byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn finish_arg(&mut self, start: usize) {
        self.ranges.push(ArgRange::new(start, self.bytes.len() - start));
    }
}

impl<A: AsRef<[u8]>> FromIterator<A> for ArgvBuf {
    fn from_iter<I: IntoIterator<Item = A>>(args: I) -> Self {
        let mut owned = Self::new();
        args.into_iter().for_each(|arg| owned.push(arg.as_ref()));
        owned
    }
}

impl fmt::Debug for ArgvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_argv().fmt(f)
    }
}

impl PartialEq for ArgvBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_argv() == other.as_argv()
    }
}

impl Eq for ArgvBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_an_owned_copy_has_the_arguments_and_nothing_else() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n";
        let ranges = [ArgRange::new(8, 3), ArgRange::new(17, 1), ArgRange::new(24, 0)];
        let argv = Argv::new(bytes, &ranges);
        let owned = argv.to_owned();

        assert_eq!(owned.as_argv(), argv);
        assert_eq!(owned.bytes, b"SETk");
        assert_eq!(&argv[1], b"k");
        assert_eq!(argv.get(3), None);
        assert_eq!(argv.last(), Some(&b""[..]));
        assert_eq!(argv.from_index(1).len(), 2);
        assert!(argv.from_index(7).is_empty());
        assert_eq!(argv.slice(0..2).iter().next_back(), Some(&b"k"[..]));
        assert_eq!(ArgvBuf::from_iter(["SET", "k", ""]), owned);
    }
}
