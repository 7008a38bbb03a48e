//! The files of the machine, for reading a configuration.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::config::file::Files;

pub struct OsFiles;

impl Files for OsFiles {
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn read_stdin(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        Ok(text)
    }

    /// One component of the path at a time, as a shell expands it.
    fn glob(&mut self, pattern: &Path) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            found = match component {
                Component::Normal(name) if has_wildcards(name.as_bytes()) => {
                    found.iter().flat_map(|parent| children(parent, name.as_bytes())).collect()
                }
                component => found.iter().map(|parent| parent.join(component)).collect(),
            };
        }
        found.retain(|path| path.exists());
        found.sort();
        found
    }

    fn enter(&mut self, directory: &Path) -> io::Result<PathBuf> {
        std::env::set_current_dir(directory)?;
        std::env::current_dir()
    }

    fn open_for_append(&mut self, path: &Path) -> io::Result<()> {
        OpenOptions::new().append(true).create(true).open(path).map(drop)
    }
}

fn has_wildcards(name: &[u8]) -> bool {
    name.iter().any(|byte| b"*?[".contains(byte))
}

/// What cannot be read has no children: a pattern may match nothing.
fn children(parent: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    let directory = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    // As in a shell, a name that begins with a dot matches only a pattern that does.
    let visible = |name: &[u8]| !name.starts_with(b".") || pattern.starts_with(b".");
    let matching = names.filter(|name| visible(name.as_bytes()) && matches(pattern, name.as_bytes()));
    matching.map(|name| parent.join(name)).collect()
}

/// Shell wildcards in one component: `*`, `?`, `[a-z]`, `[!a-z]` and a backslash.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    // Where to go on when the last star has to take one more byte.
    let mut retry: Option<(&[u8], &[u8])> = None;
    let (mut pattern, mut name) = (pattern, name);
    loop {
        if let [b'*', rest @ ..] = pattern {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        let step = match name {
            [] if pattern.is_empty() => return true,
            [] => return false,
            [byte, rest @ ..] => match_one(pattern, *byte).map(|pattern| (pattern, rest)),
        };
        (pattern, name) = match (step, retry) {
            (Some(next), _) => next,
            (None, Some((after_star, [_, rest @ ..]))) => {
                retry = Some((after_star, rest));
                (after_star, rest)
            }
            (None, _) => return false,
        };
    }
}

/// The pattern behind its first element if that matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match_set(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

fn match_set(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        set => (false, set),
    };
    let mut found = false;
    let mut first = true;
    loop {
        set = match set {
            // A closing bracket that comes first is an element of the set.
            [b']', rest @ ..] if !first => return (found != negated).then_some(rest),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                found |= (*low..=*high).contains(&byte);
                rest
            }
            [element, rest @ ..] => {
                found |= *element == byte;
                rest
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let yes = [
            ("*.conf", "a.conf"),
            ("a*b*c", "aXbbc"),
            ("?[0-9]", "x7"),
            ("[!a]", "b"),
            ("[]a]", "]"),
            ("\\*", "*"),
        ];
        for (pattern, name) in yes {
            assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        let no = [
            ("*.conf", "a.conf~"),
            ("a*b*c", "acb"),
            ("?", ""),
            ("[!a]", "a"),
            ("[a", "a"),
            ("", "a"),
            ("*?", ""),
        ];
        for (pattern, name) in no {
            assert!(!matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_find_files_in_order() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in ["b.conf", "a.conf", ".hidden.conf", "other"] {
            fs::write(directory.path().join(name), "").expect("written");
        }
        let found = OsFiles.glob(&directory.path().join("*.conf"));
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["a.conf", "b.conf"]);
        assert!(OsFiles.glob(&directory.path().join("none/*")).is_empty());
        let parent = directory.path().file_name().expect("a name").to_str().expect("UTF-8");
        let wild = format!("{}*/a.conf", parent.get(..parent.len() - 1).expect("ASCII"));
        assert_eq!(OsFiles.glob(&directory.path().parent().expect("nested").join(wild)).len(), 1);
    }
}
