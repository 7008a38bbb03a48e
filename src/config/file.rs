//! redis.conf: one directive per line, `#` comments, quoted words, `include`.
//!
//! The text of a file, of the standard input and of the command line are read as one, in this order;
//! what comes later wins. Files, directories and the standard input are reached through [`Files`].
//!
//! Invariants
//!   F1  A line that is not understood stops the start and is shown with its number.
//!   F2  Only `dir` has an effect while reading, since later relative paths start from it.

use crate::base::os_error::reason;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::command_line::Source;
use super::parameter::{CLUSTER_ENABLED, DIR, LOGFILE, Param, REPLICAOF, SAVE};
use super::quoting::split_words;
use super::special::SavePoint;
use super::value::{Bytes, Refusal, Value};
use super::{Config, RenamedCommand, TABLE, find};

/// What reading a configuration needs of the machine.
pub trait Files {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    fn read_stdin(&mut self) -> io::Result<Vec<u8>>;
    /// The paths that match a pattern, sorted.
    fn glob(&mut self, pattern: &Path) -> Vec<PathBuf>;
    /// Makes a directory the working directory and tells its absolute path.
    fn enter(&mut self, directory: &Path) -> io::Result<PathBuf>;
    /// Creates a file for appending if it is missing.
    fn open_for_append(&mut self, path: &Path) -> io::Result<()>;
}

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("Fatal error, can't open config file '{}': {}", path.display(), reason(source))]
    Open { path: PathBuf, source: io::Error },

    #[error("Fatal error, can't read the configuration from the standard input: {}", reason(source))]
    Stdin { source: io::Error },

    /// The block that Redis prints, so that whoever looks for it finds it.
    #[error(
        "\n*** FATAL CONFIG FILE ERROR (Pinion {}) ***\nReading the configuration file, at line {number}{}\n\
         >>> '{line}'\n{reason}",
        env!("CARGO_PKG_VERSION"),
        of_file(included)
    )]
    Line { included: Option<PathBuf>, number: usize, line: String, reason: Refusal },

    #[error("\n*** FATAL CONFIG FILE ERROR (Pinion {}) ***\n{reason}", env!("CARGO_PKG_VERSION"))]
    Whole { reason: Refusal },
}

fn of_file(included: &Option<PathBuf>) -> String {
    included.as_ref().map(|path| format!(" of '{}'", path.display())).unwrap_or_default()
}

/// Reads the whole configuration.
pub fn load(source: &Source, files: &mut dyn Files) -> Result<Config, LoadError> {
    let mut loader = Loader { config: Config::default(), files, save_seen: false, depth: 0 };

    let mut text = Vec::new();
    if let Some(path) = &source.file {
        text = loader.read(path)?;
        loader.config.directives.file = Some(path.clone());
    }
    if source.stdin {
        text.extend(loader.files.read_stdin().map_err(|source| LoadError::Stdin { source })?);
    }
    if !source.options.is_empty() {
        text.push(b'\n');
        text.extend(&source.options);
    }
    loader.read_lines(&text, None)?;
    loader.finish()
}

/// Directives of earlier versions that Redis still accepts and ignores.
const FORMER: [&str; 3] = ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// A file that includes itself would otherwise be read until the stack ends.
const DEPTH_MAX: usize = 32;

struct Loader<'a> {
    config: Config,
    files: &'a mut dyn Files,
    /// The first `save` line replaces the default save points, later ones add to it, an empty one
    /// takes back all before it.
    save_seen: bool,
    depth: usize,
}

/// A line either has a reason to be refused or failed in a file that it includes.
enum LineError {
    Refused(Refusal),
    Inside(LoadError),
}

impl<T: Into<Refusal>> From<T> for LineError {
    fn from(reason: T) -> Self {
        Self::Refused(reason.into())
    }
}

