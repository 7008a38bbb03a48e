//! The manifest of Redis's multi-part append-only file (since 7.0).
//!
//! ```text
//! file appendonly.aof.1.base.rdb seq 1 type b
//! file appendonly.aof.1.incr.aof seq 1 type i
//! file appendonly.aof.2.incr.aof seq 2 type i
//! ```
//! One line per file: pairs of a word and its value, the value quoted if it has to be. Type `b` is the base (a
//! snapshot or commands), `i` are the commands since then in the order of their sequence, `h` is history: no longer
//! needed. Lines that begin with `#` are comments.

use crate::base::number::parse_i64;
use crate::config::quoting::split_words;

/// As Redis reads a line.
const LINE_MAX: usize = 1024;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RedisManifest {
    pub base: Option<Vec<u8>>,
    /// In the order in which they are loaded.
    pub increments: Vec<Vec<u8>>,
}

/// What is wrong with a manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestError {
    /// From 1.
    pub line: usize,
    pub what: &'static str,
    pub text: String,
}

impl RedisManifest {
    /// # Errors
    /// Wherever Redis refuses it too.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        let mut last_increment = 0;
        let error = |line: usize, what, text: &[u8]| ManifestError {
            line,
            what,
            text: String::from_utf8_lossy(text).into_owned(),
        };
        if bytes.is_empty() {
            return Err(error(1, "Found an empty AOF manifest", b""));
        }
        let mut count = 0;
        for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let fail = |what| error(number, what, line.trim_ascii_end());
            if line.first() == Some(&b'#') {
                continue;
            }
            if line.len() > LINE_MAX {
                return Err(fail("The AOF manifest file contains too long line"));
            }
            if line.last() != Some(&b'\n') {
                return Err(fail("The AOF manifest file format is invalid, the line doesn't end"));
            }
            let text = line.trim_ascii();
            if text.is_empty() {
                return Err(fail("The AOF manifest file format is invalid"));
            }
            let words = split_words(text).ok_or_else(|| fail("The AOF manifest file format is invalid"))?;
            if words.len() < 6 || !words.len().is_multiple_of(2) {
                return Err(fail("The AOF manifest file format is invalid"));
            }
            let value = |name: &str| {
                let pairs = words.chunks_exact(2);
                pairs.rev().find(|pair| pair[0].eq_ignore_ascii_case(name.as_bytes())).map(|pair| &pair[1])
            };
            let invalid = "The AOF manifest file format is invalid";
            let (Some(name), Some(sequence), Some(kind)) = (value("file"), value("seq"), value("type"))
            else {
                return Err(fail(invalid));
            };
            if name.contains(&b'/') {
                return Err(fail("File can't be a path, just a filename"));
            }
            let sequence = parse_i64(sequence).filter(|sequence| *sequence > 0);
            let sequence = sequence.ok_or_else(|| fail(invalid))?;
            count += 1;
            match kind.as_slice() {
                b"b" if manifest.base.is_some() => {
                    return Err(fail("Found duplicate base file information"));
                }
                b"b" => manifest.base = Some(name.clone()),
                b"h" => {}
                b"i" if sequence <= last_increment => {
                    return Err(fail("Found a non-monotonic sequence number"));
                }
                b"i" => {
                    last_increment = sequence;
                    manifest.increments.push(name.clone());
                }
                _ => return Err(fail("Unknown AOF file type")),
            }
        }
        if count == 0 {
            return Err(error(1, "Found an empty AOF manifest", b""));
        }
        Ok(manifest)
    }

    /// Every file, in order.
    pub fn files(&self) -> impl Iterator<Item = &[u8]> {
        self.base.iter().chain(&self.increments).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<(Option<String>, Vec<String>), String> {
        let text_of = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        RedisManifest::parse(text.as_bytes())
            .map(|manifest| {
                (manifest.base.as_ref().map(text_of), manifest.increments.iter().map(text_of).collect())
            })
            .map_err(|error| format!("{} {}", error.line, error.what))
    }

    #[test]
    fn what_redis_writes() {
        let text = "file appendonly.aof.2.base.rdb seq 2 type b\n\
                    file appendonly.aof.1.incr.aof seq 1 type h\n\
                    # a comment\n\
                    file appendonly.aof.2.incr.aof seq 2 type i\n\
                    seq 3 type i file \"append only.aof.3.incr.aof\"\n";
        assert_eq!(
            parse(text),
            Ok((
                Some("appendonly.aof.2.base.rdb".into()),
                vec!["appendonly.aof.2.incr.aof".into(), "append only.aof.3.incr.aof".into()]
            ))
        );
    }

    #[test]
    fn what_redis_refuses() {
        for (text, error) in [
            ("", "1 Found an empty AOF manifest"),
            ("# nothing\n", "1 Found an empty AOF manifest"),
            ("\n", "1 The AOF manifest file format is invalid"),
            ("file a seq 1 type b", "1 The AOF manifest file format is invalid, the line doesn't end"),
            ("file a seq 1\n", "1 The AOF manifest file format is invalid"),
            ("file a seq 1 type b more\n", "1 The AOF manifest file format is invalid"),
            ("file a seq x type b\n", "1 The AOF manifest file format is invalid"),
            ("file a/b seq 1 type b\n", "1 File can't be a path, just a filename"),
            ("file a seq 1 type z\n", "1 Unknown AOF file type"),
            ("file a seq 1 type b\nfile b seq 2 type b\n", "2 Found duplicate base file information"),
            ("file a seq 2 type i\nfile b seq 1 type i\n", "2 Found a non-monotonic sequence number"),
        ] {
            assert_eq!(parse(text), Err(error.into()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = RedisManifest::parse(&bytes);
        }
    }
}
