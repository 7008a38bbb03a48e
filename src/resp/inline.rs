//! Inline requests: a line of words, as typed into telnet. Also the words of a configuration line.
//!
//! ```text
//!   SET key "two words\r\n"      double quotes: \n \r \t \b \a \xHH, any other escaped byte is itself
//!   SET key 'it\'s'              single quotes: only \' is an escape
//!   SET pre"fix" x               quotes may open inside a word; after a closing one the word ends
//! ```
//!
//! Invariants
//!   I1  A word that is one piece of the line is borrowed from it; only words that differ from the line's
//!       bytes (escapes, quotes inside a word) are copied.
//!   I2  A NUL byte ends the line, whatever follows: Redis walks C strings.

use super::argv::{ArgRange, ArgvBuf};

/// A quote was not closed, or something other than a space followed the closing one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnbalancedQuotes;

/// Splits `line` into words by the quoting rules above.
pub fn split_words(line: &[u8]) -> Result<ArgvBuf, UnbalancedQuotes> {
    let mut words = ArgvBuf::new();
    let mut rest = line;
    while let Some(start) = next_word(rest) {
        let begin = words.open_arg();
        rest = &rest[start + copy_word(&rest[start..], |byte| words.push_byte(byte))?..];
        words.finish_arg(begin);
    }
    Ok(words)
}

/// Splits `bytes[start..end]` into places within `bytes`. `Ok(false)` if that cannot be, because a word has
/// to be rewritten (I1): then [`split_words`] gives them. `ranges` is emptied first.
pub(super) fn split_in_place(
    bytes: &[u8],
    start: usize,
    end: usize,
    ranges: &mut Vec<ArgRange>,
) -> Result<bool, UnbalancedQuotes> {
    ranges.clear();
    let mut at = start;
    while let Some(skipped) = next_word(&bytes[at..end]) {
        at += skipped;
        let word = &bytes[at..end];
        let (begin, len, taken) = match word[0] {
            quote @ (b'"' | b'\'') => {
                let Some(close) = memchr::memchr2(quote, b'\\', &word[1..]).map(|index| index + 1) else {
                    return Err(UnbalancedQuotes);
                };
                if word[close] == b'\\' || memchr::memchr(0, &word[..close]).is_some() {
                    return Ok(false);
                }
                ends_after_quote(word, close)?;
                (at + 1, close - 1, close + 1)
            }
            _ => {
                let len = word.iter().position(|&byte| ends_bare_word(byte)).unwrap_or(word.len());
                if memchr::memchr2(b'"', b'\'', &word[..len]).is_some() {
                    return Ok(false);
                }
                (at, len, len)
            }
        };
        ranges.push(ArgRange::new(begin, len));
        at += taken;
    }
    Ok(true)
}

/// Where the next word begins, if there is one.
fn next_word(line: &[u8]) -> Option<usize> {
    let start = line.iter().position(|&byte| !is_space(byte))?;
    (line[start] != 0).then_some(start)
}

/// Emits the word at the start of `line`; returns the bytes it took.
fn copy_word(line: &[u8], mut emit: impl FnMut(u8)) -> Result<usize, UnbalancedQuotes> {
    let mut at = 0;
    loop {
        match line.get(at).copied().unwrap_or(0) {
            byte if ends_bare_word(byte) => return Ok(at),
            b'"' => return copy_double_quoted(line, at + 1, emit),
            b'\'' => return copy_single_quoted(line, at + 1, emit),
            byte => emit(byte),
        }
        at += 1;
    }
}

fn copy_double_quoted(
    line: &[u8],
    mut at: usize,
    mut emit: impl FnMut(u8),
) -> Result<usize, UnbalancedQuotes> {
    // Reading past the end gives NUL, which nothing contains: a C string in all but name (I2).
    let peek = |index: usize| line.get(index).copied().unwrap_or(0);
    loop {
        match (peek(at), peek(at + 1)) {
            (b'\\', b'x') if hex_digit(peek(at + 2)).is_some() && hex_digit(peek(at + 3)).is_some() => {
                let digit = |index| hex_digit(peek(index)).expect("the guard has looked");
                emit(digit(at + 2) << 4 | digit(at + 3));
                at += 4;
            }
            (b'\\', escaped) if escaped != 0 => {
                emit(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    itself => itself,
                });
                at += 2;
            }
            (b'"', _) => {
                ends_after_quote(line, at)?;
                return Ok(at + 1);
            }
            (0, _) => return Err(UnbalancedQuotes),
            (byte, _) => {
                emit(byte);
                at += 1;
            }
        }
    }
}