impl Loader<'_> {
    fn read(&mut self, path: &Path) -> Result<Vec<u8>, LoadError> {
        self.files.read(path).map_err(|source| LoadError::Open { path: path.to_owned(), source })
    }

    fn read_lines(&mut self, text: &[u8], included: Option<&Path>) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            self.read_line(line).map_err(|error| match error {
                LineError::Inside(error) => error,
                LineError::Refused(reason) => LoadError::Line {
                    included: included.map(Path::to_owned),
                    number: index + 1,
                    line: String::from_utf8_lossy(line).into_owned(),
                    reason,
                },
            })?;
        }
        Ok(())
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), LineError> {
        if line.is_empty() || line[0] == b'#' {
            return Ok(());
        }
        let words = split_words(line).ok_or("Unbalanced quotes in configuration line")?;
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some((name, arguments)) = words.split_first() else { return Ok(()) };
        match find(name) {
            Some((place, _)) => self.set(place, arguments),
            None => self.directive(name, arguments),
        }
    }

    fn set(&mut self, place: usize, arguments: &[&[u8]]) -> Result<(), LineError> {
        // One word in quotes holds the whole list, as on a command line: --save "900 1".
        let listed: Vec<&[u8]> = match arguments {
            [list] if TABLE[place].kind.takes_many_words() && list.contains(&b' ') => {
                list.split(|byte| *byte == b' ').collect()
            }
            arguments => arguments.to_vec(),
        };
        let mut value = TABLE[place].parse(&listed, self.config.value(place))?;
        if place == SAVE.place() {
            value = self.with_earlier_save_points(value);
        }
        if place == DIR.place() {
            value = self.enter(arguments[0])?;
        }
        self.config.put(place, value);
        Ok(())
    }

    fn with_earlier_save_points(&mut self, value: Value) -> Value {
        let first = !std::mem::replace(&mut self.save_seen, true);
        let Value::SavePoints(points) = value else { unreachable!("C2: save holds save points") };
        let alone = first || points.is_empty();
        let earlier: Vec<SavePoint> = if alone { Vec::new() } else { self.config.get(SAVE).into() };
        Value::SavePoints([earlier, points].concat())
    }

    fn enter(&mut self, directory: &[u8]) -> Result<Value, Refusal> {
        let directory = Path::new(OsStr::from_bytes(directory));
        let path = self.files.enter(directory).map_err(|error| reason(&error))?;
        Ok(Value::Text(Some(path.as_os_str().as_bytes().into())))
    }

    /// What is not a parameter.
    fn directive(&mut self, name: &[u8], arguments: &[&[u8]]) -> Result<(), LineError> {
        let name = name.to_ascii_lowercase();
        match (name.as_slice(), arguments) {
            (b"include", [pattern]) => self.include(Path::new(OsStr::from_bytes(pattern))),
            (b"rename-command", [from, to]) => self.rename_command(from, to),
            (b"user", [_, ..]) => {
                let words = arguments.iter().map(|word| Bytes::from(*word)).collect();
                self.config.directives.users.push(words);
                Ok(())
            }
            (b"loadmodule", [_, ..]) => {
                Err("Modules are not supported: they are built for Redis itself".into())
            }
            (b"sentinel", _) => {
                Err("Sentinel mode is not supported; run redis-sentinel beside this server".into())
            }
            (name, [_]) if FORMER.iter().any(|former| former.as_bytes() == name) => Ok(()),
            _ => Err("Bad directive or wrong number of arguments".into()),
        }
    }

    /// A path must exist; a pattern may match nothing, so that an empty directory can be included.
    fn include(&mut self, path: &Path) -> Result<(), LineError> {
        if self.depth == DEPTH_MAX {
            return Err("Too many files include each other".into());
        }
        let is_pattern = path.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte));
        let paths = if is_pattern { self.files.glob(path) } else { vec![path.to_owned()] };
        self.depth += 1;
        for path in paths {
            let text = self.read(&path).map_err(LineError::Inside)?;
            self.read_lines(&text, Some(&path)).map_err(LineError::Inside)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Which commands exist is known to those who apply this.
    fn rename_command(&mut self, from: &[u8], to: &[u8]) -> Result<(), LineError> {
        self.config.directives.renamed_commands.push(RenamedCommand { from: from.into(), to: to.into() });
        Ok(())
    }

    fn finish(mut self) -> Result<Config, LoadError> {
        let whole = |reason: String| LoadError::Whole { reason: reason.into() };
        if self.config.get(DIR).is_empty() {
            let here = self.enter(b".").map_err(|reason| whole(format!("No working directory: {reason}")))?;
            self.config.put(place(DIR), here);
        }
        let logfile = self.config.get(LOGFILE);
        if !logfile.is_empty() {
            let path = Path::new(OsStr::from_bytes(logfile));
            let opened = self.files.open_for_append(path);
            opened.map_err(|error| whole(format!("Can't open the log file: {}", reason(&error))))?;
        }
        if self.config.get(CLUSTER_ENABLED) && self.config.get(REPLICAOF).is_some() {
            return Err(whole("replicaof directive not allowed in cluster mode".to_owned()));
        }
        Ok(self.config)
    }
}

