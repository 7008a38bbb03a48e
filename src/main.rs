use pinion::config::{command_line, file};
use std::io;
use std::path::{Path, PathBuf};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Machine;
impl file::Files for Machine {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
    fn read_stdin(&mut self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn glob(&mut self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }
    fn enter(&mut self, d: &Path) -> io::Result<PathBuf> {
        std::env::set_current_dir(d)?;
        std::env::current_dir()
    }
    fn open_for_append(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let config = file::load(&command_line::read(&args), &mut Machine).unwrap_or_else(|e| {
        eprintln!("{e}");
        std::process::exit(1)
    });
    let shards = config.get(pinion::config::parameter::SHARDS) as usize;
    let n = if shards == 0 { 2 } else { shards };
    let cpus = (0..n).map(|i| i % 2).collect();
    if let Err(e) = pinion::server::run(config, cpus, &[]) {
        eprintln!("{e}");
        std::process::exit(1)
    }
}
