//! `pinion-server`: see `pinion::server`.

use std::process::ExitCode;

/// Counts what each thread allocates, and wastes little on small sizes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pinion::server::main(std::env::args_os())
}
