//! The command line: our own flags, and everything else as redis-server takes it.
//!
//! `pinion-server /etc/redis.conf --port 7000`, `pinion-server --port 7000`, `pinion-server -`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Parser, error::ErrorKind};

use crate::config::Config;
use crate::config::command_line::{self, Role, Source, roles};
use crate::config::file::{Files, load};

const EXAMPLES: &str = "\
Every directive of redis.conf is an option too: --name value [value ...]. Options win over the file.

Examples:
  pinion-server                                    defaults: port 6379, one shard per CPU
  pinion-server --port 7000 --shards 2
  pinion-server /etc/redis/redis.conf
  pinion-server /etc/redis/redis.conf --loglevel verbose --save 60 1
  pinion-server --save '' --bind 127.0.0.1 ::1
  echo 'maxclients 100' | pinion-server -
  pinion-server /etc/redis/redis.conf --check-system";

/// The flags that are not directives. `--shards` is both, to be found in `--help`.
#[derive(Debug, Parser)]
#[command(
    name = "pinion-server",
    version,
    about = "A Redis-compatible in-memory data server: one thread per core, nothing shared, on io_uring.",
    override_usage = "pinion-server [/path/to/redis.conf] [--name value ...] [-]",
    after_help = EXAMPLES
)]
struct Flags {
    /// Cores that hold data, each with a thread of its own; 0 takes every CPU the process may use
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=4096))]
    shards: Option<u32>,

    /// Check kernel, limits and settings of this machine, with a remedy for each problem, and exit
    #[arg(long)]
    check_system: bool,

    /// Write the data (appendonly yes: the append-only file, else the snapshot) to DIR as an append-only file that
    /// redis-server 7.0 loads with --dir DIR --appendonly yes, and exit
    #[arg(long, value_name = "DIR")]
    export_aof: Option<PathBuf>,

    /// With --export-aof: keep the deadlines of hash fields, for Redis 7.4 or newer; older ones refuse the file then.
    /// Without it the fields are exported without their deadlines, and the log says how many
    #[arg(long, requires = "export_aof")]
    export_field_deadlines: bool,

    /// Tell what is in an RDB file, or what is wrong with it and where, and exit
    #[arg(long, value_name = "FILE")]
    check_rdb: Option<PathBuf>,
    /// Tell what is damaged in an append-only file (its list, its directory, or one file of commands), and exit
    #[arg(long, value_name = "FILE|DIR")]
    check_aof: Option<PathBuf>,
    /// With --check-aof: drop what is damaged, after a question
    #[arg(long, requires = "check_aof")]
    fix: bool,
}

/// What to do.
#[derive(Debug)]
pub enum Request {
    Serve(Start),
    CheckSystem(Start),
    ExportAof(Start, Export),
    CheckRdb(PathBuf),
    CheckAof {
        path: PathBuf,
        fix: bool,
    },
    /// Print and exit: help and version to the standard output, mistakes to the standard error.
    Exit {
        text: String,
        code: u8,
    },
}

/// The way back.
#[derive(Debug, Eq, PartialEq)]
pub struct Export {
    pub to: PathBuf,
    pub keeps_field_deadlines: bool,
}

#[derive(Debug)]
pub struct Start {
    pub config: Config,
    /// What the operator should read in the log, if anything.
    pub warnings: Vec<String>,
}

/// The flag that a link's name stands for: `pinion-check-rdb FILE` is `pinion-server --check-rdb FILE`.
pub fn flag_of_program(name: &OsStr) -> Option<&'static str> {
    let name = Path::new(name).file_name()?.to_str()?;
    ["--check-rdb", "--check-aof"].into_iter().find(|flag| name.ends_with(&flag[2..]))
}

/// Reads the arguments behind the program's name, and the files that they name.
pub fn read(arguments: impl IntoIterator<Item = OsString>, files: &mut dyn Files) -> Request {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    // As redis-check-aof has it: the flag before the file.
    if let Some(at) = arguments.windows(2).position(|pair| pair[0] == "--check-aof" && pair[1] == "--fix") {
        arguments.swap(at, at + 1);
    }
    let (own, others) = split(arguments);
    let flags = match Flags::try_parse_from([OsString::from("pinion-server")].into_iter().chain(own)) {
        Ok(flags) => flags,
        Err(error) => {
            let told = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return Request::Exit { text: error.render().to_string(), code: if told { 0 } else { 2 } };
        }
    };

    if let Some(file) = flags.check_rdb {
        return Request::CheckRdb(file);
    }
    if let Some(path) = flags.check_aof {
        return Request::CheckAof { path, fix: flags.fix };
    }

    let mut source = command_line::read(&others);
    if let Some(shards) = flags.shards {
        add_option(&mut source, &format!("shards {shards}"));
    }
    // CONFIG REWRITE must find the file even when `dir` leads elsewhere.
    source.file = source.file.map(|path| std::path::absolute(&path).unwrap_or(path));

    match load(&source, files) {
        Err(error) => Request::Exit { text: format!("{error}\n"), code: 1 },
        Ok(config) => {
            let warnings = warnings(&source, &config);
            let start = Start { config, warnings };
            match flags.export_aof {
                _ if flags.check_system => Request::CheckSystem(start),
                // The configuration may lead to another directory.
                Some(to) => {
                    let to = std::path::absolute(&to).unwrap_or(to);
                    let keeps_field_deadlines = flags.export_field_deadlines;
                    Request::ExportAof(start, Export { to, keeps_field_deadlines })
                }
                None => Request::Serve(start),
            }
        }
    }
}

