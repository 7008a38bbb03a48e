//! Starts and stops everything. Nothing imports it.

pub mod cli;
pub mod os_files;
pub mod placement;
pub mod system_check;