fn place<T>(parameter: Param<T>) -> usize {
    parameter.place()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::parameter::*;
    use super::*;

    /// A machine of a few files; patterns match by what precedes the star.
    #[derive(Default)]
    struct FakeFiles {
        files: BTreeMap<PathBuf, &'static str>,
        stdin: &'static str,
    }

    impl Files for FakeFiles {
        fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
            let text = self.files.get(path).ok_or(io::Error::from_raw_os_error(libc::ENOENT))?;
            Ok(text.as_bytes().into())
        }

        fn read_stdin(&mut self) -> io::Result<Vec<u8>> {
            Ok(self.stdin.into())
        }

        fn glob(&mut self, pattern: &Path) -> Vec<PathBuf> {
            let pattern = pattern.to_str().expect("test paths are UTF-8");
            let (prefix, _) = pattern.split_once('*').expect("test patterns have a star");
            let matches = |path: &&PathBuf| path.to_string_lossy().starts_with(prefix);
            self.files.keys().filter(matches).cloned().collect()
        }

        fn enter(&mut self, directory: &Path) -> io::Result<PathBuf> {
            match directory.to_str() {
                Some(".") => Ok("/here".into()),
                Some("/data") => Ok("/data".into()),
                _ => Err(io::Error::from_raw_os_error(libc::ENOENT)),
            }
        }

        fn open_for_append(&mut self, path: &Path) -> io::Result<()> {
            match path.starts_with("/logs") {
                true => Ok(()),
                false => Err(io::Error::from_raw_os_error(libc::EACCES)),
            }
        }
    }

    fn load_files(files: &[(&str, &'static str)], options: &str) -> Result<Config, String> {
        let files = files.iter().map(|(path, text)| (PathBuf::from(path), *text)).collect();
        let source = Source { file: Some("/main".into()), stdin: true, options: options.into() };
        load(&source, &mut FakeFiles { files, stdin: "" }).map_err(|error| error.to_string())
    }

    fn load_text(text: &'static str) -> Result<Config, String> {
        load_files(&[("/main", text)], "")
    }

    fn block(place: &str, line: &str, reason: &str) -> String {
        let title = format!("*** FATAL CONFIG FILE ERROR (Pinion {}) ***", env!("CARGO_PKG_VERSION"));
        format!("\n{title}\nReading the configuration file, at line {place}\n>>> '{line}'\n{reason}")
    }

    #[test]
    fn comments_case_and_quotes() {
        let config =
            load_text("# port 1\n\n  PORT 7000 \r\nrequirepass \"a b\"\n\tbind 'x' y\n").expect("valid");
        assert_eq!(config.get(PORT), 7000);
        assert_eq!(config.get(REQUIREPASS), Some(b"a b".as_slice()));
        assert_eq!(config.get(BIND).len(), 2);
        assert_eq!(config.get(DIR), b"/here");
        assert_eq!(config.directives.file, Some("/main".into()));
    }

    #[test]
    fn what_comes_later_wins() {
        let config = load_files(&[("/main", "port 1\nhz 5")], "port 2").expect("valid");
        assert_eq!((config.get(PORT), config.get(HZ)), (2, 5));
    }

    #[test]
    fn save_lines_add_up_and_an_empty_one_takes_back() {
        let seconds = |text| -> Vec<i64> {
            let config = load_text(text).expect("valid");
            config.get(SAVE).iter().map(|point| point.seconds).collect()
        };
        assert_eq!(seconds(""), [3600, 300, 60]);
        assert_eq!(seconds("save 1 1\nsave 2 2 3 3"), [1, 2, 3]);
        assert_eq!(seconds("save \"\""), []);
        assert_eq!(seconds("save 1 1\nsave \"\""), []);
        assert_eq!(seconds("save \"\"\nsave 9 9"), [9]);
    }

    #[test]
    fn a_bad_line_is_shown_with_its_number() {
        let cases = [
            (
                "port 0\n   bogus \"a b\"  c \r\n",
                block("2", "bogus \"a b\"  c", "Bad directive or wrong number of arguments"),
            ),
            ("port \"1", block("1", "port \"1", "Unbalanced quotes in configuration line")),
            ("port 1 2", block("1", "port 1 2", "wrong number of arguments")),
            ("port", block("1", "port", "wrong number of arguments")),
            ("databases 0", block("1", "databases 0", "argument must be between 1 and 2147483647 inclusive")),
            ("dir /none", block("1", "dir /none", "No such file or directory")),
            (
                "rename-command GET",
                block("1", "rename-command GET", "Bad directive or wrong number of arguments"),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(load_text(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn modules_and_sentinel_are_refused_in_clear_words() {
        for (text, word) in [("loadmodule /x.so", "Modules"), ("sentinel monitor a b 1 2", "Sentinel")] {
            let error = load_text(text).expect_err("refused");
            assert!(error.contains(word) && error.contains("not supported"), "{error}");
        }
    }

    #[test]
    fn options_count_as_lines_behind_the_file() {
        let error = load_files(&[("/main", "port 1\n")], "hz 5\nbogus \"1\"").expect_err("refused");
        assert_eq!(error, block("4", "bogus \"1\"", "Bad directive or wrong number of arguments"));
    }

    #[test]
    fn included_files_are_read_in_place() {
        let files =
            [("/main", "port 1\ninclude /d/*.conf\ninclude /one\nhz 9"), ("/d/a.conf", "port 2\nhz 3")];
        let more = [("/d/b.conf", "port 3"), ("/one", "timeout 4")];
        let config = load_files(&[files, more].concat(), "").expect("valid");
        assert_eq!((config.get(PORT), config.get(HZ), config.get(TIMEOUT)), (3, 9, 4));
    }

    #[test]
    fn an_included_file_must_exist_unless_it_is_a_pattern() {
        assert!(load_text("include /none/*.conf").is_ok());
        assert_eq!(
            load_text("include /none"),
            Err("Fatal error, can't open config file '/none': No such file or directory".to_owned())
        );
    }

    #[test]
    fn a_mistake_in_an_included_file_names_that_file() {
        let error = load_files(&[("/main", "include /one"), ("/one", "\nhz x")], "").expect_err("refused");
        assert_eq!(error, block("2 of '/one'", "hz x", "argument couldn't be parsed into an integer"));
    }

    #[test]
    fn files_that_include_each_other_are_refused() {
        let error = load_files(&[("/main", "include /one"), ("/one", "include /main")], "");
        assert!(error.expect_err("refused").contains("Too many files include each other"));
    }

    #[test]
    fn the_log_file_must_be_writable() {
        assert!(load_text("logfile /logs/a").is_ok());
        let error = load_text("logfile /elsewhere").expect_err("refused");
        assert!(error.ends_with("Can't open the log file: Permission denied"), "{error}");
    }

    #[test]
    fn directives_that_are_not_parameters_are_kept() {
        let config = load_text("rename-command FLUSHALL \"\"\nuser a on >p\nlua-replicate-commands yes");
        let directives = config.expect("valid").directives;
        assert_eq!(directives.renamed_commands.len(), 1);
        assert!(directives.renamed_commands[0].to.is_empty());
        assert_eq!(directives.users[0].len(), 3);
    }

    proptest! {
        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let source = Source { file: None, stdin: false, options: text };
            let _ = load(&source, &mut FakeFiles::default());
        }

        #[test]
        fn no_value_panics(place in 0..TABLE.len(), value in "[-0-9a-z%. ]{0,12}") {
            let options = format!("{} {value}", TABLE[place].name).into_bytes();
            let _ = load(&Source { file: None, stdin: false, options }, &mut FakeFiles::default());
        }
    }
}