fn copy_single_quoted(
    line: &[u8],
    mut at: usize,
    mut emit: impl FnMut(u8),
) -> Result<usize, UnbalancedQuotes> {
    let peek = |index: usize| line.get(index).copied().unwrap_or(0);
    loop {
        match (peek(at), peek(at + 1)) {
            (b'\\', b'\'') => {
                emit(b'\'');
                at += 2;
            }
            (b'\'', _) => {
                ends_after_quote(line, at)?;
                return Ok(at + 1);
            }
            (0, _) => return Err(UnbalancedQuotes),
            (byte, _) => {
                emit(byte);
                at += 1;
            }
        }
    }
}

/// Only a space or the end may follow the quote at `close`.
fn ends_after_quote(line: &[u8], close: usize) -> Result<(), UnbalancedQuotes> {
    match line.get(close + 1) {
        None | Some(0) => Ok(()),
        Some(&byte) if is_space(byte) => Ok(()),
        Some(_) => Err(UnbalancedQuotes),
    }
}

/// What C's `isspace` accepts.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Vertical tab and form feed are spaces between words and yet do not end one, as in Redis.
fn ends_bare_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        split_words(line).ok().map(|words| words.as_argv().iter().map(<[u8]>::to_vec).collect())
    }

    fn check(line: &str, expected: Option<&[&[u8]]>) {
        let expected = expected.map(|words| words.iter().map(|word| word.to_vec()).collect());
        assert_eq!(words(line.as_bytes()), expected, "{line:?}");
    }

    #[test]
    fn quoting() {
        check("", Some(&[]));
        check(" \t\x0b\x0c\r\n ", Some(&[]));
        check("PING", Some(&[b"PING"]));
        check("  SET  k v ", Some(&[b"SET", b"k", b"v"]));
        check(r#""a b" c"#, Some(&[b"a b", b"c"]));
        check(r#""\x41\xfF\n\r\t\b\a\q\"\\" "#, Some(&[b"A\xff\n\r\t\x08\x07q\"\\"]));
        check(r#""\xg1\x4""#, Some(&[b"xg1x4"]));
        check(r#"'a\'b\n'"#, Some(&[b"a'b\\n"]));
        check(r#"pre"fix" x"#, Some(&[b"prefix", b"x"]));
        check(r#"pre'fi"x'"#, Some(&[b"prefi\"x"]));
        check(r#""" ''"#, Some(&[b"", b""]));
        check("a\x0bb", Some(&[b"a\x0bb"]));
        check("a\0b c", Some(&[b"a"]));
        check("\"a\"\x0b b", Some(&[b"a", b"b"]));
    }

    #[test]
    fn unbalanced() {
        for line in [
            r#"""#,
            r#"'"#,
            r#""a"b"#,
            r#"'a'b"#,
            r#""a""b""#,
            r#""a\"#,
            r#""a\""#,
            r#"'a\'"#,
            "\"a\0\"",
            r#"x"y"#,
        ] {
            check(line, None);
        }
    }

    proptest! {
        /// I1: what is found in place is what copying finds.
        #[test]
        fn in_place_agrees_with_copying(line in proptest::collection::vec(
            prop_oneof![Just(b' '), Just(b'"'), Just(b'\''), Just(b'\\'), Just(b'x'), Just(b'4'), Just(0), any::<u8>()],
            0..24,
        )) {
            let mut ranges = Vec::new();
            match split_in_place(&line, 0, line.len(), &mut ranges) {
                Ok(true) => {
                    let found = ranges.iter().map(|range| line[range.start()..][..range.len()].to_vec()).collect();
                    prop_assert_eq!(words(&line), Some(found));
                }
                Ok(false) => {}
                Err(UnbalancedQuotes) => prop_assert_eq!(words(&line), None),
            }
        }
    }
}
