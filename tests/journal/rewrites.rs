//! Command by command: what stands in the journal.
