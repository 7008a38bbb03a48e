//! What one core has done since the start or CONFIG RESETSTAT.

/// Plain numbers: each core writes its own, INFO adds them up.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub connections_received: u64,
    pub connections_rejected: u64,
    pub commands_processed: u64,
    pub net_input_bytes: u64,
    pub net_output_bytes: u64,
    pub errors_replied: u64,
    pub client_query_buffer_limit_disconnections: u64,
    pub client_output_buffer_limit_disconnections: u64,
    pub reads_processed: u64,
    pub writes_processed: u64,
    /// Turns of the core's loop.
    pub turns: u64,
    /// Commands this core ran for clients of other cores.
    pub commands_for_others: u64,
    /// Commands of its clients that this core ran on a shard borrowed from another core.
    pub commands_borrowed: u64,
    /// Times the loop slept.
    pub sleeps: u64,
}
