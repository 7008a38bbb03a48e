//! Reads a command's arguments from left to right, with the errors Redis would give.

use crate::base::number::parse_i64;
use crate::resp::Argv;
use crate::shard::CommandError;

/// A cursor over the arguments; starts after the command's name.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    argv: Argv<'a>,
    next: usize,
}

impl<'a> Args<'a> {
    /// `names` is 1 for a command, 2 for a subcommand. The arity has been checked.
    pub fn new(argv: Argv<'a>, names: usize) -> Self {
        Self { argv, next: names }
    }

    /// All of the request, with the name.
    pub fn argv(&self) -> Argv<'a> {
        self.argv
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(CommandError::Syntax)
    }

    pub fn integer(&mut self) -> Result<i64, CommandError> {
        parse_i64(self.bytes()?).ok_or(CommandError::NotAnInteger)
    }

    /// The next argument as an integer within bounds, else the error that Redis gives for its range.
    pub fn integer_in(&mut self, low: i64, high: i64, error: CommandError) -> Result<i64, CommandError> {
        let value = parse_i64(self.bytes()?).ok_or(CommandError::NotAnInteger)?;
        if (low..=high).contains(&value) { Ok(value) } else { Err(error) }
    }

    /// The next argument without taking it.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.argv.get(self.next)
    }

    /// Consumes the next argument if it is this option's name.
    pub fn option(&mut self, name: &str) -> bool {
        let found = self.peek().is_some_and(|arg| arg.eq_ignore_ascii_case(name.as_bytes()));
        self.next += usize::from(found);
        found
    }

    pub fn remaining(&self) -> usize {
        self.argv.len() - self.next
    }

    /// A syntax error if anything is left.
    pub fn end(&self) -> Result<(), CommandError> {
        if self.remaining() == 0 { Ok(()) } else { Err(CommandError::Syntax) }
    }
}

impl<'a> Iterator for Args<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let arg = self.peek()?;
        self.next += 1;
        Some(arg)
    }
}
