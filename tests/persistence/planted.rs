//! System calls of a server that fail while a test wants them to, whoever runs the test and wherever.
//!
//! The server starts under a seccomp filter that asks the test about a few calls; a thread answers: go on, or this error.
//! Nothing is mounted, nobody needs to be root, and root is not exempt. What goes through an io_uring is not seen:
//! for that there are a limit of file sizes ([`limit_files`]) and DEBUG AOF-SYNC-ERROR.

use crate::support::{Program, Server};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::SeqCst};
use std::thread::JoinHandle;

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A process is forked; threads are not meant.
    Fork,
    /// A file is opened that may have to be created.
    Create,
    /// A file is opened for direct writes.
    OpenDirect,
    /// A write to a place of a file.
    Write,
    Sync,
    Rename,
}

const CALLS: usize = 6;
/// More than any test lets fail.
const ALWAYS: i32 = i32::MAX;

#[derive(Default)]
struct Orders {
    errors: [AtomicI32; CALLS],
    left: [AtomicI32; CALLS],
    failed: [AtomicU32; CALLS],
    stopping: AtomicBool,
}

/// A server's calls, and what becomes of them.
pub struct Plants {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
    /// Where the server's beginnings send what they are asked through.
    sender: UnixStream,
}

impl Plants {
    pub fn new() -> Plants {
        let (sender, receiver) = UnixStream::pair().expect("sockets can be made");
        let orders = Arc::new(Orders::default());
        let thread = {
            let orders = orders.clone();
            std::thread::spawn(move || answer(&receiver, &orders))
        };
        Plants { orders, thread: Some(thread), sender }
    }

    /// A server whose calls are asked about.
    pub fn start(&self, program: Program, flags: &[&str]) -> Server {
        Server::start_changed(program, flags, |_| {}, &|command| self.plant(command))
    }

    fn plant(&self, command: &mut Command) {
        let sender = self.sender.as_raw_fd();
        let filter = filter();
        // SAFETY: between fork and exec only system calls are made; the descriptor is the parent's until then.
        unsafe {
            command.pre_exec(move || send(sender, install(&filter)?));
        }
    }

    /// From now on the call fails with this error.
    pub fn fail(&self, call: Call, error: i32) {
        self.fail_times(call, error, ALWAYS);
    }

    pub fn fail_times(&self, call: Call, error: i32, times: i32) {
        self.orders.left[call as usize].store(times, SeqCst);
        self.orders.errors[call as usize].store(error, SeqCst);
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.orders.errors.iter().for_each(|error| error.store(0, SeqCst));
    }

    /// How many times it has failed.
    pub fn failed(&self, call: Call) -> u32 {
        self.orders.failed[call as usize].load(SeqCst)
    }
}

impl Drop for Plants {
    fn drop(&mut self) {
        self.orders.stopping.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic of it has been printed already.
            let _ = thread.join();
        }
    }
}

/// Where an argument decides: its place, and the bits of which it must have one, or none.
type Condition = (u32, i32, bool);

/// Which calls are asked about, by their numbers.
fn watched() -> Vec<(libc::c_long, Option<Condition>)> {
    vec![
        (libc::SYS_clone, Some((0, libc::CLONE_THREAD, false))),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_fork, None),
        (libc::SYS_openat, Some((2, libc::O_CREAT | libc::O_DIRECT, true))),
        (libc::SYS_pwrite64, None),
        (libc::SYS_fsync, None),
        (libc::SYS_fdatasync, None),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_rename, None),
        (libc::SYS_renameat, None),
    ]
}

impl Orders {
    fn wanted(&self, call: Call) -> Option<i32> {
        let error = Some(self.errors[call as usize].load(SeqCst)).filter(|error| *error != 0)?;
        let count = |left: i32| (left > 0).then(|| if left == ALWAYS { left } else { left - 1 });
        self.left[call as usize].fetch_update(SeqCst, SeqCst, count).ok()?;
        self.failed[call as usize].fetch_add(1, SeqCst);
        Some(error)
    }

    fn error_for(&self, data: &libc::seccomp_data) -> Option<i32> {
        let number = libc::c_long::from(data.nr);
        #[cfg(target_arch = "x86_64")]
        if number == libc::SYS_fork {
            return self.wanted(Call::Fork);
        }
        #[cfg(target_arch = "x86_64")]
        if number == libc::SYS_rename {
            return self.wanted(Call::Rename);
        }
        match number {
            libc::SYS_clone => self.wanted(Call::Fork),
            libc::SYS_pwrite64 => self.wanted(Call::Write),
            libc::SYS_fsync | libc::SYS_fdatasync => self.wanted(Call::Sync),
            libc::SYS_renameat => self.wanted(Call::Rename),
            libc::SYS_openat => {
                let flags = data.args[2] as i32;
                let created = flags & libc::O_CREAT != 0;
                let direct = flags & libc::O_DIRECT != 0;
                created
                    .then(|| self.wanted(Call::Create))
                    .flatten()
                    .or_else(|| direct.then(|| self.wanted(Call::OpenDirect)).flatten())
            }
            _ => None,
        }
    }
}

