//! LZF, the compression of strings in Redis' files: no entropy coding, so it is cheap both ways.
//!
//! ```text
//! 000n nnnn                       n + 1 bytes follow as they are (1 to 32)
//! lllo oooo  oooo oooo            copy l + 2 bytes (3 to 8) from o + 1 bytes back
//! 111o oooo  llll llll  oooo oooo copy l + 9 bytes (9 to 264) from o + 1 bytes back
//! ```
//! A copy may reach into what it is about to write: that is how runs are packed.

const LITERALS_MAX: usize = 32;
const COPY_MIN: usize = 3;
const COPY_MAX: usize = 264;
const DISTANCE_MAX: usize = 1 << 13;
/// The three bytes of the longest copy.
const LONG_COPY_BYTES: usize = 3;

/// Bytes without a copy after which every second position is tried, then every third…
const PATIENCE_BYTES: usize = 32;

/// Why bytes could not be unpacked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damaged;

/// Appends `input` packed to `out` if that takes at most `bytes_max` bytes; else appends nothing and returns false.
pub fn compress(input: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let limit = start + bytes_max;
    // Clearing the table is most of the work for short texts, so that they get a short one.
    let packed = match input.len() {
        length if length < COPY_MIN => false,
        length if length < 512 => pack::<256, 8>(input, limit, out),
        length if length < 8192 => pack::<2048, 11>(input, limit, out),
        _ => pack::<16384, 14>(input, limit, out),
    };
    if !packed {
        out.truncate(start);
    }
    packed
}

/// `SLOTS` places, found by `BITS` bits of a hash of three bytes, where those bytes were last seen.
fn pack<const SLOTS: usize, const BITS: u32>(input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    const { assert!(SLOTS == 1 << BITS) };
    // Positions without their high bits: they are hints, and what they hint at is compared.
    let mut seen = [0_u16; SLOTS];
    let (mut at, mut literals) = (0, 0);
    while let Some(bytes) = three_bytes(input, at) {
        let slot = slot_of::<BITS>(bytes);
        let distance = usize::from((at as u16).wrapping_sub(seen[slot]));
        seen[slot] = at as u16;
        let source = at.wrapping_sub(distance);
        let is_hint = (1..=DISTANCE_MAX).contains(&distance) && source < at;
        if !is_hint || three_bytes(input, source) != Some(bytes) {
            // The longer nothing repeats, the less is looked for.
            at += 1 + (at - literals) / PATIENCE_BYTES;
            continue;
        }
        let end = input.len().min(at + COPY_MAX);
        let both = input[source + COPY_MIN..].iter().zip(&input[at + COPY_MIN..end]);
        let length = COPY_MIN + both.take_while(|(one, other)| one == other).count();
        if !put_literals(&input[literals..at], limit, out) || out.len() + LONG_COPY_BYTES > limit {
            return false;
        }
        put_copy(length, distance - 1, out);
        // The bytes within are worth remembering only near the end: that is where the next copy begins.
        let end = at + length;
        for inside in end - 2..end {
            if let Some(bytes) = three_bytes(input, inside) {
                seen[slot_of::<BITS>(bytes)] = inside as u16;
            }
        }
        at = end;
        literals = end;
    }
    put_literals(&input[literals..], limit, out)
}

/// The bytes at a position, if a fourth follows them: one load.
#[inline]
fn three_bytes(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes) & 0x00ff_ffff)
}

#[inline]
fn slot_of<const BITS: u32>(bytes: u32) -> usize {
    (bytes.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BITS)) as usize
}

