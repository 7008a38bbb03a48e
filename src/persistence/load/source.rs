//! What is loaded at the start: with `appendonly yes` the append-only files, else the snapshot.
//!
//! | there is | loaded is |
//! |---|---|
//! | a manifest in `appenddirname`, ours or Redis's | its base, Redis's increments, and our segments up to the cut |
//! | no manifest, but `appendfilename` in `dir` | that one file, of a Redis before 7.0 |
//! | neither | nothing, even if there is a snapshot |
//!
//! A single file that a Redis was about to move into the directory when it ended is found in either place.

use super::{LoadError, Segment};
use crate::config::Config;
use crate::config::parameter::{AOF_LOAD_TRUNCATED, APPENDDIRNAME, APPENDFILENAME, APPENDONLY, DBFILENAME};
use crate::disk::Directory;
use crate::persistence::aof::faults::Faults;
use crate::persistence::aof::format::START;
use crate::persistence::aof::manifest::{Manifest, manifest_name};
use crate::persistence::aof::recovery::{Reason, Recovered, Replay, recover};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    Snapshot(PathBuf),
    AppendOnly(AppendOnly),
}

/// An append-only file in its parts, in the order in which they are loaded.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AppendOnly {
    /// Files of commands, of which any may begin with a snapshot: the base, and Redis's increments.
    pub files: Vec<PathBuf>,
    /// Our segments, by generation.
    pub generations: Vec<Vec<Segment>>,
    /// What was cut off at the end of the segments, for the log.
    pub losses: Vec<String>,
}

impl Source {
    /// What there is to load, relative to the current directory. Nothing is changed there.
    ///
    /// # Errors
    /// If a manifest cannot be read or understood, or segments are damaged.
    pub fn find(config: &Config) -> Result<Option<Self>, LoadError> {
        if !config.get(APPENDONLY) {
            let snapshot = PathBuf::from(OsStr::from_bytes(config.get(DBFILENAME)));
            return Ok(snapshot.exists().then_some(Self::Snapshot(snapshot)));
        }
        Self::find_append_only(config)
    }

    /// The append-only file, whether it is on or not.
    ///
    /// # Errors
    /// As of [`Source::find`].
    pub fn find_append_only(config: &Config) -> Result<Option<Self>, LoadError> {
        let (directory, name) = (config.get(APPENDDIRNAME), config.get(APPENDFILENAME));
        let found = append_only(Path::new(""), directory, name, config.get(AOF_LOAD_TRUNCATED))?;
        Ok(found.map(Self::AppendOnly))
    }

    /// # Errors
    /// If a file is missing that should be there.
    pub fn bytes(&self) -> Result<u64, LoadError> {
        let files = match self {
            Self::Snapshot(path) => std::slice::from_ref(path),
            Self::AppendOnly(parts) => parts.files.as_slice(),
        };
        let mut sum = 0;
        for path in files {
            let failed = |source| LoadError::Open { file: path.display().to_string(), source };
            sum += path.metadata().map_err(failed)?.len();
        }
        if let Self::AppendOnly(parts) = self {
            let segments = parts.generations.iter().flatten();
            sum += segments.map(|segment| segment.end - segment.start).sum::<u64>();
        }
        Ok(sum)
    }
}

impl AppendOnly {
    /// What a manifest names, and what a recovery has found of its segments.
    pub fn new(directory: &Path, manifest: &Manifest, replays: &[Replay]) -> Self {
        let files = manifest.base.iter().chain(&manifest.increments);
        let mut generations: Vec<(u64, Vec<Segment>)> = Vec::new();
        for replay in replays {
            let segment = Segment { path: directory.join(&replay.file), start: START, end: replay.end };
            match generations.last_mut() {
                Some((number, segments)) if *number == replay.generation => segments.push(segment),
                _ => generations.push((replay.generation, vec![segment])),
            }
        }
        Self {
            files: files.map(|file| directory.join(file)).collect(),
            generations: generations.into_iter().map(|(_, segments)| segments).collect(),
            losses: Vec::new(),
        }
    }