fn filter() -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at as u32);
    let end = |action: u32| statement(libc::BPF_RET | libc::BPF_K, action);
    let mut filter = vec![load(std::mem::offset_of!(libc::seccomp_data, nr))];
    for (number, condition) in watched() {
        let body = match condition {
            None => vec![end(libc::SECCOMP_RET_USER_NOTIF)],
            // The lower half of the argument: this is for machines that begin with it.
            Some((argument, bits, some)) => vec![
                load(std::mem::offset_of!(libc::seccomp_data, args) + 8 * argument as usize),
                jump(
                    libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
                    bits as u32,
                    u8::from(!some),
                    u8::from(some),
                ),
                end(libc::SECCOMP_RET_USER_NOTIF),
                end(libc::SECCOMP_RET_ALLOW),
            ],
        };
        filter.push(jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32, 0, body.len() as u8));
        filter.extend(body);
    }
    filter.push(end(libc::SECCOMP_RET_ALLOW));
    filter
}

fn checked(result: i64) -> io::Result<i64> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// In the process that becomes the server: from here on it is asked about.
fn install(filter: &[libc::sock_filter]) -> io::Result<RawFd> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: both calls concern this process only, and the program lives through the second.
    unsafe {
        checked(i64::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))?;
        let listener = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &program,
        );
        Ok(checked(listener)? as RawFd)
    }
}

/// Room for one descriptor's control message, aligned as that has to be.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn message(byte: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: all-zero bytes are an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (byte, 1);
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: only computes a length.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    message
}

fn send(socket: RawFd, descriptor: RawFd) -> io::Result<()> {
    let mut text = [0u8];
    let mut byte = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; 64]);
    let message = message(&mut byte, &mut control);
    // SAFETY: the message points to what lives here, with room for one header and one descriptor.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(descriptor);
        checked(libc::sendmsg(socket, &message, 0) as i64)?;
    }
    Ok(())
}

fn receive(socket: RawFd) -> Option<OwnedFd> {
    let mut text = [0u8];
    let mut byte = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; 64]);
    let mut message = message(&mut byte, &mut control);
    // SAFETY: as in `send`; a descriptor that arrives is nobody else's.
    unsafe {
        if libc::recvmsg(socket, &mut message, libc::MSG_CMSG_CLOEXEC) <= 0 {
            return None;
        }
        let header = libc::CMSG_FIRSTHDR(&message);
        (!header.is_null())
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned()))
    }
}

/// Until the test is over: takes what comes to be asked through, and answers.
fn answer(receiver: &UnixStream, orders: &Orders) {
    let mut listeners: Vec<OwnedFd> = Vec::new();
    while !orders.stopping.load(SeqCst) {
        let descriptors =
            std::iter::once(receiver.as_raw_fd()).chain(listeners.iter().map(OwnedFd::as_raw_fd));
        let mut polled: Vec<libc::pollfd> =
            descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: the slice lives through the call.
        unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, 20) };
        for place in &polled[1..] {
            if place.revents & libc::POLLIN != 0 {
                answer_one(place.fd, orders);
            }
        }
        let ended: Vec<bool> = polled[1..].iter().map(|place| place.revents & libc::POLLHUP != 0).collect();
        let mut ended = ended.into_iter();
        listeners.retain(|_| !ended.next().unwrap_or(false));
        if polled[0].revents & libc::POLLIN != 0 {
            listeners.extend(receive(polled[0].fd));
        }
    }
}

fn answer_one(listener: RawFd, orders: &Orders) {
    // SAFETY: all-zero bytes are what the kernel wants to find, and the structures live through the calls. That a call
    // is over before it was answered, because its process was killed, is an error that means nothing.
    unsafe {
        let mut request: libc::seccomp_notif = std::mem::zeroed();
        if libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut request) < 0 {
            return;
        }
        let mut response: libc::seccomp_notif_resp = std::mem::zeroed();
        response.id = request.id;
        match orders.error_for(&request.data) {
            Some(error) => response.error = -error,
            None => response.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        }
        libc::ioctl(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut response);
    }
}

/// No file of the server may grow beyond this, until told otherwise; root is not exempt.
pub fn limit_files(server: &Server, bytes: Option<u64>) {
    // SAFETY: all-zero bytes are a limit, and the pointers are valid.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        let pid = server.pid() as libc::pid_t;
        checked(i64::from(libc::prlimit(pid, libc::RLIMIT_FSIZE, std::ptr::null(), &mut limit)))
            .expect("the server is our child");
        limit.rlim_cur = bytes.unwrap_or(limit.rlim_max);
        checked(i64::from(libc::prlimit(pid, libc::RLIMIT_FSIZE, &limit, std::ptr::null_mut())))
            .expect("a soft limit may be changed");
    }
}

/// A server that heeds the permissions of files even as root, and does not end by outgrowing a limit.
pub fn without_privileges(command: &mut Command) {
    // The number of CAP_DAC_OVERRIDE and of CAP_DAC_READ_SEARCH.
    const CAPABILITIES: [libc::c_int; 2] = [1, 2];
    // SAFETY: only system calls that concern the process itself; who is not root has nothing to drop.
    unsafe {
        command.pre_exec(|| {
            for capability in CAPABILITIES {
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
            Ok(())
        });
    }
}

/// redis-server dies of the signal that comes with a file's limit; Pinion ignores it by itself.
pub fn ignoring_file_limits(command: &mut Command) {
    // SAFETY: concerns the process itself only.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            Ok(())
        });
    }
}
