//! Words of a configuration line: splitting with quotes, and quoting so that splitting gives the
//! bytes back. The same rules serve redis.conf, the command line and inline requests.
//!
//! Between double quotes `\n \r \t \b \a \xHH` and `\` before any other byte are escapes; between
//! single quotes only `\'` is. A closing quote must be followed by a space or the end.

/// Splits a line into words; `None` when a quote is not closed or is followed by a letter.
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|&&byte| is_space(byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() || rest[0] == 0 {
            return Some(words);
        }
        let (word, after) = take_word(rest)?;
        words.push(word);
        rest = after;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Takes one word, of which any part may be quoted: `ab"c d"` is one word.
fn take_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t' | 0, ..] => return Some((word, rest)),
            [b'"', after @ ..] => return end_quoted(take_double_quoted(&mut word, after)?, word),
            [b'\'', after @ ..] => return end_quoted(take_single_quoted(&mut word, after)?, word),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// A closing quote ends the word.
fn end_quoted(rest: &[u8], word: Vec<u8>) -> Option<(Vec<u8>, &[u8])> {
    match rest {
        [] => Some((word, rest)),
        [byte, ..] if is_space(*byte) || *byte == 0 => Some((word, rest)),
        _ => None,
    }
}

fn take_double_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn take_single_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [0, ..] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// Appends `word` between double quotes, every byte printable.
pub fn append_quoted(line: &mut Vec<u8>, word: &[u8]) {
    line.push(b'"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => line.extend([b'\\', byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            0x07 => line.extend(b"\\a"),
            0x08 => line.extend(b"\\b"),
            b' '..=b'~' => line.push(byte),
            _ => line.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = split_words(line.as_bytes())?;
        Some(words.into_iter().map(|word| String::from_utf8(word).expect("test words are UTF-8")).collect())
    }

    #[test]
    fn splits_at_spaces_outside_quotes() {
        assert_eq!(words("  save 60\t1 ").expect("balanced"), ["save", "60", "1"]);
        assert_eq!(words(r#"requirepass "a b\x41\n\"""#).expect("balanced"), ["requirepass", "a bA\n\""]);
        assert_eq!(words(r"x 'a\'b\n' ''").expect("balanced"), ["x", r"a'b\n", ""]);
        assert_eq!(words(r#"x ab"c d""#).expect("balanced"), ["x", "abc d"]);
        assert_eq!(words("").expect("balanced"), [""; 0]);
    }

    #[test]
    fn refuses_open_quotes_and_text_behind_a_closing_one() {
        for line in [r#"a "b"#, "a 'b", r#"a "b"c"#, "a 'b'c", r#"a "b\"#, r#"""""#] {
            assert_eq!(words(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_split_back(all: Vec<Vec<u8>>) {
            let mut line = Vec::new();
            for word in &all {
                append_quoted(&mut line, word);
                line.push(b' ');
            }
            prop_assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert_eq!(split_words(&line), Some(all));
        }

        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = split_words(&line);
        }
    }
}
