//! What the process asks of the system for itself: descriptors, going to the background.

use super::system_check::{Limit, plan_descriptors};
use crate::config::Config;
use crate::config::parameter::{DAEMONIZE, MAXCLIENTS};
use std::io;

/// Makes room for all clients, or lowers `maxclients` to what there is room for.
///
/// # Errors
/// The text for the operator if there is no room for even one client.
pub fn raise_descriptors(config: &mut Config, shards: usize) -> Result<Option<String>, String> {
    let wanted = config.get(MAXCLIENTS);
    let Ok((soft, hard)) = rlimit::Resource::NOFILE.get() else { return Ok(None) };
    let limit = Limit { soft, hard };
    let plan = plan_descriptors(wanted, shards as u32, limit);
    if plan.maxclients == 0 {
        return Err(format!(
            "The limit of open files ({hard}) leaves no room for clients: raise it with 'ulimit -n' or \
             LimitNOFILE= in the systemd unit"
        ));
    }
    if let Some(soft) = plan.raise_to
        && let Err(error) = rlimit::Resource::NOFILE.set(soft, hard.max(soft))
    {
        return Ok(Some(format!("Can't raise the limit of open files to {soft}: {error}")));
    }
    if plan.maxclients < wanted {
        config.lower_maxclients(plan.maxclients);
    }
    Ok(plan.warning(wanted, limit))
}

/// `daemonize yes`: goes on in a child without a terminal. Must come before any thread is started.
///
/// # Errors
/// What the system says.
pub fn daemonize(config: &Config) -> io::Result<()> {
    if !config.get(DAEMONIZE) {
        return Ok(());
    }
    // SAFETY: there is one thread so far, so the child of the fork inside is whole.
    if unsafe { libc::daemon(1, 0) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks the scheduler not to let this core's thread interrupt others when it wakes up (SCHED_BATCH). A client
/// on the same CPU then writes all its requests before they are served, in one turn. With the client on the
/// server's two CPUs that lifts GET without a pipeline from 0.8 to 1.0 of redis-server's throughput.
pub fn wake_without_interrupting() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the structure lives through the call, which concerns the calling thread only. If the system
    // refuses, the thread is scheduled as before.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
}
