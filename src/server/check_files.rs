//! `--check-rdb`: a file on the disk, shown to the check piece by piece.

use crate::base::UnixMillis;
use crate::persistence::check::{RdbCheck, RdbReport};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

const PIECE_BYTES: usize = 1 << 20;

/// Prints what is in the file, or what is wrong with it; fails if it would not load.
pub fn check_rdb(path: &Path) -> ExitCode {
    println!("[offset 0] Checking RDB file {}", path.display());
    match report(path) {
        Ok(report) => {
            print!("{report}");
            if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("Can't read '{}': {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn report(path: &Path) -> io::Result<RdbReport> {
    let mut file = File::open(path)?;
    let mut check = RdbCheck::new();
    let now = UnixMillis::now();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            // One item fills it all.
            buffer.resize(buffer.len() * 2, 0);
        }
        let read = file.read(&mut buffer[filled..])?;
        filled += read;
        match check.feed(&buffer[..filled], now) {
            Some(consumed) if read > 0 => {
                buffer.copy_within(consumed..filled, 0);
                filled -= consumed;
            }
            _ => return Ok(check.into_report()),
        }
    }
}
