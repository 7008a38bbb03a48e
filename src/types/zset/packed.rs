//! A small sorted set: a listpack of members, each followed by its score.

use crate::base::double;
use crate::types::encoding::listpack::{Entry, Listpack};

/// Members and scores of a listpack.
pub(super) fn pairs(pack: &Listpack) -> impl Iterator<Item = (Entry<'_>, f64)> {
    let mut entries = pack.iter();
    std::iter::from_fn(move || {
        let member = entries.next()?;
        let score = entries.next().expect("a score follows its member");
        Some((member, score_of(score)))
    })
}

#[inline]
pub(super) fn score_at(pack: &Listpack, position: usize) -> f64 {
    score_of(pack.at(position))
}

#[inline]
fn score_of(entry: Entry<'_>) -> f64 {
    match entry {
        Entry::Int(score) => score as f64,
        Entry::Str(text) => double::parse_bound(text).unwrap_or(0.0),
    }
}

pub(super) fn push(pack: &mut Listpack, member: &[u8], score: f64) {
    let at = pack.insert(pack.end(), Entry::of(member));
    put_score(pack, at, score);
}

fn put_score(pack: &mut Listpack, at: usize, score: f64) {
    let mut text = Vec::with_capacity(24);
    // Among integers there is no negative zero.
    double::write_score(score + 0.0, &mut text);
    pack.insert(at, Entry::of(&text));
}

/// Adds a member that is not there, at its place.
pub(super) fn insert_packed(pack: &mut Listpack, member: &[u8], score: f64) {
    let mut scratch = itoa::Buffer::new();
    let mut position = pack.first();
    while let Some(at) = position {
        let score_position = pack.next(at).expect("a score follows its member");
        let other = score_at(pack, score_position);
        if other > score || other == score && pack.at(at).as_bytes(&mut scratch) > member {
            let at = pack.insert(at, Entry::of(member));
            return put_score(pack, at, score);
        }
        position = pack.next(score_position);
    }
    push(pack, member, score);
}
