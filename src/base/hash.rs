//! Digests: SHA-1 names scripts, SHA-256 hides passwords; both shown as lowercase hexadecimal.
//!
//! SHA-1 is a name here and not a protection, so the few lines of it are our own.

use sha2::{Digest, Sha256};

/// SHA-256 in 64 hexadecimal digits, as ACL rules store passwords.
pub fn sha256_hex(bytes: &[u8]) -> [u8; 64] {
    hex(&Sha256::digest(bytes))
}

/// SHA-1 in 40 hexadecimal digits, as EVALSHA names scripts.
pub fn sha1_hex(bytes: &[u8]) -> [u8; 40] {
    hex(&sha1(bytes))
}

/// Are they equal? Takes the same time wherever they differ, so that a password cannot be guessed byte by byte.
pub fn equal_in_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().for_each(|block| sha1_block(&mut state, block));

    // The end: a one bit, zeros, and the length in bits.
    let mut tail = [0; 128];
    tail[..rest.len()].copy_from_slice(rest);
    tail[rest.len()] = 0x80;
    let len = if rest.len() < 56 { 64 } else { 128 };
    tail[len - 8..len].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    let (blocks, _) = tail[..len].as_chunks::<64>();
    blocks.iter().for_each(|block| sha1_block(&mut state, block));

    let mut digest = [0; 20];
    for (out, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *out = word.to_be_bytes();
    }
    digest
}

fn sha1_block(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut words = [0; 80];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    for round in 16..80 {
        let mixed = words[round - 3] ^ words[round - 8] ^ words[round - 14] ^ words[round - 16];
        words[round] = mixed.rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (round, word) in words.into_iter().enumerate() {
        let (choice, constant): (u32, u32) = match round {
            0..20 => (b & c | !b & d, 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next =
            a.rotate_left(5).wrapping_add(choice).wrapping_add(e).wrapping_add(constant).wrapping_add(word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (word, added) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(added);
    }
}

fn hex<const N: usize>(digest: &[u8]) -> [u8; N] {
    debug_assert_eq!(digest.len() * 2, N);
    let digit = |index: usize| digest[index / 2] >> (if index.is_multiple_of(2) { 4 } else { 0 }) & 15;
    std::array::from_fn(|index| b"0123456789abcdef"[usize::from(digit(index))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests() {
        let sha1 = |bytes: &[u8]| String::from_utf8(sha1_hex(bytes).to_vec()).expect("hexadecimal");
        assert_eq!(sha1(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(sha1(b"return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(sha1(&[b'a'; 1_000_000]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
        // Lengths around the place where the end needs a block of its own.
        assert_eq!(sha1(&[b'a'; 55]), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
        assert_eq!(sha1(&[b'a'; 56]), "c2db330f6083854c99d4b5bfb6e8f29f201be699");
        assert_eq!(sha1(&[b'a'; 64]), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
        let empty = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(&sha256_hex(b""), empty);
    }

    #[test]
    fn equality() {
        assert!(equal_in_constant_time(b"", b""));
        assert!(equal_in_constant_time(b"abc", b"abc"));
        assert!(!equal_in_constant_time(b"abc", b"abd"));
        assert!(!equal_in_constant_time(b"abc", b"ab"));
    }
}
