//! Any command with random numbers in it, and the check of its replies by their form alone.
//!
//! ```text
//! load --request "ZADD board {1000000} member:{1000000}" --expect ":" --pipeline 16
//! ```
//!
//! A placeholder `{N}` becomes twelve digits, a number below N: drawn anew each time, or with `--fill` the number of
//! the command. `{xN}` becomes N times the letter x.

use std::fmt::Write as _;

const DIGITS: usize = 12;

/// One command, with holes for digits.
pub struct Template {
    pub request: Vec<u8>,
    holes: Vec<Hole>,
    /// What every reply begins with.
    pub expected: Vec<u8>,
}

struct Hole {
    offset: usize,
    below: u64,
}

impl Template {
    pub fn parse(words: &str, expected: &str) -> Result<Template, String> {
        let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
        let mut template = Template {
            request: format!("*{}\r\n", words.len()).into_bytes(),
            holes: Vec::new(),
            expected: expected.as_bytes().to_vec(),
        };
        for word in words {
            template.add_word(word)?;
        }
        Ok(template)
    }

    fn add_word(&mut self, word: &str) -> Result<(), String> {
        let mut text = String::new();
        let mut holes = Vec::new();
        let mut rest = word;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (inside, behind) =
                after.split_once('}').ok_or(format!("{word}: a brace without its other"))?;
            let number =
                |digits: &str| digits.parse::<u64>().map_err(|_| format!("{word}: not a number: {digits}"));
            match inside.strip_prefix('x') {
                Some(count) => text.extend(std::iter::repeat_n('x', number(count)? as usize)),
                None => {
                    holes.push(Hole { offset: text.len(), below: number(inside)?.max(1) });
                    let _ = write!(text, "{:0DIGITS$}", 0);
                }
            }
            rest = behind;
        }
        text.push_str(rest);
        self.request.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
        let start = self.request.len();
        self.holes.extend(holes.into_iter().map(|hole| Hole { offset: start + hole.offset, ..hole }));
        self.request.extend_from_slice(text.as_bytes());
        self.request.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Writes the numbers of the next command; `draw` gives one below its bound.
    pub fn patch(&self, request: &mut [u8], digits: &[[u8; 4]], mut draw: impl FnMut(u64) -> u64) {
        for hole in &self.holes {
            let number = draw(hole.below);
            let place = &mut request[hole.offset..hole.offset + DIGITS];
            place[..4].copy_from_slice(&digits[(number / 100_000_000 % 10_000) as usize]);
            place[4..8].copy_from_slice(&digits[(number / 10_000 % 10_000) as usize]);
            place[8..].copy_from_slice(&digits[(number % 10_000) as usize]);
        }
    }
}

/// Counts whole replies in bytes that come in pieces.
#[derive(Default)]
pub struct Scanner {
    /// Elements that the reply under way still needs; 0 between replies.
    pending: u64,
    pub replies: usize,
}

impl Scanner {
    /// Passes over whole elements and returns how many bytes those were.
    pub fn scan(&mut self, bytes: &[u8], expected: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        while let Some(line) = bytes[at..].iter().position(|byte| *byte == b'\n') {
            let element = &bytes[at..=at + line];
            let begins = self.pending == 0;
            if begins && !element.starts_with(expected) {
                return Err(format!("unexpected reply: {}", String::from_utf8_lossy(element)));
            }
            let number = || {
                let digits =
                    element[1..].strip_suffix(b"\r\n").and_then(|digits| std::str::from_utf8(digits).ok());
                let number = digits.and_then(|digits| digits.parse::<i64>().ok());
                number.ok_or_else(|| format!("malformed: {}", String::from_utf8_lossy(element)))
            };
            // A null has the length -1.
            let (size, inside) = match element[0] {
                b'$' => (element.len() + usize::try_from(number()?).map_or(0, |length| length + 2), 0),
                b'*' => (element.len(), u64::try_from(number()?).unwrap_or(0)),
                b':' | b'+' => (element.len(), 0),
                _ => return Err(format!("unexpected reply: {}", String::from_utf8_lossy(element))),
            };
            if bytes.len() - at < size {
                break;
            }
            at += size;
            self.pending = self.pending + inside - u64::from(!begins);
            self.replies += usize::from(self.pending == 0);
        }
        Ok(at)
    }
}