fn put_literals(literals: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    if out.len() + literals.len() + literals.len().div_ceil(LITERALS_MAX) > limit {
        return false;
    }
    for run in literals.chunks(LITERALS_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
    true
}

fn put_copy(length: usize, distance: usize, out: &mut Vec<u8>) {
    let (high, low) = ((distance >> 8) as u8, distance as u8);
    match length - 2 {
        short @ ..7 => out.extend_from_slice(&[(short as u8) << 5 | high, low]),
        long => out.extend_from_slice(&[7 << 5 | high, (long - 7) as u8, low]),
    }
}

/// Unpacks `input`, which must come to exactly `length` bytes. Reserves no more than the input could fill.
pub fn decompress(input: &[u8], length: usize) -> Result<Vec<u8>, Damaged> {
    if length / COPY_MAX > input.len() / LONG_COPY_BYTES {
        return Err(Damaged);
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = input;
    while let Some((&control, behind)) = rest.split_first() {
        rest = behind;
        let control = usize::from(control);
        if control < LITERALS_MAX {
            let (run, behind) = rest.split_at_checked(control + 1).ok_or(Damaged)?;
            rest = behind;
            if run.len() > length - out.len() {
                return Err(Damaged);
            }
            out.extend_from_slice(run);
            continue;
        }
        let mut copied = control >> 5;
        if copied == 7 {
            let (&more, behind) = rest.split_first().ok_or(Damaged)?;
            copied += usize::from(more);
            rest = behind;
        }
        copied += 2;
        let (&low, behind) = rest.split_first().ok_or(Damaged)?;
        rest = behind;
        let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
        if copied > length - out.len() {
            return Err(Damaged);
        }
        let source = out.len().checked_sub(distance).ok_or(Damaged)?;
        if distance == 1 {
            let byte = out[source];
            out.resize(out.len() + copied, byte);
            continue;
        }
        // A copy that reaches its own output repeats itself: each round doubles what there is to copy.
        while copied > 0 {
            let piece = copied.min(out.len() - source);
            out.extend_from_within(source..source + piece);
            copied -= piece;
        }
    }
    if out.len() == length { Ok(out) } else { Err(Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(input: &[u8]) -> Option<Vec<u8>> {
        let mut out = b"before".to_vec();
        let done = compress(input, input.len(), &mut out);
        assert!(out.starts_with(b"before"));
        assert_eq!(done, out.len() > 6 || done && input.is_empty());
        done.then(|| out[6..].to_vec())
    }

    #[test]
    fn examples_by_hand() {
        assert_eq!(decompress(b"\x02abc", 3).as_deref(), Ok(&b"abc"[..]));
        // A literal, then a copy of seven bytes from one byte back: a run.
        assert_eq!(decompress(b"\x00a\xa0\x00", 8).as_deref(), Ok(&b"aaaaaaaa"[..]));
        // The longest copy.
        assert_eq!(decompress(b"\x00a\xe0\xff\x00", 265), Ok(vec![b'a'; 265]));
        assert_eq!(decompress(b"", 0), Ok(vec![]));
        for (damaged, length) in [
            (&b"\x02ab"[..], 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x00a\xa0\x01", 8),
            (b"\x00a\xa0", 8),
            (b"\x00a\xe0", 8),
            (b"\x00a\xe0\xff", 8),
            (b"\x20\x00", 3),
            (b"", 1),
            (b"\x00a\xe0\xff\x00", usize::MAX),
        ] {
            assert_eq!(decompress(damaged, length), Err(Damaged), "{damaged:?}");
        }
    }

    #[test]
    fn what_repeats_is_packed() {
        let text = b"{\"user\":1,\"name\":\"x\"},".repeat(40);
        assert!(packed(&text).expect("it repeats").len() < 60);
        assert!(packed(&[0; 100_000]).expect("it repeats").len() < 1200);
        assert_eq!(packed(b"abcdefghijklmnopqrstuvwxyz"), None);
        assert_eq!(packed(b""), None);
    }

    proptest! {
        #[test]
        fn there_and_back(
            pieces in proptest::collection::vec((0_u8..4, 1_usize..300, any::<u8>()), 0..80),
        ) {
            let mut input = Vec::new();
            for (kind, length, byte) in pieces {
                match kind {
                    0 => input.extend(std::iter::repeat_n(byte, length)),
                    1 => input.extend((0..length).map(|at| (at as u8).wrapping_mul(byte | 1))),
                    2 => input.extend_from_slice(b"something said before"),
                    _ => input.extend_from_within(input.len() / 2..),
                }
                input.truncate(40_000);
            }
            if let Some(packed) = packed(&input) {
                prop_assert!(packed.len() <= input.len());
                prop_assert_eq!(decompress(&packed, input.len()), Ok(input));
            }
        }

        #[test]
        fn the_limit_holds(text in "[ab]{0,200}", limit in 0_usize..200) {
            let mut out = Vec::new();
            let done = compress(text.as_bytes(), limit, &mut out);
            prop_assert!(out.len() <= limit);
            prop_assert_eq!(done, !out.is_empty());
        }
    }
}