    /// With what the recovery had to give up.
    pub fn recovered(directory: &Path, recovered: &Recovered) -> Self {
        let losses = recovered.losses.iter().map(|loss| {
            let reason = match &loss.reason {
                Reason::Torn(problem) => format!("the last write did not come to its end: {problem}"),
                Reason::Incomplete { transaction } => {
                    format!("transaction {transaction} over several shards is not complete")
                }
                Reason::Damaged(problem) => format!("it is damaged: {problem}"),
                Reason::Gap => "the end of the segment before is missing".into(),
            };
            let (file, offset, records) = (&loss.file, loss.offset, loss.records);
            format!("{file} is cut off at offset {offset}, {records} records are behind it: {reason}")
        });
        Self { losses: losses.collect(), ..Self::new(directory, &recovered.manifest, &recovered.segments) }
    }
}

fn append_only(
    root: &Path,
    directory: &[u8],
    name: &[u8],
    allow_truncated: bool,
) -> Result<Option<AppendOnly>, LoadError> {
    let directory = root.join(OsStr::from_bytes(directory));
    let single = root.join(OsStr::from_bytes(name));
    let of_single = || AppendOnly { files: vec![single.clone()], ..AppendOnly::default() };
    let name_text = String::from_utf8_lossy(name);
    let path = directory.join(manifest_name(&name_text));
    let file = path.display().to_string();
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(single.exists().then(of_single));
        }
        Err(source) => return Err(LoadError::Open { file, source }),
    };
    let manifest = Manifest::parse(&bytes)
        .map_err(|error| LoadError::Manifest { file: file.clone(), what: error.to_string() })?;
    if manifest.generations.is_empty() {
        let parts = AppendOnly::new(&directory, &manifest, &[]);
        let is_base = manifest.base.as_ref().is_some_and(|base| base.as_bytes() == name);
        let not_moved = is_base && parts.files.len() == 1 && !parts.files[0].exists() && single.exists();
        return Ok(Some(if not_moved { of_single() } else { parts }));
    }
    let failed = |source| LoadError::Open { file: directory.display().to_string(), source };
    let disk = Directory::open(&directory).map_err(failed)?;
    let recovered = recover(&disk, &name_text, &manifest, Faults::NONE)?;
    if !allow_truncated && let Some(loss) = recovered.losses.first() {
        let file = directory.join(&loss.file).display().to_string();
        return Err(LoadError::AofTruncated { file, offset: loss.offset });
    }
    Ok(Some(AppendOnly::recovered(&directory, &recovered)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_redis_has_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let find = || append_only(root, b"dir", b"a.aof", true);
        let files = |names: &[&str]| {
            Some(AppendOnly {
                files: names.iter().map(|name| root.join(name)).collect(),
                ..Default::default()
            })
        };
        let write = |name: &str, text: &str| std::fs::write(root.join(name), text).expect("written");
        assert_eq!(find().expect("nothing there"), None);
        write("a.aof", "");
        assert_eq!(find().expect("an old file"), files(&["a.aof"]));
        std::fs::create_dir(root.join("dir")).expect("made");
        assert_eq!(find().expect("no manifest yet"), files(&["a.aof"]));
        write("dir/a.aof.manifest", "file a.aof seq 1 type b\n");
        assert_eq!(find().expect("not moved yet"), files(&["a.aof"]));
        write("dir/a.aof", "");
        assert_eq!(find().expect("moved"), files(&["dir/a.aof"]));
        write("dir/a.aof.manifest", "file b seq 1 type b\nfile i seq 1 type i\n");
        let found = find().expect("a manifest");
        assert_eq!(found, files(&["dir/b", "dir/i"]));
        let bytes = Source::AppendOnly(found.expect("found")).bytes();
        assert!(bytes.expect_err("no such file").to_string().contains("dir/b"));
        write("dir/a.aof.manifest", "file b seq 1 type b");
        let error = find().expect_err("the line does not end").to_string();
        assert!(error.contains("a.aof.manifest: line 1"), "{error}");
    }
}
