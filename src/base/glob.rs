//! Glob patterns as Redis matches them, bytes against bytes.
//!
//! ```text
//!   *      any bytes, none included        ?      any one byte
//!   [a-c]  one of a class, ranges in either direction; [^x] one that is not; \ takes the next byte as it is
//!   \x     the byte x itself               [abc   a class that is not closed ends with the pattern
//! ```
//!
//! Every element but `*` takes exactly one byte. So when the rest of the pattern failed behind the last `*`
//! reached, only that `*` has to be tried further on, never an earlier one: at worst the product of the
//! lengths, whatever the pattern.
//!
//! Quirks kept: a pattern that needs more than a thousand stars matches nothing, nothing but the empty pattern matches
//! the empty string, ranges compare bytes as signed numbers, and an escaped byte within a class is compared with its case
//! even if case is ignored.

/// Redis gives up there, to protect itself from what such patterns cost it.
const STARS_MAX: usize = 1000;

/// Must letters be of the same case?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Case {
    Sensitive,
    Ignored,
}

/// Does the whole of `text` match `pattern`?
pub fn matches(pattern: &[u8], text: &[u8], case: Case) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut seen) = (0, 0);
    let mut stars = 0;
    // Behind the last star: its pattern and the first byte it has not swallowed.
    let mut retry: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at = skip_stars(pattern, at);
            if at == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((at, seen));
        } else if let Some(next) = element(pattern, at, text[seen], case) {
            at = next;
            seen += 1;
        } else if let Some((star, swallowed)) = retry {
            at = star;
            seen = swallowed + 1;
            retry = Some((at, seen));
        } else {
            return false;
        }
    }
    skip_stars(pattern, at) == pattern.len()
}

/// Is `pattern` free of special bytes, so that only the text equal to it matches?
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
}

fn skip_stars(pattern: &[u8], at: usize) -> usize {
    at + pattern[at..].iter().take_while(|&&byte| byte == b'*').count()
}

/// If the element at `at` takes `byte`: where the next element begins.
#[inline]
fn element(pattern: &[u8], at: usize, byte: u8, case: Case) -> Option<usize> {
    let (expected, next) = match *pattern.get(at)? {
        b'?' => return Some(at + 1),
        b'[' => return class(pattern, at + 1, byte, case),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1], at + 2),
        literal => (literal, at + 1),
    };
    same(expected, byte, case).then_some(next)
}

fn class(pattern: &[u8], mut at: usize, byte: u8, case: Case) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= within(*first, *last, byte, case);
                at += 3;
            }
            [single, ..] => {
                found |= same(*single, byte, case);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

fn within(first: u8, last: u8, byte: u8, case: Case) -> bool {
    // Ordered first and folded then, as in Redis: [Z-a] ignoring case is the empty range z..a.
    let (low, high) = if (first as i8) <= (last as i8) { (first, last) } else { (last, first) };
    let fold = |byte: u8| if case == Case::Ignored { byte.to_ascii_lowercase() as i8 } else { byte as i8 };
    (fold(low)..=fold(high)).contains(&fold(byte))
}

#[inline]
fn same(left: u8, right: u8, case: Case) -> bool {
    left == right || case == Case::Ignored && left.eq_ignore_ascii_case(&right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_thousand_stars_are_enough() {
        let text = "a".repeat(3000);
        assert!(matches("*?".repeat(1000).as_bytes(), text.as_bytes(), Case::Sensitive));
        assert!(!matches("*?".repeat(1001).as_bytes(), text.as_bytes(), Case::Sensitive));
    }

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive), "{pattern} {text:?}");
        }
        for text in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive), "{pattern} {text:?}");
        }
    }

    #[test]
    fn elements() {
        check("h?llo", &["hello", "hallo", "h?llo"], &["hllo", "heello"]);
        check("h*llo", &["hllo", "heeeello", "hllollo"], &["hell"]);
        check("h[ae]llo", &["hello", "hallo"], &["hillo"]);
        check("h[^e]llo", &["hallo", "hbllo"], &["hello", "hllo"]);
        check("h[a-c]", &["ha", "hc"], &["hd", "h-"]);
        check("h[c-a]", &["ha", "hb"], &["hd"]);
        check("[\\]x]", &["]", "x"], &["\\"]);
        check("a\\*b", &["a*b"], &["axb"]);
        check("a\\", &["a\\"], &["a"]);
        check("**a**", &["a", "bab"], &["b"]);
        check("a*", &["a", "ab"], &["", "b"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn quirks() {
        check("*", &["a"], &[""]);
        check("**", &["a"], &[""]);
        check("[", &[], &["[", "a", ""]);
        check("[^", &["a", "^"], &["", "ab"]);
        check("[a", &["a"], &["b"]);
        check("[a-", &["a", "-"], &["b"]);
        check("[]", &[], &["]", "a"]);
        check("[^]", &["a", "]"], &[""]);
        check("[\\", &["\\"], &["a"]);
        // 0x80 and above are negative: this is the range -1..=1.
        assert!(matches(b"[\x01-\xff]", b"\x00", Case::Sensitive));
        assert!(!matches(b"[\x01-\xff]", b"a", Case::Sensitive));
    }

    #[test]
    fn ignoring_case() {
        let check = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes(), Case::Ignored);
        assert!(check("HeL*[O-Q]", "hELlo"));
        assert!(check("\\A", "a"));
        assert!(!check("[\\A]", "a"));
        assert!(!check("[Z-a]", "a"));
        assert!(!check("[Z-a]", "q"));
    }

    /// Redis before 7.0.9 took exponential time for this (CVE-2022-36021).
    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(60) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(20_000).as_bytes(), Case::Sensitive));
    }

    /// The definition: a star is nothing, or a byte and a star.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => model(rest, text) || !text.is_empty() && model(pattern, &text[1..]),
            (_, [byte, more @ ..]) => {
                element(pattern, 0, *byte, Case::Sensitive).is_some_and(|next| model(&pattern[next..], more))
            }
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,10}", text in "[ab*\\]-]{1,10}") {
            let got = matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive);
            prop_assert_eq!(got, model(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn a_literal_matches_itself_only(pattern in "[a-z*?]{1,5}", text in "[a-z]{1,5}") {
            if is_literal(pattern.as_bytes()) {
                prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), Case::Sensitive), pattern == text);
            }
        }
    }
}
