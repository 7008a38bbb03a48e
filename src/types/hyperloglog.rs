//! HyperLogLog: an estimate of how many different elements were added, in a string whose bytes are Redis's.
//!
//! ```text
//! header   "HYLL" | u8 encoding: 0 dense, 1 sparse | 3 unused | u64 cached estimate, top bit set: stale
//! dense    16384 registers of 6 bits, lowest bits first
//! sparse   00xxxxxx           x + 1 registers are zero
//!          01xxxxxx yyyyyyyy  xy + 1 registers are zero
//!          1vvvvvxx           x + 1 registers are v + 1
//! ```
//! Bytes come from clients as well (SET, RESTORE): nothing is taken for granted beyond [`check`], and what does
//! not add up is [`Corrupted`].

pub const REGISTERS: usize = 1 << 14;
const INDEX_BITS: u32 = 14;
/// The bits of a hash that are not its index.
const RANK_BITS: u32 = 64 - INDEX_BITS;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = HEADER_BYTES + REGISTERS * 6 / 8;
const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const CACHE_AT: usize = 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const ZERO_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;

/// The registers do not add up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Corrupted;

/// A run of equal registers of the sparse encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Run {
    /// Written in one byte.
    Zero(usize),
    /// Written in two bytes.
    LongZero(usize),
    Value(u8, usize),
}

impl Run {
    fn read(bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        Some(match first >> 6 {
            0 => Self::Zero(usize::from(first & 0x3f) + 1),
            1 => Self::LongZero((usize::from(first & 0x3f) << 8 | usize::from(*bytes.get(1)?)) + 1),
            _ => Self::Value((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1),
        })
    }

    /// How many registers it covers.
    pub fn registers(self) -> usize {
        match self {
            Self::Zero(len) | Self::LongZero(len) | Self::Value(_, len) => len,
        }
    }

    fn bytes(self) -> usize {
        if matches!(self, Self::LongZero(_)) { 2 } else { 1 }
    }

    fn zeros(len: usize) -> Self {
        if len > ZERO_MAX { Self::LongZero(len) } else { Self::Zero(len) }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Zero(len) => out.push(len as u8 - 1),
            Self::LongZero(len) => out.extend([0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]),
            Self::Value(value, len) => out.push(0x80 | (value - 1) << 2 | (len as u8 - 1)),
        }
    }
}

/// An empty one: sparse, with a valid estimate of 0.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = SPARSE;
    Run::LongZero(REGISTERS).write(&mut bytes);
    bytes
}

/// Whether a string may be taken for one.
pub fn check(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES
        && bytes.starts_with(MAGIC)
        && match bytes[ENCODING_AT] {
            DENSE => bytes.len() == DENSE_BYTES,
            SPARSE => true,
            _ => false,
        }
}

pub fn is_sparse(bytes: &[u8]) -> bool {
    bytes[ENCODING_AT] == SPARSE
}

/// The estimate that was made before the last change, if that is still the last one.
pub fn cached_estimate(bytes: &[u8]) -> Option<u64> {
    let cached = u64::from_le_bytes(bytes[CACHE_AT..HEADER_BYTES].try_into().expect("eight bytes"));
    (cached >> 63 == 0).then_some(cached)
}

pub fn cache_estimate(bytes: &mut [u8], estimate: u64) {
    bytes[CACHE_AT..HEADER_BYTES].copy_from_slice(&estimate.to_le_bytes());
}

pub fn invalidate_estimate(bytes: &mut [u8]) {
    bytes[HEADER_BYTES - 1] |= 0x80;
}

/// Adds an element; true if that changed a register. A sparse one of more than `sparse_bytes_max` becomes dense.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_bytes_max: usize) -> Result<bool, Corrupted> {
    let (index, value) = place_of(element);
    raise(bytes, index, value, sparse_bytes_max)
}

/// Raises a register to a value, if it is lower.
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    if is_sparse(bytes) {
        raise_sparse(bytes, index, value, sparse_bytes_max)
    } else {
        Ok(raise_dense(&mut bytes[HEADER_BYTES..], index, value))
    }
}

/// Which register an element belongs to, and the value it would have: one more than the zeros at the end of
/// the rest of its hash.
fn place_of(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element);
    let rest = hash >> INDEX_BITS | 1 << RANK_BITS;
    ((hash & (REGISTERS as u64 - 1)) as usize, rest.trailing_zeros() as u8 + 1)
}

/// MurmurHash64A, with the seed that Redis gives it.
fn murmur64a(bytes: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xadc8_3b19;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word = (word ^ word >> 47).wrapping_mul(MULTIPLIER);
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(MULTIPLIER);
    hash ^ hash >> 47
}