fn add_option(source: &mut Source, line: &str) {
    if !source.options.is_empty() {
        source.options.push(b'\n');
    }
    source.options.extend(line.bytes());
}

/// Takes our own flags, with their values, out of the arguments. The value of an option is never a flag.
fn split(mut arguments: Vec<OsString>) -> (Vec<OsString>, Vec<OsString>) {
    let mut own = Vec::new();
    if let [only] = arguments.as_slice()
        && ["-h", "-v", "-V"].iter().any(|short| only == short)
    {
        // Short ones stand alone, as in Redis: elsewhere they may be values.
        let flag = if only == "-h" { "--help" } else { "--version" };
        return (vec![flag.into()], Vec::new());
    }
    loop {
        let roles = roles(&arguments);
        let mut flags = arguments.iter().zip(roles).enumerate();
        let found = flags.find_map(|(at, (argument, role))| {
            let count = if role == Role::Name { words_of_flag(argument) } else { 0 };
            (count > 0).then_some((at, count))
        });
        let Some((at, count)) = found else { return (own, arguments) };
        let end = arguments.len().min(at + count);
        own.extend(arguments.drain(at..end));
    }
}

/// How many arguments the flag takes, itself included; 0 if it is none of ours.
fn words_of_flag(argument: &OsString) -> usize {
    match argument.to_str() {
        Some("--help" | "--version" | "--check-system" | "--export-field-deadlines") => 1,
        Some("--fix") => 1,
        Some("--shards" | "--check-rdb" | "--check-aof" | "--export-aof") => 2,
        Some(text)
            if ["--shards=", "--check-rdb=", "--check-aof=", "--export-aof="]
                .iter()
                .any(|flag| text.starts_with(flag)) =>
        {
            1
        }
        _ => 0,
    }
}

