//! The memory of one table's segments, packed without holes.
//!
//! All segments of a table grow at about the same time, so that spans full of one size would empty slowly,
//! each waiting for its last straggler; measured, that cost 5 bytes per key. A segment is referred to
//! only by its table's directory, so it can move: whenever one is freed, the last one of its size takes
//! its place.
//!
//! Invariants
//!   P1  The segments of one size are numbered from 0 without gaps; number `i` lies in span `i / per_span`.
//!   P2  `owners[i]` is the hash prefix of segment `i`, by which the directory finds it at any depth.
//!   P3  A span's note is its index in `spans`.

use super::group::Bucket;
use super::slab::{SPAN_LINES, Slab, span_start};
use std::ptr::NonNull;
use std::rc::Rc;

const BUCKET_BYTES: usize = size_of::<Bucket>();

/// Smaller segments come from the slab, as entries do; so do larger ones, which only bad hashes make.
const POOLED: std::ops::RangeInclusive<usize> = 17..=146;

pub(super) struct SegmentPool {
    slab: Rc<Slab>,
    sizes: Vec<Size>,
}

/// The segments of `n` buckets.
struct Size {
    n: usize,
    per_span: usize,
    spans: Vec<NonNull<u8>>,
    owners: Vec<u64>,
}

/// A segment that took the place of a freed one.
pub(super) struct Moved {
    pub prefix: u64,
    pub from: NonNull<Bucket>,
    pub to: NonNull<Bucket>,
}

impl Size {
    /// The address of segment number `index`.
    fn at(&self, index: usize) -> NonNull<Bucket> {
        let offset = (1 + index % self.per_span * self.n) * BUCKET_BYTES;
        // SAFETY: P1, `per_span` segments of `n` lines fit behind the span's header line.
        unsafe { self.spans[index / self.per_span].add(offset).cast() }
    }
}

impl SegmentPool {
    pub fn new(slab: Rc<Slab>) -> Self {
        Self { slab, sizes: Vec::new() }
    }

    fn size(&mut self, n: usize) -> &mut Size {
        let known = self.sizes.iter().position(|size| size.n == n);
        let index = known.unwrap_or_else(|| {
            self.sizes.push(Size { n, per_span: SPAN_LINES / n, spans: Vec::new(), owners: Vec::new() });
            self.sizes.len() - 1
        });
        &mut self.sizes[index]
    }

    /// `n` empty buckets for the segment of the hashes that begin with `prefix`.
    pub fn allocate(&mut self, n: usize, prefix: u64) -> NonNull<Bucket> {
        let buckets = if POOLED.contains(&n) {
            let slab = Rc::clone(&self.slab);
            let size = self.size(n);
            let index = size.owners.len();
            if index == size.spans.len() * size.per_span {
                let span = slab.allocate_span(size.spans.len() as u32);
                size.spans.push(span);
            }
            size.owners.push(prefix);
            size.at(index)
        } else {
            self.slab.allocate(n * BUCKET_BYTES).cast()
        };
        for index in 0..n {
            // SAFETY: there is room for `n` buckets, aligned as they need it (S5).
            unsafe { buckets.add(index).write(Bucket::EMPTY) };
        }
        buckets
    }

    /// Frees the segment at `buckets`; another one may have moved there then.
    ///
    /// # Safety
    /// The segment came from this pool with this `n` and is freed once; nobody uses it any more.
    pub unsafe fn free(&mut self, buckets: NonNull<Bucket>, n: usize) -> Option<Moved> {
        if !POOLED.contains(&n) {
            // SAFETY: it came from the slab with this size.
            unsafe { self.slab.free(buckets.cast(), n * BUCKET_BYTES) };
            return None;
        }
        let slab = Rc::clone(&self.slab);
        let size = self.size(n);
        let span = span_start(buckets.cast());
        // SAFETY: P3, a pooled segment lies in a span of this pool.
        let span_index = unsafe { slab.span_note(span) } as usize;
        let line = (buckets.addr().get() - span.addr().get()) / BUCKET_BYTES;
        let index = span_index * size.per_span + (line - 1) / n;
        debug_assert_eq!(size.at(index), buckets, "P1");

        let last = size.owners.len() - 1;
        size.owners.swap_remove(index);
        let moved = (index < last).then(|| {
            let from = size.at(last);
            // SAFETY: two different segments of `n` buckets (P1).
            unsafe { from.copy_to_nonoverlapping(buckets, n) };
            Moved { prefix: size.owners[index], from, to: buckets }
        });
        if last.is_multiple_of(size.per_span) {
            let span = size.spans.pop().expect("it held the last segment");
            // SAFETY: it came from this slab, and its last segment is gone.
            unsafe { slab.free_span(span) };
        }
        moved
    }

    /// Frees a few spans of a pool whose segments are no longer used; false when none is left.
    pub fn free_slice(&mut self) -> bool {
        const SPANS: usize = 8;
        let Some(size) = self.sizes.last_mut() else { return false };
        size.owners.clear();
        for _ in 0..SPANS {
            let Some(span) = size.spans.pop() else {
                self.sizes.pop();
                break;
            };
            // SAFETY: it came from this slab, and the caller has given up its segments.
            unsafe { self.slab.free_span(span) };
        }
        true
    }

    /// Whether segments of this size go with the pool, or must be freed one by one.
    pub fn holds(n: usize) -> bool {
        POOLED.contains(&n)
    }
}

impl Drop for SegmentPool {
    fn drop(&mut self) {
        while self.free_slice() {}
    }
}
