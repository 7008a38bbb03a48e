//! Whatever the bytes: they are refused, or every walk through them ends where the other one does.

use bolero::check;
use pinion::types::encoding::listpack::{Entry, Listpack, validate};

#[test]
fn bytes_from_outside() {
    check!().with_iterations(5_000).for_each(|input: &[u8]| {
        // As they are, and once more behind a header that is right, so that more of them get further.
        let mut framed = vec![0; 6];
        framed.extend_from_slice(input);
        framed.push(0xff);
        let length = framed.len() as u32;
        framed[..4].copy_from_slice(&length.to_le_bytes());
        framed[4..6].copy_from_slice(&[0xff, 0xff]);
        for bytes in [input, &framed] {
            let Ok(pack) = Listpack::from_bytes(bytes) else { continue };
            assert_eq!(pack.as_bytes(), bytes);
            let forward: Vec<Entry<'_>> = pack.iter().collect();
            let mut backward: Vec<Entry<'_>> = pack.iter().rev().collect();
            backward.reverse();
            assert_eq!(forward, backward);
            assert_eq!(validate(bytes), Ok(forward.len()));
            for (index, entry) in forward.iter().enumerate() {
                assert_eq!(pack.get(index as i64), Some(*entry));
            }
        }
    });
}

/// Entries that are written are read back, and the bytes pass.
#[test]
fn what_is_written_passes() {
    check!().with_iterations(2_000).for_each(|input: &[u8]| {
        let mut pack = Listpack::new();
        let texts: Vec<&[u8]> = input.split(|byte| *byte == 0).collect();
        pack.extend(texts.iter().copied());
        assert_eq!(validate(pack.as_bytes()), Ok(texts.len()));
        let read: Vec<Vec<u8>> = pack.iter().map(Entry::to_vec).collect();
        assert_eq!(read, texts);
    });
}
