//! `crash-log-enabled`: what the log says of a signal that ends the process.
//!
//! The signals are those of Redis, and so is the line that its tests and log watchers look for ("crashed by signal"). A
//! file that could not be read while it was mapped comes here too: then the report is about that file.
//!
//! The handler neither allocates nor locks, and takes little of the alternate stack, which has 8 KiB. It opens the log
//! by its name: lines have been written to that by other ways.

use crate::disk::place_of;
use std::ffi::{CString, c_int, c_void};
use std::fmt::{self, Write};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT];

/// What is written at once; a longer line is cut.
const LINE_BYTES_MAX: usize = 512;

static ENABLED: AtomicBool = AtomicBool::new(false);
/// The log's path, ending with 0; null for standard output.
static LOG: AtomicPtr<libc::c_char> = AtomicPtr::new(ptr::null_mut());

/// Reports go to this file from now on. Until then they go to standard output.
pub fn report_to(log: &Path) {
    // The system takes no other path for a file's either.
    let path = CString::new(log.as_os_str().as_encoded_bytes()).unwrap_or_default();
    LOG.store(path.into_raw(), Ordering::Release);
}

/// Signals that end the process are reported from now on, while that is [`enable`]d.
pub fn install() {
    for signal in SIGNALS {
        // SAFETY: the structure is whole before it is used. The handler does what one may do; it runs on the
        // alternate stack that Rust gives each thread, so that it also works when a stack is full.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = report;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, ptr::null_mut());
        }
    }
}

/// `crash-log-enabled`
pub fn enable(enabled: bool) {
    ENABLED.store(enabled, Ordering::Relaxed);
}

extern "C" fn report(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    if ENABLED.load(Ordering::Relaxed) {
        // SAFETY: the kernel hands over a valid one; each of these signals has an address, or one of no meaning.
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
        describe(&Log::open(), signal, code, address);
    }
    // SAFETY: the action is the default again (SA_RESETHAND), so this ends the process as if there was no handler.
    unsafe { libc::raise(signal) };
}

fn describe(log: &Log, signal: c_int, code: c_int, address: usize) {
    if signal == libc::SIGBUS
        && code > 0
        && let Some((path, offset)) = place_of(address)
    {
        log.line(format_args!("'{path}' cannot be read at offset {offset}: either the disk fails there,"));
        log.line(format_args!(
            "or somebody has cut the file while it was read. See the kernel's log (dmesg)."
        ));
        return;
    }
    log.line(format_args!("=== PINION BUG REPORT START: Cut & paste starting from here ==="));
    log.line(format_args!(
        "Pinion {} crashed by signal: {signal}, si_code: {code}",
        env!("CARGO_PKG_VERSION")
    ));
    if code > 0 {
        log.line(format_args!("Accessing address: {address:#x}"));
    } else {
        log.line(format_args!("Another process, or this one, has sent the signal"));
    }
    log.line(format_args!("=== PINION BUG REPORT END ==="));
}

struct Log(c_int);

impl Log {
    fn open() -> Self {
        let path = LOG.load(Ordering::Acquire);
        if path.is_null() {
            return Self(libc::STDOUT_FILENO);
        }
        // SAFETY: the path ends with 0 and is never freed.
        Self(unsafe { libc::open(path, libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT, 0o644) })
    }

    /// As Redis marks the lines of its handler.
    fn line(&self, text: fmt::Arguments<'_>) {
        // SAFETY: both only ask.
        let (process, now) = unsafe { (libc::getpid(), libc::time(ptr::null_mut())) };
        let mut line = Text { bytes: [0; LINE_BYTES_MAX], len: 0 };
        if writeln!(line, "{process}:signal-handler ({now}) {text}").is_err() {
            line.bytes[LINE_BYTES_MAX - 1] = b'\n';
        }
        // SAFETY: so many bytes are there. Nothing can be done if the log cannot be written.
        unsafe { libc::write(self.0, line.bytes.as_ptr().cast(), line.len) };
    }
}

/// Text without an allocation.
struct Text {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let fits = text.len().min(room.len());
        room[..fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Mapped;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const DIRECTORY: &str = "PINION_TEST_CRASH_DIRECTORY";

    #[test]
    #[ignore = "ends its process: the test below runs it in one of its own"]
    fn reads_behind_the_end_of_a_cut_file() {
        let directory = std::path::PathBuf::from(std::env::var_os(DIRECTORY).expect("set by the test below"));
        report_to(&directory.join("log"));
        enable(true);
        install();
        let path = directory.join("segment");
        std::fs::write(&path, [1; 10_000]).expect("it is writable");
        let mapped = Mapped::open(&path).expect("it is there");
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(0))
            .expect("it is ours");
        std::process::exit(i32::from(mapped[9_000]));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let ended = Command::new(std::env::current_exe().expect("it runs"))
            .args([
                "--ignored",
                "--exact",
                "observability::crash_report::tests::reads_behind_the_end_of_a_cut_file",
            ])
            .env(DIRECTORY, directory.path())
            .output()
            .expect("it can be started");
        assert_eq!(ended.status.signal(), Some(libc::SIGBUS), "{ended:?}");
        let log = std::fs::read_to_string(directory.path().join("log")).expect("it has been written");
        let expected =
            format!("'{}' cannot be read at offset 9000: ", directory.path().join("segment").display());
        assert!(log.contains(&expected), "{log}");
    }
}
