//! What a core lends while it is in the kernel: its shard, with the shard's part of the append-only file.
//!
//! They go together, so that a borrower can also write down what it has done, and nobody has to come here for that.

use crate::persistence::aof::appender::Appender;
use crate::shard::Shard;
use std::ops::{Deref, DerefMut};

pub struct Partition {
    shard: Shard,
    pub appender: Appender,
}

impl Partition {
    pub fn new(shard: Shard, appender: Appender) -> Self {
        Self { shard, appender }
    }

    /// Both, to be changed together.
    pub fn parts(&mut self) -> (&mut Shard, &mut Appender) {
        (&mut self.shard, &mut self.appender)
    }

    /// Hands the log what the journal has, if that is to be written now, or `all` is to be.
    pub fn collect(&mut self, all: bool, now_ms: u64) {
        self.appender.collect(&mut self.shard.effects.journal, all, now_ms);
    }
}

/// Nearly everything is about the shard.
impl Deref for Partition {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for Partition {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}
