//! A file of commands as Redis writes them: how far it is whole.

use crate::resp::{ArgRange, Argv, Limits, Progress, RequestParser};

/// What was found, up to the end or to the first thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandsReport {
    pub size: u64,
    /// Everything before is whole: commands, and transactions with their EXEC.
    pub valid: u64,
    pub problem: Option<String>,
}

/// Reads a file of commands.
pub fn check_commands(file: &[u8]) -> CommandsReport {
    let limits = Limits { bulk_bytes_max: usize::MAX, authenticated: true };
    let mut parser = RequestParser::new();
    let mut ranges: Vec<ArgRange> = Vec::new();
    let (mut at, mut opened) = (0, None);
    let problem = loop {
        let rest = &file[at..];
        let consumed = match rest.first() {
            None => {
                break opened.map(|_| "the file ends inside a transaction (MULTI without EXEC)".to_owned());
            }
            Some(b'#') => match memchr::memchr(b'\n', rest) {
                Some(end) => end + 1,
                None => break Some("the last line is cut off".to_owned()),
            },
            Some(b'*') => match parser.parse(rest, &mut ranges, &limits) {
                Ok(Progress::Complete { consumed }) => {
                    let argv = Argv::new(rest, &ranges);
                    let is = |name: &[u8]| argv.len() == 1 && argv[0].eq_ignore_ascii_case(name);
                    if is(b"MULTI") {
                        if opened.is_some() {
                            break Some("MULTI inside of a transaction".to_owned());
                        }
                        opened = Some(at);
                    } else if is(b"EXEC") && opened.take().is_none() {
                        break Some("EXEC without MULTI".to_owned());
                    }
                    consumed
                }
                Ok(Progress::Incomplete { .. }) => break Some("the last command is cut off".to_owned()),
                Ok(_) => break Some("a command without a name".to_owned()),
                Err(error) => break Some(error.to_string()),
            },
            Some(byte) => break Some(format!("'*' was expected, and there is '{}'", byte.escape_ascii())),
        };
        at += consumed;
    };
    CommandsReport { size: file.len() as u64, valid: opened.unwrap_or(at) as u64, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (u64, Option<String>) {
        let report = check_commands(text.as_bytes());
        (report.valid, report.problem)
    }

    #[test]
    fn what_is_whole_counts() {
        let set = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n";
        let (multi, exec) = ("*1\r\n$5\r\nMULTI\r\n", "*1\r\n$4\r\nEXEC\r\n");
        let whole = format!("{set}#TS:1\r\n{multi}{set}{exec}");
        assert_eq!(check(&whole), (whole.len() as u64, None));
        let before = set.len() as u64;
        for (cut, valid) in [
            (format!("{set}{set}x"), 2 * before),
            (format!("{set}{multi}{set}"), before),
            (format!("{set}{multi}{multi}"), before),
            (format!("{set}{exec}"), before),
            (format!("{set}*3\r\n$3\r\nSET\r\n"), before),
            (format!("{set}*0\r\n"), before),
            (format!("{set}#TS"), before),
        ] {
            let (found, problem) = check(&cut);
            assert_eq!((found, problem.is_some()), (valid, true), "{cut:?}");
        }
    }
}
