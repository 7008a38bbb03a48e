//! The append-only file: one segment of records per core, and a manifest that says which of them make the present.
