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
    /// Connections that have left the core for another one.
    pub connections_moved: u64,
    /// Commands this core ran for clients of other cores.
    pub commands_for_others: u64,
    /// Commands of its clients that this core ran on a shard borrowed from another core.
    pub commands_borrowed: u64,
    /// Transactions over several shards that clients of this core have begun.
    pub transactions: u64,
    /// How often one was refused by a shard and had to begin again.
    pub transactions_refused: u64,
    /// Transactions over several shards that ran at once, with all shards borrowed.
    pub transactions_at_once: u64,
    /// Times the loop slept.
    pub sleeps: u64,
    /// Time spent in active expiry.
    pub expire_cycle_ns: u64,
}

impl Counters {
    /// Adds another core's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            connections_received,
            connections_rejected,
            commands_processed,
            net_input_bytes,
            net_output_bytes,
            errors_replied,
            client_query_buffer_limit_disconnections,
            client_output_buffer_limit_disconnections,
            reads_processed,
            writes_processed,
            turns,
            connections_moved,
            commands_for_others,
            commands_borrowed,
            transactions,
            transactions_refused,
            transactions_at_once,
            sleeps,
            expire_cycle_ns,
        } = other;
        self.connections_received += connections_received;
        self.connections_rejected += connections_rejected;
        self.commands_processed += commands_processed;
        self.net_input_bytes += net_input_bytes;
        self.net_output_bytes += net_output_bytes;
        self.errors_replied += errors_replied;
        self.client_query_buffer_limit_disconnections += client_query_buffer_limit_disconnections;
        self.client_output_buffer_limit_disconnections += client_output_buffer_limit_disconnections;
        self.reads_processed += reads_processed;
        self.writes_processed += writes_processed;
        self.turns += turns;
        self.connections_moved += connections_moved;
        self.commands_for_others += commands_for_others;
        self.commands_borrowed += commands_borrowed;
        self.transactions += transactions;
        self.transactions_refused += transactions_refused;
        self.transactions_at_once += transactions_at_once;
        self.sleeps += sleeps;
        self.expire_cycle_ns += expire_cycle_ns;
    }
}
