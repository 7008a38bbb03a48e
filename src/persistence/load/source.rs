//! What is loaded at the start: with `appendonly yes` the append-only files, else the snapshot.
//!
//! | there is | loaded is |
//! |---|---|
//! | Redis's manifest in `appenddirname` | its base and increments |
//! | no manifest, but `appendfilename` in `dir` | that one file, of a Redis before 7.0 |
//! | neither | nothing, even if there is a snapshot |
//!
//! A single file that a Redis was about to move into the directory when it ended is found in either place.

use super::LoadError;
use super::manifest::RedisManifest;
use crate::config::Config;
use crate::config::parameter::{APPENDDIRNAME, APPENDFILENAME, APPENDONLY, DBFILENAME};
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    Snapshot(PathBuf),
    /// Files of commands, of which any may begin with a snapshot, in order.
    RedisAof(Vec<PathBuf>),
}

impl Source {
    /// What there is to load, relative to the current directory.
    ///
    /// # Errors
    /// If a manifest cannot be read or understood.
    pub fn find(config: &Config) -> Result<Option<Self>, LoadError> {
        if config.get(APPENDONLY) {
            return redis_aof(Path::new(""), config.get(APPENDDIRNAME), config.get(APPENDFILENAME));
        }
        let snapshot = PathBuf::from(OsStr::from_bytes(config.get(DBFILENAME)));
        Ok(snapshot.exists().then_some(Self::Snapshot(snapshot)))
    }

    pub fn files(&self) -> &[PathBuf] {
        match self {
            Self::Snapshot(path) => std::slice::from_ref(path),
            Self::RedisAof(paths) => paths,
        }
    }

    /// # Errors
    /// If a file is missing that should be there.
    pub fn bytes(&self) -> Result<u64, LoadError> {
        let mut sum = 0;
        for path in self.files() {
            let data = path.metadata();
            let failed = |source| LoadError::Open { file: path.display().to_string(), source };
            sum += data.map_err(failed)?.len();
        }
        Ok(sum)
    }
}

fn redis_aof(root: &Path, directory: &[u8], name: &[u8]) -> Result<Option<Source>, LoadError> {
    let directory = root.join(OsStr::from_bytes(directory));
    let single = root.join(OsStr::from_bytes(name));
    let manifest_path = directory.join(OsStr::from_bytes(&[name, b".manifest"].concat()));
    let file = manifest_path.display().to_string();
    let bytes = match std::fs::read(&manifest_path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(single.exists().then(|| Source::RedisAof(vec![single])));
        }
        Err(source) => return Err(LoadError::Open { file, source }),
    };
    let manifest = RedisManifest::parse(&bytes).map_err(|error| LoadError::Manifest {
        file,
        line: error.line,
        what: error.what,
        text: error.text,
    })?;
    let in_directory = |name: &[u8]| directory.join(OsStr::from_bytes(name));
    let files: Vec<PathBuf> = manifest.files().map(in_directory).collect();
    if manifest.base.as_deref() == Some(name) && files.len() == 1 && !files[0].exists() && single.exists() {
        return Ok(Some(Source::RedisAof(vec![single])));
    }
    Ok(Some(Source::RedisAof(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_redis_has_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let find = || redis_aof(root, b"dir", b"a.aof");
        let files =
            |names: &[&str]| Some(Source::RedisAof(names.iter().map(|name| root.join(name)).collect()));
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
        assert!(found.expect("found").bytes().expect_err("no such file").to_string().contains("dir/b"));
        write("dir/a.aof.manifest", "file b seq 1 type b");
        let error = find().expect_err("the line does not end").to_string();
        assert!(error.contains("a.aof.manifest, line 1"), "{error}");
    }
}
