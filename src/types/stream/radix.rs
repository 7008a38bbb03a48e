//! How many nodes Redis's radix tree would have for the nodes of a stream: XINFO tells. A run of bytes in which
//! nothing branches is one node there, and the end of each key is another.

use super::StreamId;

/// Beyond this many keys the number is estimated from so many.
const KEYS_COUNTED_MAX: usize = 20_000;

const KEY_BYTES: usize = 16;

/// The nodes of a tree of these keys, which come in order.
pub fn tree_nodes(keys: impl ExactSizeIterator<Item = StreamId>) -> u64 {
    let total = keys.len();
    let keys: Vec<[u8; KEY_BYTES]> = keys.take(KEYS_COUNTED_MAX).map(StreamId::to_bytes).collect();
    let counted = if keys.is_empty() { 1 } else { subtree(&keys, 0) };
    if total > keys.len() { counted * total as u64 / keys.len() as u64 } else { counted }
}

/// The nodes of keys that agree in their first `depth` bytes.
fn subtree(keys: &[[u8; KEY_BYTES]], depth: usize) -> u64 {
    let (first, last) = (keys[0], keys[keys.len() - 1]);
    let shared = (depth..KEY_BYTES).take_while(|&index| first[index] == last[index]).count();
    let run = u64::from(shared > 0);
    if keys.len() == 1 {
        return run + 1;
    }
    let branch = depth + shared;
    let children = keys.chunk_by(|a, b| a[branch] == b[branch]);
    run + 1 + children.map(|keys| subtree(keys, branch + 1)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As redis-server 7.0.15 counts them.
    #[test]
    fn small_trees() {
        let count = |ids: &[(u64, u64)]| tree_nodes(ids.iter().map(|&(ms, seq)| StreamId::new(ms, seq)));
        assert_eq!(count(&[]), 1);
        assert_eq!(count(&[(1, 0)]), 2);
        // A run of fifteen, a branch, two ends.
        assert_eq!(count(&[(1, 0), (1, 1)]), 4);
        // A run of seven, a branch, two runs with their ends.
        assert_eq!(count(&[(1, 0), (2, 0)]), 6);
        // No common run at all.
        assert_eq!(count(&[(0, 0), (u64::MAX, 0)]), 5);
    }
}
