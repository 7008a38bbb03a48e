//! `--check-aof [--fix] FILE|DIR`: what is damaged, at which offset, and what a fix would drop.
//!
//! A directory or a list of files is checked as a whole: its base, Redis's increments, and our segments with the cut that a
//! start would make. A fix of segments writes where they end into the list; the files stay as they are. A single file of
//! commands is checked alone, and a fix cuts it off. Nothing is changed before somebody has said yes.

use super::check_files::check_rdb;
use crate::disk::{Directory, DirectoryLock, Disk, Mapped};
use crate::persistence::aof::faults::Faults;
use crate::persistence::aof::format::Header;
use crate::persistence::aof::manifest::{Manifest, manifest_name};
use crate::persistence::aof::recovery::{Mercy, Reason, Recovered, RecoveryError, recover_with};
use crate::persistence::append_only::LOCK_FILE;
use crate::persistence::check_aof::{CommandsReport, check_commands};
use crate::persistence::rdb::reader::has_magic;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Prints what is there, or what is wrong with it; fails if it would not load as it is.
pub fn check_aof(path: &Path, fix: bool) -> ExitCode {
    match check(path, fix) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("Can't check '{}': {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path, fix: bool) -> io::Result<bool> {
    if path.is_dir() {
        return check_directory(path, &find_manifest(path)?, fix);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Some(append_filename) = name.strip_suffix(".manifest") {
        return check_directory(parent, append_filename, fix);
    }
    let bytes = Mapped::open(path)?;
    if Header::is_segment(&bytes) {
        println!(
            "{} is one of the segments of an append only file, which is checked as a whole",
            path.display()
        );
        return check_directory(parent, &find_manifest(parent)?, fix);
    }
    drop(bytes);
    check_file(path, fix)
}

/// The file whose list stands in a directory.
fn find_manifest(directory: &Path) -> io::Result<String> {
    let names = Directory::open(directory)?.names()?;
    let mut found = names.iter().filter_map(|name| name.strip_suffix(".manifest"));
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name.to_owned()),
        (None, _) => Err(io::Error::other("there is no list of files (*.manifest)")),
        _ => Err(io::Error::other("there are several lists of files (*.manifest): name one")),
    }
}

fn check_directory(path: &Path, append_filename: &str, fix: bool) -> io::Result<bool> {
    let directory = Directory::open(path)?;
    let _lock = if fix {
        Some(DirectoryLock::take(&directory.path_of(LOCK_FILE)).map_err(io::Error::other)?)
    } else {
        None
    };
    let list = manifest_name(append_filename);
    let manifest = Manifest::parse(&directory.read(&list)?).map_err(io::Error::other)?;
    println!("Start checking {}", directory.path_of(&list).display());
    let mut is_well = true;
    let files: Vec<PathBuf> =
        manifest.base.iter().chain(&manifest.increments).map(|file| directory.path_of(file)).collect();
    for (index, file) in files.iter().enumerate() {
        // As Redis: only the last of its files may be mended.
        is_well &= check_file(file, fix && index + 1 == files.len())?;
    }
    Ok(check_segments(&directory, append_filename, &manifest, fix)? && is_well)
}

fn check_segments(directory: &Directory, name: &str, manifest: &Manifest, fix: bool) -> io::Result<bool> {
    let damage = match recover_with(directory, name, manifest, Mercy::None, Faults::NONE) {
        Ok(recovered) if recovered.losses.is_empty() => {
            println!("{} segments are valid", recovered.segments.len());
            return Ok(true);
        }
        Ok(recovered) => {
            print_losses(&recovered);
            println!(
                "This is what a crash leaves; a start with aof-load-truncated yes cuts it away by itself"
            );
            return mend(directory, name, &recovered, fix);
        }
        Err(RecoveryError::Io { file, source }) => {
            return Err(io::Error::new(source.kind(), format!("{file}: {source}")));
        }
        Err(damage) => damage,
    };
    println!("{damage}");
    let recovered = recover_with(directory, name, manifest, Mercy::ForDamage, Faults::NONE);
    let recovered = recovered.map_err(io::Error::other)?;
    print_losses(&recovered);
    mend(directory, name, &recovered, fix)
}

fn print_losses(recovered: &Recovered) {
    println!("A fix would drop:");
    for loss in &recovered.losses {
        let reason = match &loss.reason {
            Reason::Torn(problem) => format!("the last write is not whole: {problem}"),
            Reason::Damaged(problem) => format!("damaged: {problem}"),
            Reason::Incomplete { transaction } => format!("transaction {transaction} is not on all shards"),
            Reason::Gap => "what comes before is missing".to_owned(),
        };
        println!(
            "  {} from offset {} on, {} readable records: {reason}",
            loss.file, loss.offset, loss.records
        );
    }
}

fn mend(directory: &Directory, name: &str, recovered: &Recovered, fix: bool) -> io::Result<bool> {
    if !fix {
        println!("Use the --fix option to try fixing it");
        return Ok(false);
    }
    if !is_wanted("This will drop what is listed above")? {
        return Ok(false);
    }
    directory.replace(&manifest_name(name), recovered.manifest.encode().as_bytes())?;
    println!("Successfully fixed: {}", directory.path_of(&manifest_name(name)).display());
    Ok(true)
}

/// A base, or a file of commands.
fn check_file(path: &Path, fix: bool) -> io::Result<bool> {
    let bytes = Mapped::open(path)?;
    if has_magic(&bytes) {
        // What an old Redis has appended behind a snapshot is beyond this check.
        return Ok(check_rdb(path) == ExitCode::SUCCESS);
    }
    let CommandsReport { size, valid, problem } = check_commands(&bytes);
    drop(bytes);
    println!(
        "AOF analyzed: filename={}, size={size}, ok_up_to={valid}, diff={}",
        path.display(),
        size - valid
    );
    let Some(problem) = problem else {
        println!("{} is valid", path.display());
        return Ok(true);
    };
    println!("{} is not valid from offset {valid} on: {problem}", path.display());
    if !fix {
        println!("Use the --fix option to try fixing it");
        return Ok(false);
    }
    let question =
        format!("This will shrink the file from {size} bytes, with {} bytes, to {valid} bytes", size - valid);
    if !is_wanted(&question)? {
        return Ok(false);
    }
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    file.set_len(valid)?;
    file.sync_all()?;
    println!("Successfully truncated {}", path.display());
    Ok(true)
}

fn is_wanted(what: &str) -> io::Result<bool> {
    print!("{what}\nContinue? [y/N]: ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let is_wanted = answer.trim_start().to_ascii_lowercase().starts_with('y');
    if !is_wanted {
        println!("Aborting...");
    }
    Ok(is_wanted)
}
