//! A server process for one test: Pinion as this crate built it, or the pinned redis-server as reference.
//!
//! Invariants
//!   S1  A started server answers, and has loaded its data: `start` returns after the first reply that does not say
//!       otherwise, or panics with its log.
//!   S2  No server outlives its `Server`; its files live in a directory that goes with it, unless it is to be looked at.
//!   S3  No port is fixed: each server gets a free one, and another if somebody else was faster.
//!   S4  What answers on the port is this process: it has answered on its own Unix socket too, which it opens after the
//!       port. While a killed server is not there yet, any other process may take its port.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Client, Value};

/// The reference of all comparisons: Debian's package.
pub const REDIS_VERSION: &str = "7.0.15";

/// One shard (nothing crosses cores) and several (almost everything does, on whatever CPUs there are).
pub const SHARD_COUNTS: [usize; 2] = [1, 4];

const START_TIMEOUT: Duration = Duration::from_secs(30);
const START_ATTEMPTS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Pinion { shards: usize },
    Redis,
}

pub struct Server {
    program: Program,
    child: Child,
    port: u16,
    flags: Vec<String>,
    directory: TempDir,
    keeps_files: bool,
}

/// Runs a test once per shard count, each time with a fresh server.
pub fn on_each_shard_count(test: impl Fn(&Server)) {
    for shards in SHARD_COUNTS {
        // Shown only when the test fails.
        println!("with {shards} shard(s)");
        test(&Server::pinion(shards));
    }
}

impl Server {
    pub fn pinion(shards: usize) -> Server {
        Server::start(Program::Pinion { shards }, &[])
    }

    pub fn redis() -> Server {
        Server::start(Program::Redis, &[])
    }

    /// Starts with further flags in redis.conf's words, as `&["--requirepass", "secret"]`.
    pub fn start(program: Program, flags: &[&str]) -> Server {
        Server::start_with(program, flags, |_| {})
    }

    /// Starts in a directory that `prepare` has put files into.
    pub fn start_with(program: Program, flags: &[&str], prepare: impl Fn(&Path)) -> Server {
        Server::start_changed(program, flags, prepare, &|_| {})
    }

    /// As `start_with`; what is launched is changed before. A restart launches it without the changes.
    pub fn start_changed(
        program: Program,
        flags: &[&str],
        prepare: impl Fn(&Path),
        change: &dyn Fn(&mut Command),
    ) -> Server {
        Server::start_until(program, flags, prepare, change, Server::answers)
    }

    /// Starts, and returns while the server may still be loading its data.
    pub fn start_loading(program: Program, flags: &[&str], prepare: impl Fn(&Path)) -> Server {
        Server::start_until(program, flags, prepare, &|_| {}, |server| server.says(|_| true))
    }

    /// The end of a server that refuses to start with these files: how it ended, and its log.
    pub fn refused(program: Program, flags: &[&str], prepare: impl Fn(&Path)) -> (ExitStatus, String) {
        let mut server = Server::ended(program, flags, prepare);
        (server.wait_for_exit(START_TIMEOUT), server.log())
    }

    /// As `refused`; what is launched is changed before.
    pub fn refused_changed(
        program: Program,
        flags: &[&str],
        prepare: impl Fn(&Path),
        change: &dyn Fn(&mut Command),
    ) -> (ExitStatus, String) {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        prepare(directory.path());
        let mut server = Server::spawn(program, flags, directory, change);
        (server.wait_for_exit(START_TIMEOUT), server.log())
    }

