//! Where a command's keys are among its arguments, and what the command does to them. The model is
//! that of Redis 7's key specifications (<https://redis.io/docs/latest/develop/reference/key-specs/>).

use crate::base::number::parse_i64;
use crate::resp::Argv;

#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub begin: Begin,
    pub find: Find,
    pub access: Access,
    /// What happens to the key, as COMMAND INFO spells it: `access`, `update`, `insert`, `delete`.
    pub effects: &'static [&'static str],
}

/// Where the search begins.
#[derive(Clone, Copy, Debug)]
pub enum Begin {
    /// The argument at this position; the command's name is 0.
    Index(usize),
    /// After this word; searched from a position, backwards from the end if that is negative.
    Keyword(&'static str, i64),
    /// Where the command itself says; COMMAND INFO calls it unknown and gives this note.
    Unknown { note: &'static str, reach: fn(Argv<'_>) -> Reach },
}

/// What the keys of a [`Begin::Unknown`] are in one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    Nothing,
    /// The argument at this position.
    At(usize),
    /// Keys that follow from data (BY and GET of SORT).
    Anywhere,
}

/// Which arguments are keys, from there on.
#[derive(Clone, Copy, Debug)]
pub enum Find {
    /// Every `step`-th up to `last`, which is relative to the beginning, or to the end if negative.
    Range { last: i64, step: usize },
    /// A count, then as many keys right after it (EVAL, ZUNION).
    Counted,
    /// A count, then as many pairs of a key and a value (MSETEX).
    CountedPairs,
    /// The first half of what follows the word (XREAD). An option's value may look like the word: where it
    /// stands this function says.
    FirstHalf(fn(Argv<'_>) -> Option<usize>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Reads it: `RO`.
    Read,
    /// Reads it and notes that it was read (XREADGROUP): `RO` to COMMAND INFO, all the same.
    Consume,
    /// Reads and changes it: `RW`.
    Update,
    /// Replaces it without looking: `OW`.
    Overwrite,
    /// Deletes it: `RM`.
    Remove,
}

impl Access {
    pub fn flag(self) -> &'static str {
        match self {
            Self::Read | Self::Consume => "RO",
            Self::Update => "RW",
            Self::Overwrite => "OW",
            Self::Remove => "RM",
        }
    }

    pub fn modifies(self) -> bool {
        self != Self::Read
    }
}

impl KeySpec {
    /// One key at a fixed position.
    pub const fn at(position: usize, access: Access, effects: &'static [&'static str]) -> Self {
        let (begin, find) = (Begin::Index(position), Find::Range { last: 0, step: 1 });
        Self { begin, find, access, effects }
    }

    /// Every `step`-th argument from `first` to the end.
    pub const fn from(first: usize, step: usize, access: Access, effects: &'static [&'static str]) -> Self {
        let (begin, find) = (Begin::Index(first), Find::Range { last: -1, step });
        Self { begin, find, access, effects }
    }

    /// Every `step`-th argument from `first` on, up to `last` further on.
    pub const fn range(
        first: usize,
        last: i64,
        step: usize,
        access: Access,
        effects: &'static [&'static str],
    ) -> Self {
        Self { begin: Begin::Index(first), find: Find::Range { last, step }, access, effects }
    }

    /// A count at `position`, then as many keys.
    pub const fn counted(position: usize, access: Access, effects: &'static [&'static str]) -> Self {
        Self { begin: Begin::Index(position), find: Find::Counted, access, effects }
    }

    /// A key in a place, or from data, that only the command can tell.
    pub const fn unknown(
        note: &'static str,
        reach: fn(Argv<'_>) -> Reach,
        access: Access,
        effects: &'static [&'static str],
    ) -> Self {
        let (begin, find) = (Begin::Unknown { note, reach }, Find::Range { last: 0, step: 1 });
        Self { begin, find, access, effects }
    }

    /// Whether the command may look at any key at all.
    pub fn reaches_anywhere(&self, argv: Argv<'_>) -> bool {
        matches!(self.begin, Begin::Unknown { reach, .. } if reach(argv) == Reach::Anywhere)
    }

    /// Calls `found` with the position of each key in `argv`; `None` where the arguments do not have
    /// the shape that the declaration expects.
    pub fn each(&self, argv: Argv<'_>, mut found: impl FnMut(usize)) -> Option<()> {
        if let Begin::Unknown { reach, .. } = self.begin {
            if let Reach::At(position) = reach(argv) {
                found(position);
            }
            return Some(());
        }
        if let Find::FirstHalf(word) = self.find {
            // Where the options make no sense the word is searched for, as its specification says.
            let begin = word(argv).map(|index| index + 1).or_else(|| self.begin.position(argv))?;
            let keys = argv.len().checked_sub(begin).map(|count| count / 2).filter(|keys| *keys > 0)?;
            (begin..begin + keys).for_each(found);
            return Some(());
        }
        let begin = self.begin.position(argv)?;
        match self.find {
            Find::FirstHalf(_) => unreachable!("done above"),
            Find::Range { last, step } => {
                let last = if last < 0 { argv.len() as i64 + last } else { begin as i64 + last };
                let last = usize::try_from(last).ok()?;
                if begin >= argv.len() || last >= argv.len() || last < begin {
                    return None;
                }
                (begin..=last).step_by(step).for_each(found);
            }
            Find::Counted | Find::CountedPairs => {
                let step = if matches!(self.find, Find::CountedPairs) { 2 } else { 1 };
                if begin >= argv.len() {
                    return None;
                }
                let count = usize::try_from(parse_i64(argv.get(begin)?)?).ok()?;
                let end = begin.checked_add(1)?.checked_add(count.checked_mul(step)?)?;
                if end > argv.len() {
                    return None;
                }
                (begin + 1..end).step_by(step).for_each(&mut found);
            }
        }
        Some(())
    }

    /// First position and step of keys that repeat to the last argument.
    pub const fn stride(&self) -> Option<(usize, usize)> {
        match (self.begin, self.find) {
            (Begin::Index(first), Find::Range { last: -1, step }) => Some((first, step)),
            _ => None,
        }
    }

    /// Whether this is one key at position 1, the shape of most commands.
    pub const fn is_first_argument(&self) -> bool {
        matches!(self.begin, Begin::Index(1)) && matches!(self.find, Find::Range { last: 0, .. })
    }
}

impl Begin {
    fn position(self, argv: Argv<'_>) -> Option<usize> {
        match self {
            Self::Index(position) => Some(position),
            Self::Unknown { .. } => None,
            Self::Keyword(word, from) => {
                let matches = |index: &usize| {
                    argv.get(*index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
                };
                let found = if from >= 0 {
                    (from as usize..argv.len()).find(matches)
                } else {
                    let last = usize::try_from(argv.len() as i64 + from).ok()?;
                    (1..=last).rev().find(matches)
                };
                found.map(|index| index + 1)
            }
        }
    }
}
