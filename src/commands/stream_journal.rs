//! What the commands of groups say to the journal: a delivery depends on the moment and on what others have read, so
//! that it is journalled as what has come of it, in Redis's own terms: XCLAIM makes an entry pending as it is, XGROUP
//! SETID says how far the group has read.

use crate::shard::Context;
use crate::types::StreamId;
use crate::types::stream::{Group, IdBuffer, Pending};

/// What a command has done to a group, for the journal; empty while there is none.
#[derive(Default)]
pub(super) struct GroupChanges {
    on: bool,
    consumer_made: bool,
    claimed: Vec<(StreamId, Pending)>,
    forgotten: Vec<StreamId>,
    progress: Option<(StreamId, Option<u64>)>,
}

impl GroupChanges {
    pub fn new(ctx: &Context<'_>) -> Self {
        Self { on: ctx.journals(), ..Self::default() }
    }

    pub fn made_consumer(&mut self) {
        self.consumer_made = true;
    }

    /// An entry is pending as it is now.
    pub fn claimed(&mut self, group: &Group, id: StreamId) {
        if self.on
            && let Some(pending) = group.pending_of(id)
        {
            self.claimed.push((id, *pending));
        }
    }

    /// An entry was found to be gone and is pending no more.
    pub fn forgot(&mut self, id: StreamId) {
        if self.on {
            self.forgotten.push(id);
        }
    }

    /// The group has read as far as it has now.
    pub fn went_on(&mut self, group: &Group) {
        self.progress = Some((group.last_id, group.entries_read));
    }

    pub fn propagate(self, ctx: &mut Context<'_>, key: &[u8], group: &[u8], consumer: &[u8]) {
        if !self.on {
            return;
        }
        if self.consumer_made {
            ctx.propagate(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
        }
        let mut buffer = IdBuffer::new();
        for (id, pending) in &self.claimed {
            let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
            ctx.propagate(&[
                b"XCLAIM",
                key,
                group,
                consumer,
                b"0",
                id.write(&mut buffer),
                b"TIME",
                time.format(pending.delivered.0).as_bytes(),
                b"RETRYCOUNT",
                count.format(pending.deliveries as i64).as_bytes(),
                b"FORCE",
                b"JUSTID",
            ]);
        }
        for id in &self.forgotten {
            ctx.propagate(&[b"XACK", key, group, id.write(&mut buffer)]);
        }
        if let Some((last_id, entries_read)) = self.progress {
            let mut count = itoa::Buffer::new();
            let count = count.format(entries_read.map_or(-1, |count| count as i64));
            let last_id = last_id.write(&mut buffer);
            ctx.propagate(&[b"XGROUP", b"SETID", key, group, last_id, b"ENTRIESREAD", count.as_bytes()]);
        }
    }
}