fn dense_register(registers: &[u8], index: usize) -> u8 {
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([registers[byte], high]) >> shift) as u8 & 0x3f
}

fn raise_dense(registers: &mut [u8], index: usize, value: u8) -> bool {
    if dense_register(registers, index) >= value {
        return false;
    }
    let (byte, shift) = (index * 6 / 8, index * 6 % 8);
    let mask = !(0x3f_u16 << shift);
    let high = registers.get(byte + 1).copied().unwrap_or(0);
    let both = u16::from_le_bytes([registers[byte], high]) & mask | u16::from(value) << shift;
    let [low, high] = both.to_le_bytes();
    registers[byte] = low;
    if let Some(next) = registers.get_mut(byte + 1) {
        *next = high;
    }
    true
}

/// Splits the run that the register is in, then joins what became equal nearby: exactly as Redis does it, so
/// that the bytes are the same.
fn raise_sparse(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Corrupted> {
    if value > VALUE_MAX {
        return raise_promoted(bytes, index, value);
    }
    let (mut at, mut first, mut previous) = (HEADER_BYTES, 0, HEADER_BYTES);
    let run = loop {
        let run = Run::read(&bytes[at..]).ok_or(Corrupted)?;
        if index < first + run.registers() {
            break run;
        }
        (previous, first) = (at, first + run.registers());
        at += run.bytes();
    };
    if matches!(run, Run::Value(old, _) if old >= value) {
        return Ok(false);
    }
    let (before, behind) = (index - first, first + run.registers() - 1 - index);
    let rest = |len: usize| match run {
        Run::Value(old, _) => Run::Value(old, len),
        _ => Run::zeros(len),
    };
    let mut pieces = Vec::with_capacity(5);
    if before > 0 {
        rest(before).write(&mut pieces);
    }
    Run::Value(value, 1).write(&mut pieces);
    if behind > 0 {
        rest(behind).write(&mut pieces);
    }
    let grows = pieces.len() > run.bytes();
    if grows && bytes.len() + pieces.len() - run.bytes() > sparse_bytes_max {
        return raise_promoted(bytes, index, value);
    }
    bytes.splice(at..at + run.bytes(), pieces);
    join_runs(bytes, previous);
    invalidate_estimate(bytes);
    Ok(true)
}

/// Joins equal values within five runs from `at` on.
fn join_runs(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some(run) = bytes.get(at..).and_then(Run::read) else { return };
        let next = at + run.bytes();
        if let (Run::Value(value, len), Some(Run::Value(other, more))) =
            (run, bytes.get(next..).and_then(Run::read))
            && value == other
            && len + more <= VALUE_RUN_MAX
        {
            let mut joined = Vec::with_capacity(1);
            Run::Value(value, len + more).write(&mut joined);
            bytes.splice(at..at + 2, joined);
            continue;
        }
        at = next;
    }
}

fn raise_promoted(bytes: &mut Vec<u8>, index: usize, value: u8) -> Result<bool, Corrupted> {
    make_dense(bytes)?;
    Ok(raise_dense(&mut bytes[HEADER_BYTES..], index, value))
}

/// Makes a sparse one dense; true if it was not.
pub fn make_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupted> {
    if !is_sparse(bytes) {
        return Ok(false);
    }
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER_BYTES].copy_from_slice(&bytes[..HEADER_BYTES]);
    dense[ENCODING_AT] = DENSE;
    let mut index = 0;
    for run in runs(bytes) {
        let run = run?;
        if run.registers() > REGISTERS - index {
            return Err(Corrupted);
        }
        if let Run::Value(value, len) = run {
            (index..index + len).for_each(|index| _ = raise_dense(&mut dense[HEADER_BYTES..], index, value));
        }
        index += run.registers();
    }
    if index != REGISTERS {
        return Err(Corrupted);
    }
    *bytes = dense;
    Ok(true)
}

/// The runs of a sparse one.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Result<Run, Corrupted>> + '_ {
    let mut rest = &bytes[HEADER_BYTES..];
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let run = Run::read(rest);
        rest = run.map_or(&[], |run| &rest[run.bytes()..]);
        Some(run.ok_or(Corrupted))
    })
}

