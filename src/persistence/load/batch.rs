//! What a feeder has found for one core: commands or entries in order, as places in a piece of the file that all
//! batches of the piece share. Nothing is copied that lies whole in the piece.

use crate::command_table::{Command, ShardHandler};
use crate::resp::{ArgRange, Argv};
use std::sync::Arc;

/// Bytes read from a file at once, from then on unchanged.
pub type Piece = Arc<Vec<u8>>;

/// Which time a replayed command sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clock {
    /// The beginning of all time: nothing has expired, for what a command did to a key that has expired since
    /// has happened.
    Past,
    /// The present, for deadlines that are relative to it. No journal has them; files made by hand may.
    Present,
}

/// Commands for one shard.
#[derive(Default)]
pub struct CommandBatch {
    /// What the items' places lie in, unless they are in `copied`.
    pub piece: Piece,
    copied: Vec<u8>,
    items: Vec<CommandItem>,
    ranges: Vec<ArgRange>,
    /// Bytes of the file that this batch stands for.
    pub weight: u64,
}

#[derive(Clone, Copy)]
pub struct CommandItem {
    pub command: Command,
    pub run: ShardHandler,
    pub db: u32,
    pub clock: Clock,
    copied: bool,
    start: usize,
    first_range: usize,
    count: usize,
    /// Where in the file the command stands.
    pub offset: u64,
}

/// What a command needs besides its arguments.
#[derive(Clone, Copy)]
pub struct CommandOrder {
    pub command: Command,
    pub run: ShardHandler,
    pub db: usize,
    pub clock: Clock,
    pub offset: u64,
}

impl CommandBatch {
    /// A command whose arguments lie in the piece at `start`.
    pub fn push_placed(&mut self, order: CommandOrder, start: usize, ranges: &[ArgRange]) {
        let first_range = self.ranges.len();
        self.ranges.extend_from_slice(ranges);
        self.push(order, false, start, first_range);
    }

    pub fn push_copied<'a>(&mut self, order: CommandOrder, arguments: impl Iterator<Item = &'a [u8]>) {
        let (start, first_range) = (self.copied.len(), self.ranges.len());
        for argument in arguments {
            self.ranges.push(ArgRange::new(self.copied.len() - start, argument.len()));
            self.copied.extend_from_slice(argument);
        }
        self.push(order, true, start, first_range);
    }

    fn push(&mut self, order: CommandOrder, copied: bool, start: usize, first_range: usize) {
        let CommandOrder { command, run, db, clock, offset } = order;
        let count = self.ranges.len() - first_range;
        let item =
            CommandItem { command, run, db: db as u32, clock, copied, start, first_range, count, offset };
        self.items.push(item);
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that are kept besides the piece.
    pub fn copied_bytes(&self) -> usize {
        self.copied.len()
    }

    pub fn items(&self) -> &[CommandItem] {
        &self.items
    }

    #[inline]
    pub fn argv(&self, item: &CommandItem) -> Argv<'_> {
        let bytes = if item.copied { self.copied.as_slice() } else { self.piece.as_slice() };
        Argv::new(&bytes[item.start..], &self.ranges[item.first_range..item.first_range + item.count])
    }
}
