//! A stream from what a dump holds, checked piece by piece.

use super::{ConsumerId, Group, Log, LogHeader, Pending, Stream, StreamId};
use crate::base::UnixMillis;
use crate::types::encoding::Listpack;
use crate::types::encoding::listpack::Damaged;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub struct StreamBuilder {
    stream: Stream,
}

/// A group on its way in. A dump tells what is pending before it tells of whom.
#[derive(Debug)]
pub struct GroupBuilder {
    group: Group,
    unowned: BTreeMap<StreamId, (UnixMillis, u64)>,
}

impl StreamBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// The next node; they come in order.
    pub fn node(&mut self, id: StreamId, pack: Listpack) -> Result<(), Damaged> {
        self.stream.log.push_node(id, pack).map(drop)
    }

    /// After the nodes. What older dumps do not tell (`first_id`, `max_deleted_id`, `entries_added`) the caller
    /// sets as Redis does: to [`StreamBuilder::first_id`], zero and the length.
    pub fn header(&mut self, header: LogHeader) -> Result<(), Damaged> {
        self.stream.log.set_header(header)
    }

    pub fn log(&self) -> &Log {
        &self.stream.log
    }

    /// The first entry of the nodes so far.
    pub fn first_id(&self) -> StreamId {
        self.stream.log.first().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// A group, complete.
    pub fn group(&mut self, name: &[u8], group: GroupBuilder) -> Result<(), Damaged> {
        if !group.unowned.is_empty() || !self.stream.create_group(name, group.group) {
            return Err(Damaged);
        }
        Ok(())
    }

    pub fn finish(self) -> Box<Stream> {
        Box::new(self.stream)
    }
}

impl GroupBuilder {
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Self {
        Self { group: Group::new(last_id, entries_read), unowned: BTreeMap::new() }
    }

    pub fn pending(&mut self, id: StreamId, delivered: UnixMillis, deliveries: u64) -> Result<(), Damaged> {
        match self.unowned.insert(id, (delivered, deliveries)) {
            None => Ok(()),
            Some(_) => Err(Damaged),
        }
    }

    pub fn consumer(
        &mut self,
        name: &[u8],
        seen: UnixMillis,
        active: Option<UnixMillis>,
    ) -> Result<ConsumerId, Damaged> {
        if self.group.find(name).is_some() {
            return Err(Damaged);
        }
        let id = self.group.create(name, seen);
        self.group.consumer_mut(id).active = active;
        Ok(id)
    }

    /// A pending entry is this consumer's.
    pub fn owns(&mut self, consumer: ConsumerId, id: StreamId) -> Result<(), Damaged> {
        let (delivered, deliveries) = self.unowned.remove(&id).ok_or(Damaged)?;
        self.group.assign(id, Pending { consumer, delivered, deliveries });
        Ok(())
    }
}