    /// A process that ends by itself, and has.
    pub fn ended(program: Program, flags: &[&str], prepare: impl Fn(&Path)) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        prepare(directory.path());
        let mut server = Server::spawn(program, flags, directory, &|_| {});
        server.wait_for_exit(START_TIMEOUT);
        server
    }

    fn start_until(
        program: Program,
        flags: &[&str],
        prepare: impl Fn(&Path),
        change: &dyn Fn(&mut Command),
        mut is_there: impl FnMut(&mut Server) -> bool,
    ) -> Server {
        for attempt in 1.. {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            prepare(directory.path());
            let mut server = Server::spawn(program, flags, directory, change);
            if is_there(&mut server) {
                return server;
            }
            let log = server.log();
            let port_taken = log.contains("in use") || log.contains("Failed listening");
            assert!(port_taken && attempt < START_ATTEMPTS, "{program:?} {flags:?} did not start:\n{log}");
        }
        unreachable!("the last attempt asserts")
    }

    fn spawn(program: Program, flags: &[&str], directory: TempDir, change: &dyn Fn(&mut Command)) -> Server {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let port = free_port();
        let child = launch(program, port, &flags, directory.path(), change);
        Server { program, child, port, flags, directory, keeps_files: false }
    }

    /// Waits for the first reply but LOADING, whatever it is: with a password set it is an error (S1).
    fn answers(&mut self) -> bool {
        self.says(|reply| !matches!(reply, Value::Error(text) if text.starts_with(b"LOADING")))
    }

    fn says(&mut self, enough: impl Fn(&Value) -> bool) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.child.try_wait().expect("the child is ours").is_some() {
                return false;
            }
            let says_it = |client: std::io::Result<Client>| {
                let reply = client.and_then(|mut client| client.try_command(&["PING"]));
                reply.is_ok_and(|reply| matches!(reply, Value::Simple(_) | Value::Error(_)) && enough(&reply))
            };
            // S4
            let is_ours = !self.has_unix_socket() || says_it(Client::connect_unix(&self.unix_socket()));
            if is_ours && says_it(Client::connect(self.address())) {
                return true;
            }
            // Only the pace of asking again; what ends the wait is the reply.
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn has_unix_socket(&self) -> bool {
        !self.flags.windows(2).any(|pair| pair[0] == "--unixsocket" && pair[1].is_empty())
    }

    pub fn program(&self) -> Program {
        self.program
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// If the test fails its files stay, to be looked at.
    pub fn keep_files_of_a_failure(&mut self) {
        self.keeps_files = true;
    }

    pub fn unix_socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address()).unwrap_or_else(|error| panic!("{error}; log:\n{}", self.log()))
    }

    /// A connection that has said HELLO 3.
    pub fn connect_resp3(&self) -> Client {
        let mut client = self.connect();
        let greeting = client.command(&["HELLO", "3"]);
        assert!(greeting.get("proto").is_some(), "HELLO 3 answered {greeting}");
        client
    }

    pub fn connect_unix(&self) -> Client {
        Client::connect_unix(&self.unix_socket())
            .unwrap_or_else(|error| panic!("{error}; log:\n{}", self.log()))
    }

    /// Standard output and error so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.directory.path().join("log")).expect("the log was created at the start");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the process to end by itself, as after SHUTDOWN or a signal.
    pub fn wait_for_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {timeout:?}; log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the process and starts it again: same port, flags and directory, as after a crash.
    pub fn restart(&mut self) {
        for attempt in 1.. {
            self.launch_again();
            if self.answers() {
                return;
            }
            // The kernel lets go of a killed process's ring, and of the sockets in it, a moment after the process.
            let log = self.log();
            let is_early = log.trim_end().ends_with("Address already in use");
            assert!(is_early && attempt < 100, "{:?} did not start again:\n{log}", self.program);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// As `restart`, as another program: with another number of shards.
    pub fn restart_as(&mut self, program: Program) {
        self.program = program;
        self.restart();
    }

    /// As `restart`, without a look whether it starts.
    pub fn launch_again(&mut self) {
        self.kill();
        self.child = launch(self.program, self.port, &self.flags, self.directory.path(), &|_| {});
    }

    pub fn kill(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            if self.keeps_files {
                self.directory.disable_cleanup(true);
                println!("its files stay in {}", self.directory.path().display());
            }
            println!("log of {:?}:\n{}", self.program, self.log());
        }
    }
}

fn launch(
    program: Program,
    port: u16,
    flags: &[String],
    directory: &Path,
    change: &dyn Fn(&mut Command),
) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("the directory is ours to write");
    let mut command = Command::new(executable(program));
    if let Program::Pinion { shards } = program {
        command.args(["--shards", &shards.to_string()]);
    }
    command
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        // Wherever a test has its `dir`.
        .arg("--unixsocket")
        .arg(directory.join("socket"))
        .args(["--enable-debug-command", "yes", "--enable-protected-configs", "yes", "--dir"])
        .arg(directory)
        .args(flags)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("the log's descriptor can be duplicated"))
        .stdout(log);
    change(&mut command);
    command.spawn().unwrap_or_else(|error| panic!("{program:?} cannot be started: {error}"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// `PINION_SERVER` puts another build (or another program) in Pinion's place, `REDIS_SERVER` another reference.
fn executable(program: Program) -> PathBuf {
    match program {
        Program::Pinion { .. } => std::env::var_os("PINION_SERVER")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_pinion-server")), PathBuf::from),
        Program::Redis => reference().to_owned(),
    }
}

/// The redis-server on PATH, once its version was seen to be the pinned one.
fn reference() -> &'static Path {
    static REFERENCE: OnceLock<PathBuf> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let path = PathBuf::from(std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()));
        let output = Command::new(&path).arg("--version").output().unwrap_or_else(|error| {
            panic!("{}: {error}; on Debian: apt-get install redis-server", path.display())
        });
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            version.contains(&format!("v={REDIS_VERSION} ")),
            "the reference is redis-server {REDIS_VERSION} (Debian 12's package), found: {version}"
        );
        path
    })
}
