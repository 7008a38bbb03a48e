//! SIGTERM and SIGINT ask for an orderly stop. All threads block them; the thread that started the server
//! waits for them, so no handler interrupts anything.

use crate::net::Doorbell;
use crate::persistence::save;
use crate::session::Shared;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

/// How often the waiting thread looks whether the server has been stopped by a client.
const LOOK_MS: i64 = 100;

/// Before any thread is started: they inherit the mask.
pub fn block() {
    // SAFETY: the set is initialised before it is used, and the pointers are valid.
    unsafe {
        let set = stop_signals();
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        // A file at its limit (ulimit -f) is a disk that is full: an error, not the end.
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

/// Waits until the server stops, by a signal or by SHUTDOWN, and wakes all cores for it.
pub fn wait(shared: &Shared, doorbells: &[Doorbell], threads: &[JoinHandle<()>]) {
    let mut settled = false;
    while shared.shutdown_requested().is_none() && !threads.iter().any(JoinHandle::is_finished) {
        let timeout = libc::timespec { tv_sec: 0, tv_nsec: LOOK_MS * 1_000_000 };
        // SAFETY: both structures live through the call; no information about the signal is asked for.
        let signal = unsafe {
            let set = stop_signals();
            libc::sigtimedwait(&set, std::ptr::null_mut(), &timeout)
        };
        // This thread has time: the memory in use is watched here, and no core notices.
        let empty = shared.total_connections() == 0 && !shared.loading.load(Ordering::Relaxed);
        if !std::mem::replace(&mut settled, true) && empty {
            // By now the cores have built what they need; nobody has brought data yet.
            shared.memory.started();
        }
        shared.memory.observe();
        if signal > 0 {
            let name = if signal == libc::SIGINT { "SIGINT" } else { "SIGTERM" };
            if signal == libc::SIGINT && shared.stopping.swap(true, Ordering::SeqCst) {
                shared.log.warning("You insist... exiting now.");
                save::abandon(shared);
                std::process::exit(1);
            }
            shared.log.warning(format!("Received {name} scheduling shutdown..."));
            shared.stopping.store(true, Ordering::SeqCst);
            shared.stop_signal.store(signal as u8, Ordering::SeqCst);
            for doorbell in doorbells {
                doorbell.ring_from_any_thread();
            }
        }
    }
    shared.log.warning("User requested shutdown...");
    for doorbell in doorbells {
        doorbell.ring_from_any_thread();
    }
}

/// # Safety
/// None beyond that of the calls: the set is on the stack.
unsafe fn stop_signals() -> libc::sigset_t {
    // SAFETY: all-zero bytes are a valid set, and the calls get a pointer to it.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        set
    }
}
