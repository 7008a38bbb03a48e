//! Clients that misbehave, by mistake or on purpose: each gets a clear error or meets a limit, the server's memory stays
//! bounded, and everybody else is served meanwhile.

#[path = "../support/mod.rs"]
mod support;

mod connections;
mod fuzz;
mod malformed;
mod memory;
mod pipelines;
mod witness;
