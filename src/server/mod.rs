//! Starts and stops everything.
//!
//! Start: configuration, log, sockets, one thread per core, each with its ring; serving begins when all
//! cores are there. Stop: SIGTERM, SIGINT or SHUTDOWN; every core closes its clients and ends, then the
//! files the server made (pid file, unix socket) are removed.

pub mod append_only;
mod balance;
mod balance_plan;
mod check_append_only;
mod check_files;
pub mod cli;
mod core_main;
mod cron;
mod durable_start;
pub mod os_files;
pub mod placement;
mod process;
pub mod region_maker;

mod signals;
pub mod system_check;

use crate::base::{UnixMillis, clock};
use crate::command_table::CommandTable;
use crate::commands;
use crate::config::Config;
use crate::config::parameter::*;
use crate::dispatch::Message;
use crate::net::{BindAddress, Doorbell, ListenError, Listener, RingError};
use crate::observability::{Level, Logger, crash_report};
use crate::persistence::aof::store::StoreError;
use crate::persistence::export::{ExportError, Exported, export};
use crate::persistence::load::{self, Feeds, Job, LoadError, Source};
use crate::persistence::place::{Move, Place, Taken};
use crate::persistence::save;
use crate::session::{Partition, Shared, ShutdownMode, listen_options};
use cli::{Export, Request, Start};
use core_main::CorePlan;
use durable_start::Beginning;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// The whole program, from its name and its arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let flag = cli::flag_of_program(&program).map(OsString::from);
    crash_report::enable(true);
    crash_report::install();
    match cli::read(flag.into_iter().chain(arguments), &mut os_files::OsFiles) {
        Request::Exit { text, code: 0 } => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Request::Exit { text, code } => {
            eprint!("{text}");
            ExitCode::from(code)
        }
        Request::CheckSystem(start) => {
            let shards = start.config.get(SHARDS);
            let (text, can_run) =
                system_check::report(&system_check::check(&system_check::gather(&start.config, shards)));
            print!("{text}");
            if can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Request::CheckRdb(path) => check_files::check_rdb(&path),
        Request::CheckAof { path, fix } => check_append_only::check_aof(&path, fix),
        Request::ExportAof(start, export) => match serve(start, Purpose::Export(export)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("Pinion can't export: {error}");
                ExitCode::FAILURE
            }
        },
        Request::Serve(start) => match serve(start, Purpose::Serve) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("Pinion can't start: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

/// What the cores are started for.
enum Purpose {
    Serve,
    /// To load the data, write them for a Redis, and end; nobody is served.
    Export(Export),
}

fn serve(start: Start, purpose: Purpose) -> Result<(), StartError> {
    let Start { mut config, mut warnings } = start;
    let allowed = placement::allowed_cpus().map_err(|error| StartError::Placement(error.to_string()))?;
    let cpus = placement::plan(&allowed, &config).map_err(StartError::Placement)?;
    warnings.extend(process::raise_descriptors(&mut config, cpus.len()).map_err(StartError::Descriptors)?);
    if matches!(purpose, Purpose::Serve) {
        process::daemonize(&config).map_err(StartError::Daemonize)?;
    }
    run(config, cpus, &warnings, purpose)
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Placement(String),
    #[error("{0}")]
    Descriptors(String),
    #[error("can't go to the background: {0}")]
    Daemonize(std::io::Error),
    #[error("Can't open the log file: {0}")]
    Log(std::io::Error),
    #[error("Can't change to the directory '{directory}': {source}")]
    Directory { directory: String, source: std::io::Error },
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("Configured to not listen anywhere, exiting.")]
    NowhereToListen,
    #[error("A core has no io_uring: {0}")]
    Ring(RingError),
    #[error("Can't start a core's thread: {0}")]
    Thread(String),
    #[error(transparent)]
    Place(#[from] Taken),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(
        "There is nothing to export in {0}: neither a snapshot nor, with appendonly yes, an append-only file"
    )]
    NothingToExport(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("No random numbers from the operating system: {0}")]
    Random(String),
}

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting; nothing is left behind then.
fn run(
    mut config: Config,
    cpus: Vec<usize>,
    warnings: &[String],
    purpose: Purpose,
) -> Result<(), StartError> {
    let log = open_log(&config)?;
    enter_directory(&mut config)?;
    let shards = cpus.len();
    let serves = matches!(purpose, Purpose::Serve);
    let place = serves.then(|| take_place(&config, &log)).transpose()?;
    let (mut beginning, source) = if config.get(APPENDONLY) && serves {
        let (beginning, source) = Beginning::find(&config)?;
        (Some(beginning), source)
    } else {
        (None, Source::find(&config)?)
    };
    let bytes = source.as_ref().map(Source::bytes).transpose()?;
    if !serves && source.is_none() {
        return Err(StartError::NothingToExport(
            std::env::current_dir().unwrap_or_default().display().to_string(),
        ));
    }
    let mut listeners = serves.then(|| open_listeners(&mut config, &log)).transpose()?;
    let run_id = random_hex()?;
    let table: &'static CommandTable = Box::leak(Box::new(commands::table(&renamed(&config))));
    let port = config.get(PORT);
    let config = Arc::new(config);
    let shared = Arc::new(Shared::new(config.clone(), cpus.clone(), log, run_id, clock::UnixMillis::now().0));
    shared.set_replication_id(random_hex()?);
    if let Some(place) = place {
        shared.persistence.place.go(place);
    }
    shared.port.store(usize::from(port), Ordering::Relaxed);
    for warning in warnings {
        shared.log.warning(warning);
    }
    // The line that scripts wait for has to name the process in this form.
    shared.log.notice(format!(
        "Pinion {} started: port {port}, {shards} shards on CPUs {}, PID: {}",
        env!("CARGO_PKG_VERSION"),
        list(&cpus),
        std::process::id()
    ));

    let journals = beginning.is_some() && source.is_none();
    if journals && let Some(beginning) = beginning.take() {
        beginning.begin(&shared, shards)?;
    }
    signals::block();
    let seeds = random_seeds()?;
    let stocks = region_maker::start(shards, background_cpus(&config))
        .map_err(|error| StartError::Thread(error.to_string()))?;
    let _ = shared.region_stocks.set(stocks);
    let (feeds, inboxes) = Feeds::new(shards, shared.doorbells.clone(), shared.load_progress.clone());
    let mut inboxes = inboxes.into_iter();
    if let Some(bytes) = bytes {
        shared.loading.store(true, Ordering::SeqCst);
        shared.load_progress.begin(load::now_s(), bytes);
    }
    let (born, births) = mpsc::channel();
    let (schedule, schedules) = mpsc::channel();
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut starts: Vec<mpsc::Sender<Vec<Doorbell>>> = Vec::new();
    let links = crate::mesh::mesh::<Message>(shards);
    let places = crate::mesh::lending::<Partition>(shards);
    for (index, (links, shard)) in links.into_iter().zip(places).enumerate() {
        let (start, doorbells) = mpsc::channel();
        starts.push(start);
        let plan = CorePlan {
            index,
            shared: shared.clone(),
            links,
            shard,
            // One core accepts and deals: that is the only way to an even spread.
            listeners: if index == 0 { listeners.take().unwrap_or_default() } else { Vec::new() },
            table,
            load: inboxes.next().filter(|_| source.is_some()),
            journals,
            seeds,
            born: born.clone(),
            doorbells,
        };
        threads.push(start_core(plan, cpus[index], schedule.clone())?);
    }
    drop((born, schedule));
    let mut doorbells: Vec<Option<Doorbell>> = (0..shards).map(|_| None).collect();
    for birth in births {
        let (index, doorbell) = birth.map_err(StartError::Ring)?;
        doorbells[index] = Some(doorbell);
        if doorbells.iter().all(Option::is_some) {
            break;
        }
    }
    let Some(doorbells) = doorbells.into_iter().collect::<Option<Vec<Doorbell>>>() else {
        return Err(StartError::Thread("a core ended before it began".into()));
    };
    let _ = shared.doorbells.set(doorbells.clone());
    for start in starts {
        // A core that has gone is noticed when its thread is joined.
        let _ = start.send(doorbells.clone());
    }
    let pid_file = serves.then(|| write_pid_file(&config, &shared)).flatten();
    shared.memory.started();
    let loader = match source {
        None => {
            shared.log.notice("Ready to accept connections");
            None
        }
        Some(source) => Some(start_loading(shared.clone(), table, source, feeds, beginning, purpose)?),
    };
    let mut schedules: Vec<_> = schedules.iter().take(shards).collect();
    schedules.sort_by_key(|(index, _)| *index);
    let schedules = schedules.into_iter().map(|(_, schedule)| schedule).collect();
    let balance = balance::start(&shared, schedules, background_cpus(&config))
        .map_err(|error| StartError::Thread(error.to_string()))?;
    signals::wait(&shared, &doorbells, &threads);
    drop(balance);
    for thread in threads {
        let _ = thread.join();
    }
    save::end_child(&shared);
    // Before the memory is given back, which may take a while.
    shared.persistence.place.go(Move::default());
    let loaded = loader.map_or(Ok(()), |loader| loader.join().unwrap_or(Ok(())));
    if serves {
        remove_files(&config, pid_file.as_deref());
    }
    match loaded {
        // Stopped while loading: as wanted.
        Ok(()) | Err(StartError::Load(LoadError::Stopped)) => {
            shared.log.warning("Pinion is now ready to exit, bye bye...");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Loads on a thread of its own; the cores tell their clients meanwhile. A failure stops the server.
fn start_loading(
    shared: Arc<Shared>,
    table: &'static CommandTable,
    source: Source,
    feeds: Feeds,
    beginning: Option<Beginning>,
    purpose: Purpose,
) -> Result<JoinHandle<Result<(), StartError>>, StartError> {
    let work = move || {
        let loaded = load::load(&shared, table, &source, &feeds);
        let loaded =
            loaded.and_then(|()| beginning.map_or(Ok(()), |beginning| go_on(&shared, &feeds, beginning)));
        match (&loaded, purpose) {
            (Ok(()), Purpose::Serve) => {
                shared.loading.store(false, Ordering::SeqCst);
                shared.log.notice("Ready to accept connections");
            }
            (Ok(()), Purpose::Export(Export { to, keeps_field_deadlines })) => {
                let exported =
                    export(&feeds, &shared.config(), &to, keeps_field_deadlines, UnixMillis::now());
                shared.request_shutdown(ShutdownMode::NoSave);
                return exported.map(|exported| tell(&exported, &shared)).map_err(StartError::from);
            }
            (Err(LoadError::Stopped), _) => {}
            (Err(error), _) => {
                shared.log.warning(format!("Fatal error loading the DB: {error} Exiting."));
                shared.request_shutdown(ShutdownMode::NoSave);
            }
        }
        loaded.map_err(StartError::from)
    };
    let thread = std::thread::Builder::new().name("loader".into()).spawn(work);
    thread.map_err(|error| StartError::Thread(error.to_string()))
}

fn tell(exported: &Exported, shared: &Shared) {
    let Exported { directory, keys, bytes, lost } = exported;
    let directory = directory.display();
    if let Some(warning) = lost.warning() {
        shared.log.warning(warning);
    }
    shared.log.notice(format!(
        "{keys} keys are exported, {bytes} bytes; go on with: redis-server --dir {directory} --appendonly yes"
    ));
}

/// Everything is loaded: the cores begin to write down what follows, before anybody is served.
fn go_on(shared: &Shared, feeds: &Feeds, beginning: Beginning) -> Result<(), LoadError> {
    let begun = beginning.begin(shared, feeds.shards());
    begun.map_err(|error| LoadError::GoOn(error.to_string()))?;
    for core in 0..feeds.shards() {
        feeds.send(core, Job::Call(Box::new(append_only::start)))?;
    }
    feeds.settle()
}

/// What an executor keeps for its files, pinned, which a fork would have to copy; our files have memory of their own.
const FILE_MEMORY: usize = 64 << 10;

fn start_core(
    plan: CorePlan,
    cpu: usize,
    schedule: mpsc::Sender<(usize, std::io::Result<File>)>,
) -> Result<JoinHandle<()>, StartError> {
    let name = format!("pinion-{}", plan.index);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        process::wake_without_interrupting();
        // Nobody listens any more if the start has failed.
        let _ = schedule.send((plan.index, balance::schedule_of_this_thread()));
        let placement = glommio::Placement::Fixed(cpu);
        let executor = glommio::LocalExecutorBuilder::new(placement).io_memory(FILE_MEMORY).make();
        match executor {
            Ok(executor) => executor.run(core_main::run(plan)),
            Err(error) => {
                let text = error.to_string();
                let source = std::io::Error::other(text);
                let _ =
                    plan.born.send(Err(RingError { attempted: "creating the executor of a core", source }));
            }
        }
    });
    thread.map_err(|error| StartError::Thread(error.to_string()))
}

fn open_log(config: &Config) -> Result<Logger, StartError> {
    let file = config.get(LOGFILE);
    let file = (!file.is_empty()).then(|| path_of(file));
    crash_report::enable(config.get(CRASH_LOG_ENABLED));
    if let Some(path) = &file {
        crash_report::report_to(&std::path::absolute(path).map_err(StartError::Log)?);
    }
    Logger::new(Level::from(config.get(LOGLEVEL)), file.as_deref()).map_err(StartError::Log)
}

fn enter_directory(config: &mut Config) -> Result<(), StartError> {
    let directory = path_of(config.get(DIR));
    let failed = |source| StartError::Directory { directory: directory.display().to_string(), source };
    if !directory.as_os_str().is_empty() {
        std::env::set_current_dir(&directory).map_err(failed)?;
    }
    if let Ok(current) = std::env::current_dir() {
        config.set_directory(current.as_os_str().as_encoded_bytes());
    }
    Ok(())
}

/// Nobody loads what another server is about to replace, or would replace it. One that ends just now is waited for: who
/// asked for its end saw its connections closed a moment before the process was gone.
fn take_place(config: &Config, log: &Logger) -> Result<Move, Taken> {
    const TRIES: u32 = 10;
    patiently(TRIES, || Place::default().prepare(config), |_| true).inspect_err(|taken| {
        // In the background nobody reads what is said at the end.
        if !config.get(LOGFILE).is_empty() {
            log.warning(format!("Can't start: {taken}"));
        }
    })
}

fn open_listeners(config: &mut Config, log: &Logger) -> Result<Vec<Listener>, StartError> {
    let options = listen_options(config);
    let mut listeners = Vec::new();
    let port = config.get(PORT);
    if port != 0 {
        let addresses: Vec<BindAddress> =
            config.get(BIND).iter().map(|word| BindAddress::parse(&String::from_utf8_lossy(word))).collect();
        let bound = bind_patiently(|| Listener::bind_all(&addresses, port, &options))?;
        for skipped in &bound.skipped {
            log.warning(format!("Could not listen on an optional address: {skipped}"));
        }
        listeners.extend(bound.listeners);
    }
    if let Some(path) = config.get(UNIXSOCKET) {
        let mode = config.get(UNIXSOCKETPERM);
        listeners.push(Listener::unix(&path_of(path), (mode != 0).then_some(mode), &options)?);
    }
    if listeners.is_empty() { Err(StartError::NowhereToListen) } else { Ok(listeners) }
}

/// The ring of a server that was killed keeps its sockets for a moment longer than the process lives: an address in
/// use is tried again for a while before it counts.
fn bind_patiently<T>(bind: impl FnMut() -> Result<T, ListenError>) -> Result<T, ListenError> {
    const TRIES: u32 = 40;
    patiently(TRIES, bind, ListenError::is_in_use)
}

/// Does it again while it fails with what may pass by itself.
fn patiently<T, E>(
    tries: u32,
    mut work: impl FnMut() -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
    for _ in 0..tries {
        match work() {
            Err(error) if may_pass(&error) => std::thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
    work()
}

/// `bio_cpulist`: for threads that are no core's.
fn background_cpus(config: &Config) -> Vec<usize> {
    let list = config.get(BIO_CPULIST).map(String::from_utf8_lossy);
    list.and_then(|list| crate::base::cpu_list::parse(&list)).unwrap_or_default()
}

fn renamed(config: &Config) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    config.directives.renamed_commands.iter().map(|rename| (text(&rename.from), text(&rename.to))).collect()
}

fn write_pid_file(config: &Config, shared: &Shared) -> Option<PathBuf> {
    let path = path_of(config.get(PIDFILE)?);
    match std::fs::write(&path, format!("{}\n", std::process::id())) {
        Ok(()) => Some(path),
        Err(error) => {
            shared.log.warning(format!("Failed to write PID file '{}': {error}", path.display()));
            None
        }
    }
}

fn remove_files(config: &Config, pid_file: Option<&Path>) {
    let socket = config.get(UNIXSOCKET).map(path_of);
    for path in pid_file.into_iter().chain(socket.as_deref()) {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(path);
    }
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

fn random_seeds() -> Result<[u64; 4], StartError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Random(error.to_string()))?;
    let word =
        |index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().expect("eight bytes"));
    Ok([word(0), word(1), word(2), word(3)])
}

fn random_hex() -> Result<String, StartError> {
    let mut bytes = [0u8; 20];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