fn warnings(source: &Source, config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if source.file.is_none() && !source.stdin {
        warnings.push(
            "No configuration file is given, so the defaults are used; \
             name one with: pinion-server /path/to/redis.conf"
                .to_owned(),
        );
    }
    let mut not_yet: Vec<&str> = config.without_effect().collect();
    if !config.directives.users.is_empty() {
        not_yet.push("user");
    }
    if !not_yet.is_empty() {
        warnings.push(format!("Not yet implemented, accepted without an effect: {}", not_yet.join(", ")));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::*;
    use crate::config::parameter::{HZ, PORT, REQUIREPASS, SHARDS};

    struct OneFile(&'static str);

    impl Files for OneFile {
        fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
            match path.to_str() {
                Some("/etc/redis.conf") => Ok(self.0.into()),
                _ => Err(io::Error::from_raw_os_error(libc::ENOENT)),
            }
        }

        fn read_stdin(&mut self) -> io::Result<Vec<u8>> {
            Ok(b"hz 50".into())
        }

        fn glob(&mut self, _: &Path) -> Vec<PathBuf> {
            Vec::new()
        }

        fn enter(&mut self, _: &Path) -> io::Result<PathBuf> {
            Ok("/here".into())
        }

        fn open_for_append(&mut self, _: &Path) -> io::Result<()> {
            Ok(())
        }
    }

    fn request(file: &'static str, arguments: &[&str]) -> Request {
        read(arguments.iter().map(OsString::from), &mut OneFile(file))
    }

    fn serve(file: &'static str, arguments: &[&str]) -> Start {
        match request(file, arguments) {
            Request::Serve(start) => start,
            other => panic!("{other:?}"),
        }
    }

    fn exit(arguments: &[&str]) -> (String, u8) {
        match request("", arguments) {
            Request::Exit { text, code } => (text, code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_win_over_the_file() {
        let start = serve("port 1\nhz 5\n", &["/etc/redis.conf", "--port", "7000"]);
        assert_eq!((start.config.get(PORT), start.config.get(HZ)), (7000, 5));
        assert_eq!(start.config.directives.file, Some("/etc/redis.conf".into()));
        assert_eq!(start.warnings, [""; 0]);
        assert_eq!(serve("", &["--port", "7000"]).config.get(PORT), 7000);
        assert_eq!(serve("", &["-"]).config.get(HZ), 50);
    }

    #[test]
    fn shards_are_a_flag_and_a_directive() {
        for arguments in
            [&["--shards", "3"][..], &["--shards=3"], &["--port", "1", "--shards", "3", "--hz", "9"]]
        {
            assert_eq!(serve("shards 2", arguments).config.get(SHARDS), 3, "{arguments:?}");
        }
        assert_eq!(serve("shards 2", &["/etc/redis.conf"]).config.get(SHARDS), 2);
        let (text, code) = exit(&["--shards", "many"]);
        assert!(text.contains("--shards") && code == 2, "{text}");
    }

    #[test]
    fn our_flags_stand_anywhere_but_in_place_of_a_value() {
        for arguments in [&["--check-system", "/etc/redis.conf"][..], &["/etc/redis.conf", "--check-system"]]
        {
            let Request::CheckSystem(start) = request("port 5", arguments) else { panic!("{arguments:?}") };
            assert_eq!(start.config.get(PORT), 5);
        }
        let start = serve("", &["--requirepass", "--help"]);
        assert_eq!(start.config.get(REQUIREPASS), Some(b"--help".as_slice()));
    }

    #[test]
    fn an_export_names_its_directory() {
        for arguments in
            [&["/etc/redis.conf", "--export-aof", "/to"][..], &["--export-aof=/to", "--port", "5"]]
        {
            let Request::ExportAof(start, export) = request("port 5", arguments) else {
                panic!("{arguments:?}")
            };
            let expected = Export { to: PathBuf::from("/to"), keeps_field_deadlines: false };
            assert_eq!((start.config.get(PORT), export), (5, expected));
        }
        let arguments = &["--export-field-deadlines", "--export-aof", "/to", "--port", "5"];
        let Request::ExportAof(_, export) = request("", arguments) else { panic!("{arguments:?}") };
        assert!(export.keeps_field_deadlines);
        assert_eq!(exit(&["--export-field-deadlines"]).1, 2);
        assert_eq!(exit(&["--export-aof"]).1, 2);
    }

    #[test]
    fn help_and_version_are_printed() {
        for flag in ["--help", "-h"] {
            let (text, code) = exit(&[flag]);
            assert!(
                code == 0 && text.contains("--shards") && text.contains("pinion-server --port 7000"),
                "{text}"
            );
        }
        for flag in ["--version", "-v"] {
            assert_eq!(exit(&[flag]), (format!("pinion-server {}\n", env!("CARGO_PKG_VERSION")), 0));
        }
    }

    #[test]
    fn mistakes_end_the_start() {
        let (text, code) = exit(&["--bogus", "1"]);
        assert!(code == 1 && text.contains("at line 2\n>>> 'bogus \"1\"'\nBad directive"), "{text}");
        let (text, code) = exit(&["/none.conf"]);
        assert!(code == 1 && text.starts_with("Fatal error, can't open config file '/none.conf'"), "{text}");
    }

    #[test]
    fn one_warning_names_what_has_no_effect() {
        let file = "appendonly yes\nio-threads 4\nport 1\nuser a on\nhz 10\nrepl-timeout 60";
        let start = serve(file, &["/etc/redis.conf"]);
        let expected = "Not yet implemented, accepted without an effect: io-threads, user";
        assert_eq!(start.warnings, [expected]);
        assert!(serve("", &[]).warnings[0].contains("defaults"));
    }

    #[test]
    fn files_to_check() {
        for arguments in [
            &["--check-rdb", "dump.rdb"][..],
            &["--check-rdb=dump.rdb"],
            &["/no/such", "--check-rdb", "dump.rdb"],
        ] {
            let Request::CheckRdb(path) = request("", arguments) else { panic!("{arguments:?}") };
            assert_eq!(path.to_str(), Some("dump.rdb"));
        }
        for (arguments, wanted) in [
            (&["--check-aof", "dir"][..], false),
            (&["--check-aof", "--fix", "dir"], true),
            (&["--fix", "--check-aof=dir"], true),
            (&["--check-aof", "dir", "--fix"], true),
        ] {
            let Request::CheckAof { path, fix } = request("", arguments) else { panic!("{arguments:?}") };
            assert_eq!((path.to_str(), fix), (Some("dir"), wanted));
        }
        assert_eq!(exit(&["--check-rdb"]).1, 2);
        assert_eq!(flag_of_program(OsStr::new("/usr/bin/pinion-check-rdb")), Some("--check-rdb"));
        assert_eq!(flag_of_program(OsStr::new("pinion-server")), None);
    }
}
