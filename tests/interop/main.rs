//! Values and files between this server and the pinned redis-server, both ways: what one writes the other reads, with
//! equal content.
//!
//! `INTEROP_KEYS` says how many random keys go each way (400 if unset), `INTEROP_SEED` the first seed.

#[path = "../support/mod.rs"]
mod support;

mod check_rdb;
mod values;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}
