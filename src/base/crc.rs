//! Cyclic redundancy checks: CRC16 (XMODEM) places keys in slots, CRC64 (Jones) ends RDB files and DUMP payloads.
//!
//! CRC16 goes eight bytes at a time (for less the crate's byte at a time is as good): table `i` advances a byte past
//! `i` zero bytes, so the eight lookups of a step do not wait for one another. CRC32C and CRC64 are the crate's, which
//! uses carry-less multiplication: 65 GB/s where tables made 2.

use crc_fast::CrcAlgorithm;

/// The number of cluster slots.
pub const SLOTS: u16 = 16_384;

/// The slot of a key: of its hash tag, if it has one.
#[inline]
pub fn slot_of_key(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) & (SLOTS - 1)
}

/// What is hashed: the bytes between the first `{` and the first `}` after it, if there are any; else all.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let tail = &key[open + 1..];
    match memchr::memchr(b'}', tail) {
        None | Some(0) => key,
        Some(close) => &tail[..close],
    }
}

/// CRC16 as XMODEM: polynomial 0x1021, most significant bit first, starting from zero.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    if bytes.len() < 8 {
        return crc16::State::<crc16::XMODEM>::calculate(bytes);
    }
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut crc: u16 = 0;
    for chunk in chunks {
        let [high, low] = crc.to_be_bytes();
        let at = |table: usize, byte: u8| CRC16[table][usize::from(byte)];
        crc = at(7, chunk[0] ^ high)
            ^ at(6, chunk[1] ^ low)
            ^ at(5, chunk[2])
            ^ at(4, chunk[3])
            ^ at(3, chunk[4])
            ^ at(2, chunk[5])
            ^ at(1, chunk[6])
            ^ at(0, chunk[7]);
    }
    for &byte in rest {
        crc = crc << 8 ^ CRC16[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

/// CRC32C (Castagnoli), as iSCSI and ext4 have it.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// CRC64 of Jones: polynomial 0xad93d23594c935a9, least significant bit first, continuing from `crc`; begin with
/// zero.
pub fn crc64(crc: u64, bytes: &[u8]) -> u64 {
    let mut digest = crc_fast::Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, crc);
    digest.update(bytes);
    digest.finalize()
}

/// The CRC64 of two pieces one after the other, from each one's own and the length of the second: a state that bytes
/// of zero pass through is multiplied by a power of x, as polynomials over bits.
pub fn crc64_combine(first: u64, second: u64, second_len: u64) -> u64 {
    let mut factor = ONE;
    let (mut power, mut left) = (X8, second_len);
    while left > 0 {
        if left & 1 == 1 {
            factor = multiply(factor, power);
        }
        power = multiply(power, power);
        left >>= 1;
    }
    multiply(factor, first) ^ second
}

/// 1 and x^8: the highest bit is the lowest power.
const ONE: u64 = 1 << 63;
const X8: u64 = 1 << 55;

/// The product of two polynomials modulo that of the CRC64.
fn multiply(a: u64, mut b: u64) -> u64 {
    const POLYNOMIAL: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
    let mut product = 0;
    for power in 0..64 {
        // Without branches: the bits are random.
        product ^= b & (a >> (63 - power) & 1).wrapping_neg();
        b = b >> 1 ^ POLYNOMIAL & (b & 1).wrapping_neg();
    }
    product
}

static CRC16: [[u16; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        byte = 0;
        while byte < 256 {
            let crc: u16 = tables[table - 1][byte];
            tables[table][byte] = crc << 8 ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn check_values() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    /// Read from CLUSTER KEYSLOT of redis-server 7.0.15.
    #[test]
    fn slots() {
        for (key, slot) in
            [("", 0), ("foo", 12182), ("{foo}", 12182), ("x{foo}y{bar}", 12182), ("123456789", 12739)]
        {
            assert_eq!(slot_of_key(key.as_bytes()), slot, "{key}");
        }
        for (key, hashed) in
            [("{}a{b}", "{}a{b}"), ("a{b", "a{b"), ("a}b{c}", "c"), ("{{a}}", "{a"), ("}{", "}{")]
        {
            assert_eq!(hash_tag(key.as_bytes()), hashed.as_bytes(), "{key}");
        }
    }

    fn bit_by_bit(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |crc, byte| {
            (0..8).fold(crc ^ u64::from(*byte), |crc, _| {
                crc >> 1 ^ if crc & 1 == 1 { 0xad93_d235_94c9_35a9_u64.reverse_bits() } else { 0 }
            })
        })
    }

    proptest! {
        #[test]
        fn crc16_is_that_of_the_crate(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crc16(&bytes), crc16::State::<crc16::XMODEM>::calculate(&bytes));
        }

        #[test]
        fn crc64_may_be_cut_anywhere(
            first in proptest::collection::vec(any::<u8>(), 0..600),
            second in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let both = [&first[..], &second].concat();
            let whole = bit_by_bit(&both);
            prop_assert_eq!(crc64(0, &both), whole);
            prop_assert_eq!(crc64(crc64(0, &first), &second), whole);
            let combined = crc64_combine(crc64(0, &first), crc64(0, &second), second.len() as u64);
            prop_assert_eq!(combined, whole);
        }
    }
}
