//! Elements of a collection as replies.

use crate::resp::Reply;
use crate::types::encoding::Entry;

pub(super) fn write_entry(reply: &mut Reply<'_>, entry: Entry<'_>) {
    match entry {
        Entry::Str(text) => reply.bulk(text),
        Entry::Int(value) => reply.bulk_integer(value),
    }
}

pub(super) fn write_value(reply: &mut Reply<'_>, value: Option<Entry<'_>>) {
    match value {
        Some(value) => write_entry(reply, value),
        None => reply.null(),
    }
}
