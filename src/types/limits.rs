//! How large a value may grow in its compact encoding: the thresholds of the configuration, as plain values.

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EncodingLimits {
    /// Elements of a list's node, or its size class if negative.
    pub list_max_listpack_size: i64,
    pub list_compress_depth: usize,
    pub hash_max_listpack_entries: usize,
    pub hash_max_listpack_value: usize,
    pub set_max_intset_entries: usize,
    /// Not configurable in Redis 7.0, whose sets have no listpack.
    pub set_max_listpack_entries: usize,
    pub set_max_listpack_value: usize,
    pub zset_max_listpack_entries: usize,
    pub zset_max_listpack_value: usize,
    pub stream_node_max_bytes: usize,
    pub stream_node_max_entries: usize,
    pub hll_sparse_max_bytes: usize,
    /// What the tables inside values hash with; not known to clients.
    pub hash_seed: u64,
}

impl Default for EncodingLimits {
    fn default() -> Self {
        Self {
            list_max_listpack_size: -2,
            list_compress_depth: 0,
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 64,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            hll_sparse_max_bytes: 3000,
            hash_seed: 0,
        }
    }
}
