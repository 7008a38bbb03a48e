//! The command line as Redis reads it: `[/path/to/redis.conf] [-] [--name value ...]...`.
//!
//! Options become lines that follow the file's, so that they win over it: `--port 7000 --bind a b` is
//! `port "7000"` and `bind "a" "b"`.
//!
//! Rules
//!   L1  A first argument without a leading dash is a configuration file.
//!   L2  `-` as the first or the last argument reads more lines from the standard input.
//!   L3  An argument with two dashes names a parameter unless it directly follows a bare name: that
//!       one's value may look like anything. `--save` alone is an exception and means `save ""`.
//!   L4  `"--port 7000"` as one argument holds name and value.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::quoting::{append_quoted, split_words};

/// Where the configuration comes from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Source {
    pub file: Option<PathBuf>,
    pub stdin: bool,
    /// Lines that follow those of the file and of the standard input.
    pub options: Vec<u8>,
}

/// What an argument is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    File,
    Stdin,
    Name,
    Value,
}

/// Tells what each argument is (the program's own name is not among them).
pub fn roles(arguments: &[OsString]) -> Vec<Role> {
    let last = arguments.len().saturating_sub(1);
    let mut roles = Vec::with_capacity(arguments.len());
    let mut name_is_bare = false;
    for (at, argument) in arguments.iter().enumerate() {
        let text = argument.as_bytes();
        let role = match text {
            b"-" if at == 0 || at == last => Role::Stdin,
            [b'-', b'-', ..] if !name_is_bare => Role::Name,
            [b'-', ..] => Role::Value,
            _ if at == 0 => Role::File,
            _ => Role::Value,
        };
        name_is_bare = role == Role::Name && is_bare(text) && !is_lone_save(arguments, at);
        roles.push(role);
    }
    roles
}

/// Whether the argument holds a name only, and so waits for a value.
fn is_bare(argument: &[u8]) -> bool {
    split_words(argument).is_some_and(|words| words.len() == 1)
}

/// `--save` with nothing behind it, which scripts produce from an empty list of save points.
fn is_lone_save(arguments: &[OsString], at: usize) -> bool {
    let next = arguments.get(at + 1).map(|next| next.as_bytes());
    arguments[at].as_bytes().eq_ignore_ascii_case(b"--save")
        && next.is_none_or(|next| next.starts_with(b"--"))
}

/// Reads the arguments behind the program's name.
pub fn read(arguments: &[OsString]) -> Source {
    let mut source = Source::default();
    for (at, (argument, role)) in arguments.iter().zip(roles(arguments)).enumerate() {
        let text = argument.as_bytes();
        match role {
            Role::File => source.file = Some(argument.into()),
            Role::Stdin => source.stdin = true,
            Role::Name => {
                if !source.options.is_empty() {
                    source.options.push(b'\n');
                }
                source.options.extend(&text[2..]);
                source.options.push(b' ');
                if is_lone_save(arguments, at) {
                    source.options.extend(b"\"\"");
                }
            }
            Role::Value => {
                append_quoted(&mut source.options, text);
                source.options.push(b' ');
            }
        }
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let options = String::from_utf8(read(&arguments).options).expect("test options are UTF-8");
        options.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    fn source(arguments: &[&str]) -> (Option<String>, bool) {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let source = read(&arguments);
        (source.file.map(|path| path.display().to_string()), source.stdin)
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(
            lines(&["--port", "7000", "--save", "60", "1", "--bind", "a", "b"]),
            [r#"port "7000""#, r#"save "60" "1""#, r#"bind "a" "b""#]
        );
        assert_eq!(lines(&["/etc/redis.conf", "--port", "7000"]), [r#"port "7000""#]);
        assert_eq!(lines(&["--port 7000", "--hz 5"]), ["port 7000", "hz 5"]);
        assert_eq!(lines(&["--requirepass", "a \"b"]), [r#"requirepass "a \"b""#]);
        assert_eq!(lines(&[]), [""; 0]);
    }

    #[test]
    fn the_value_of_a_bare_name_may_look_like_a_name() {
        assert_eq!(
            lines(&["--requirepass", "--secret", "--port", "1"]),
            [r#"requirepass "--secret""#, r#"port "1""#]
        );
    }

    #[test]
    fn a_lone_save_disables_saving() {
        assert_eq!(lines(&["--save", "--port", "1"]), [r#"save """#, r#"port "1""#]);
        assert_eq!(lines(&["--port", "1", "--save"]), [r#"port "1""#, r#"save """#]);
        assert_eq!(lines(&["--save", "", "--port", "1"]), [r#"save """#, r#"port "1""#]);
    }

    #[test]
    fn a_file_comes_first_and_a_dash_first_or_last() {
        assert_eq!(source(&["a.conf"]), (Some("a.conf".to_owned()), false));
        assert_eq!(source(&["a.conf", "--port", "1", "-"]), (Some("a.conf".to_owned()), true));
        assert_eq!(source(&["-", "--port", "1"]), (None, true));
        assert_eq!(source(&["--requirepass", "-", "--port", "1"]), (None, false));
        assert_eq!(source(&["--port", "1"]), (None, false));
    }
}