/// Raises `registers` to those of `bytes`.
pub fn merge_into(bytes: &[u8], registers: &mut [u8; REGISTERS]) -> Result<(), Corrupted> {
    if !is_sparse(bytes) {
        for (index, register) in registers.iter_mut().enumerate() {
            *register = (*register).max(dense_register(&bytes[HEADER_BYTES..], index));
        }
        return Ok(());
    }
    let mut index = 0;
    for run in runs(bytes) {
        let run = run?;
        let places = registers.get_mut(index..index + run.registers()).ok_or(Corrupted)?;
        if let Run::Value(value, _) = run {
            places.iter_mut().for_each(|register| *register = (*register).max(value));
        }
        index += run.registers();
    }
    if index == REGISTERS { Ok(()) } else { Err(Corrupted) }
}

/// The estimate of one.
pub fn estimate(bytes: &[u8]) -> Result<u64, Corrupted> {
    let mut registers = [0; REGISTERS];
    merge_into(bytes, &mut registers)?;
    Ok(estimate_registers(&registers))
}

/// Otmar Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), from how
/// often each value occurs.
pub fn estimate_registers(registers: &[u8; REGISTERS]) -> u64 {
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let mut histogram = [0_u32; 64];
    registers.iter().for_each(|register| histogram[usize::from(*register)] += 1);
    let count = REGISTERS as f64;
    let saturated = histogram[RANK_BITS as usize + 1];
    let mut sum = count * tau((count - f64::from(saturated)) / count);
    for value in (1..=RANK_BITS as usize).rev() {
        sum = (sum + f64::from(histogram[value])) * 0.5;
    }
    sum += count * sigma(f64::from(histogram[0]) / count);
    (ALPHA * count * count / sum).round() as u64
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dense_registers_keep_out_of_each_others_way() {
        let mut dense = empty();
        make_dense(&mut dense).expect("an empty one is sound");
        let mut model = [0; REGISTERS];
        let mut random = crate::base::random::Random::from_seed(7);
        for _ in 0..50_000 {
            let (index, value) = (random.index(REGISTERS), random.index(52) as u8);
            let raised = raise(&mut dense, index, value, 3000).expect("sound");
            assert_eq!(raised, value > model[index]);
            model[index] = model[index].max(value);
        }
        let mut registers = [0; REGISTERS];
        merge_into(&dense, &mut registers).expect("sound");
        assert!(registers == model);
    }

    #[test]
    fn sparse_and_dense_say_the_same_and_are_right() {
        for count in [0, 1, 100, 1000, 10_000, 100_000_u64] {
            let (mut one, mut other) = (empty(), empty());
            make_dense(&mut other).expect("sound");
            for number in 0..count {
                let element = number.to_string();
                let changed = add(&mut one, element.as_bytes(), 3000).expect("sound");
                assert_eq!(add(&mut other, element.as_bytes(), 3000).expect("sound"), changed);
            }
            assert!(check(&one) && check(&other));
            let found = estimate(&one).expect("sound");
            assert_eq!(found, estimate(&other).expect("sound"));
            assert!(found.abs_diff(count) <= count / 30, "{found} of {count}");
        }
    }

    /// As PFADD of redis-server 7.0.15 with the elements a, b, c leaves it.
    #[test]
    fn small_ones_are_sparse() {
        let mut bytes = empty();
        assert_eq!(bytes, b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        for element in [b"a", b"b", b"c"] {
            assert_eq!(add(&mut bytes, element, 3000), Ok(true));
            assert_eq!(add(&mut bytes, element, 3000), Ok(false));
        }
        assert!(is_sparse(&bytes) && cached_estimate(&bytes).is_none());
        assert_eq!(estimate(&bytes), Ok(3));
        cache_estimate(&mut bytes, 3);
        assert_eq!(cached_estimate(&bytes), Some(3));
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused_quietly(
            body in proptest::collection::vec(any::<u8>(), 0..40), index in 0..REGISTERS, value in 1..52_u8,
        ) {
            let mut bytes = empty();
            bytes.truncate(HEADER_BYTES);
            bytes.extend(body);
            let _ = estimate(&bytes);
            let _ = raise(&mut bytes.clone(), index, value, 3000);
            let _ = make_dense(&mut bytes);
        }

        #[test]
        fn sparse_registers_agree_with_an_array(
            steps in proptest::collection::vec((0..300_usize, 1..34_u8), 0..200), max in 20..400_usize,
        ) {
            let mut bytes = empty();
            let mut model = [0; REGISTERS];
            for (index, value) in steps {
                let raised = raise(&mut bytes, index, value, max).expect("sound");
                prop_assert_eq!(raised, value > model[index]);
                model[index] = model[index].max(value);
            }
            let mut registers = [0; REGISTERS];
            merge_into(&bytes, &mut registers).expect("sound");
            prop_assert!(registers == model);
        }
    }
}
