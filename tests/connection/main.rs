//! Connections and clients, through sockets: what one says about itself, what it sees of the others on all
//! cores, and why it is closed.

mod clients;
mod command_table;
mod differential;
mod limits;
mod monitor;
mod moving;
mod passwords;
mod pieces;
mod statistics;
#[path = "../support/mod.rs"]
mod support;
