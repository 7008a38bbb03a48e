//! What the commands of streams leave in the journal: ids instead of `*`, lengths instead of `~`, and what groups remember
//! as XCLAIM, XACK and XGROUP say it, with times that are times.

use crate::keyspace::ValueRef;
use crate::resp::{Argv, ArgvBuf};
use crate::shard::Context;
use crate::types::stream::{Bound, Group, IdBuffer, References, Stream, Trim};
use crate::types::{StreamId, Value};

/// The stream as the command has left it.
fn stream_at<'c>(ctx: &'c Context<'_>, key: &[u8]) -> Option<&'c Stream> {
    match ctx.shard.databases[ctx.db].find(key)?.value() {
        ValueRef::Boxed(Value::Stream(stream)) => Some(stream),
        _ => None,
    }
}

fn say(ctx: &mut Context<'_>, effects: &[ArgvBuf]) {
    effects.iter().for_each(|argv| ctx.propagate(&argv.as_argv().iter().collect::<Vec<&[u8]>>()));
}

fn push_id(argv: &mut ArgvBuf, id: StreamId) {
    argv.push(id.write(&mut IdBuffer::new()));
}

fn push_number(argv: &mut ArgvBuf, number: u64) {
    argv.push(itoa::Buffer::new().format(number).as_bytes());
}

/// How a trim is repeated exactly: an approximate one as the length that it has left.
fn push_trim(argv: &mut ArgvBuf, trim: Trim, references: References, length: u64) {
    match trim.bound {
        Bound::MinId(id) if !trim.approximate => {
            argv.push(b"MINID");
            argv.push(b"=");
            push_id(argv, id);
        }
        Bound::MaxLen(length) if !trim.approximate => {
            argv.push(b"MAXLEN");
            argv.push(b"=");
            push_number(argv, length);
        }
        _ => {
            argv.push(b"MAXLEN");
            argv.push(b"=");
            push_number(argv, length);
        }
    }
    match references {
        References::Keep => {}
        References::Delete => argv.push(b"DELREF"),
        References::Acked => argv.push(b"ACKED"),
    }
}

/// XADD with this id; the trim only if it has done something.
pub(super) fn added(
    ctx: &mut Context<'_>,
    key: &[u8],
    id: StreamId,
    fields: Argv<'_>,
    trim: Option<(Trim, References)>,
) {
    if !ctx.journals() {
        return;
    }
    let Some(stream) = stream_at(ctx, key) else { return };
    let mut argv = ArgvBuf::from_iter([&b"XADD"[..], key]);
    if let Some((trim, references)) = trim {
        push_trim(&mut argv, trim, references, stream.log().len());
    }
    push_id(&mut argv, id);
    fields.iter().for_each(|word| argv.push(word));
    say(ctx, &[argv]);
}

/// XTRIM that has done something.
pub(super) fn trimmed(ctx: &mut Context<'_>, key: &[u8], trim: Trim, references: References) {
    if !ctx.journals() {
        return;
    }
    let Some(stream) = stream_at(ctx, key) else { return };
    let mut argv = ArgvBuf::from_iter([&b"XTRIM"[..], key]);
    push_trim(&mut argv, trim, references, stream.log().len());
    say(ctx, &[argv]);
}

/// What a command has done to a group.
#[derive(Default)]
pub(super) struct GroupChange<'a> {
    pub new_consumer: Option<&'a [u8]>,
    /// They belong to somebody else now, or were given to the same one again.
    pub claimed: Vec<StreamId>,
    /// They are pending no more.
    pub forgotten: Vec<StreamId>,
    /// It goes on from another id.
    pub moved: bool,
}

pub(super) fn group_changed(ctx: &mut Context<'_>, key: &[u8], name: &[u8], change: &GroupChange<'_>) {
    if !ctx.journals() {
        return;
    }
    let Some(group) = stream_at(ctx, key).and_then(|stream| stream.group(name)) else { return };
    let mut effects: Vec<ArgvBuf> = Vec::new();
    if let Some(consumer) = change.new_consumer {
        effects.push([&b"XGROUP"[..], b"CREATECONSUMER", key, name, consumer].into_iter().collect());
    }
    claims(group, key, name, &change.claimed, &mut effects);
    if !change.forgotten.is_empty() {
        let mut argv = ArgvBuf::from_iter([&b"XACK"[..], key, name]);
        change.forgotten.iter().for_each(|id| push_id(&mut argv, *id));
        effects.push(argv);
    }
    if change.moved {
        let mut argv = ArgvBuf::from_iter([&b"XGROUP"[..], b"SETID", key, name]);
        push_id(&mut argv, group.last_id);
        argv.push(b"ENTRIESREAD");
        match group.entries_read {
            Some(count) => push_number(&mut argv, count),
            None => argv.push(b"-1"),
        }
        effects.push(argv);
    }
    if effects.is_empty() {
        ctx.propagate_nothing();
    }
    say(ctx, &effects);
}

/// As these entries are pending now, those together that are pending alike.
fn claims(group: &Group, key: &[u8], name: &[u8], ids: &[StreamId], effects: &mut Vec<ArgvBuf>) {
    let pending = |id: &StreamId| group.pending_of(*id).copied();
    for alike in ids.chunk_by(|one, other| pending(one) == pending(other)) {
        let Some(common) = pending(&alike[0]) else { continue };
        let consumer = group.consumer(common.consumer).name();
        let mut argv = ArgvBuf::from_iter([&b"XCLAIM"[..], key, name, consumer, b"0"]);
        alike.iter().for_each(|id| push_id(&mut argv, *id));
        argv.push(b"TIME");
        push_number(&mut argv, common.delivered.0);
        argv.push(b"RETRYCOUNT");
        push_number(&mut argv, common.deliveries);
        [&b"FORCE"[..], b"JUSTID", b"LASTID"].into_iter().for_each(|word| argv.push(word));
        push_id(&mut argv, group.last_id);
        effects.push(argv);
    }
}
