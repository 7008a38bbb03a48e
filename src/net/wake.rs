//! The one place where the net ring and glommio's executor meet: who sleeps, who wakes whom.
//!
//! A core has two rings, its net ring and its executor's. Only one can be slept in.
//!   - While no task of the executor has work (`FilesInFlight` counts them), the core sleeps in the net
//!     ring. This costs nothing beyond the ring's own system call.
//!   - While one has, the core sleeps in the executor: an eventfd that the net ring signals is read through
//!     glommio, beside a timer. This costs about 1.3 microseconds per wake-up, so it is the exception.
//!
//! Invariants
//!   W1  Nothing runs on the executor that no guard of `FilesInFlight` covers: who spawns a task takes a
//!       guard first and the task holds it to its end. Else the task would starve while the core
//!       sleeps in the net ring.
//!   W2  The eventfd is told of completions only while the core sleeps in the executor. It is unmuted
//!       before the net ring is looked at for the last time, so nothing falls between.
//!   W3  At most one read of the eventfd is in flight. One that was not needed is kept for the next sleep.
//!   W4  Dropping a guard ends the sleep: what a file operation has finished may be what a client waits for.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::timer::Timer;

use super::kernel::Wait;
use super::ring::Ring;
use super::socket;

/// Counts the tasks and file operations of this core's executor.
#[derive(Clone, Default)]
pub struct FilesInFlight {
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    count: Cell<u64>,
    /// Set by everything the core's loop should look at; taken when its sleep ends.
    news: Cell<bool>,
    sleeper: RefCell<Option<Waker>>,
}

/// Work that the executor must be polled for.
#[must_use]
pub struct InFlight {
    shared: Rc<Shared>,
}

impl FilesInFlight {
    pub fn new() -> FilesInFlight {
        FilesInFlight::default()
    }

    /// One more piece of work, until the guard is dropped.
    pub fn begin(&self) -> InFlight {
        self.shared.count.set(self.shared.count.get() + 1);
        InFlight { shared: Rc::clone(&self.shared) }
    }

    pub fn count(&self) -> u64 {
        self.shared.count.get()
    }

    /// Ends the sleep of this core's loop; for a task that has news without being at its end.
    pub fn wake(&self) {
        self.shared.wake();
    }
}

impl Shared {
    fn wake(&self) {
        self.news.set(true);
        if let Some(sleeper) = self.sleeper.borrow_mut().take() {
            sleeper.wake();
        }
    }

    fn poll_news(&self, context: &Context<'_>) -> Poll<()> {
        if self.news.take() {
            return Poll::Ready(());
        }
        *self.sleeper.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.count.set(self.shared.count.get() - 1);
        self.shared.wake(); // W4
    }
}

type EventfdRead = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// What a core needs to sleep; lives beside its ring.
#[derive(Default)]
pub struct Parking {
    /// Made when the core first sleeps in the executor.
    eventfd: Option<Rc<BufferedFile>>,
    /// W3
    read: Option<EventfdRead>,
}

impl Parking {
    pub fn new() -> Parking {
        Parking::default()
    }

    /// A turn's `submit_and_wait` for a core that also runs tasks on glommio. Returns when the ring has
    /// events, the wait is over, or a task has news.
    pub async fn wait(&mut self, ring: &mut Ring, wait: Wait, files: &FilesInFlight) -> io::Result<()> {
        let news = files.shared.news.take();
        if files.count() == 0 && !news {
            return ring.submit_and_wait(wait);
        }
        if wait == Wait::No || news {
            ring.submit_and_wait(Wait::No)?;
            yield_to_tasks().await;
            return Ok(());
        }
        self.unmute(ring)?;
        // W2: the last look, whatever the flags say.
        ring.submit_and_look()?;
        if ring.has_events() {
            ring.tell_eventfd(false);
            yield_to_tasks().await;
            return Ok(());
        }
        let result = self.sleep(wait, files).await;
        ring.tell_eventfd(false);
        ring.submit_and_wait(Wait::No)?;
        result
    }

    fn unmute(&mut self, ring: &mut Ring) -> io::Result<()> {
        if self.eventfd.is_none() {
            let eventfd = socket::eventfd()?;
            ring.register_eventfd(eventfd.as_raw_fd())?;
            self.eventfd = Some(Rc::new(into_file(eventfd)));
        }
        ring.tell_eventfd(true);
        Ok(())
    }

    async fn sleep(&mut self, wait: Wait, files: &FilesInFlight) -> io::Result<()> {
        let file = self.eventfd.as_ref().expect("`unmute` comes first");
        let read = self.read.get_or_insert_with(|| read_counter(Rc::clone(file)));
        let mut timer = match wait {
            Wait::Until(limit) => Some(Timer::new(limit)),
            Wait::Forever => None,
            Wait::No => Some(Timer::new(Duration::ZERO)),
        };
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = read.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            if files.shared.poll_news(context).is_ready() {
                return Poll::Ready(None);
            }
            match timer.as_mut().map(|timer| Pin::new(timer).poll(context)) {
                Some(Poll::Ready(_)) => Poll::Ready(None),
                _ => Poll::Pending,
            }
        })
        .await;
        files.shared.sleeper.borrow_mut().take();
        match result {
            Some(result) => {
                self.read = None;
                result
            }
            None => Ok(()),
        }
    }
}

/// Lets the tasks of the executor, and its reactor, have their turn.
async fn yield_to_tasks() {
    glommio::executor().yield_task_queue_now().await;
}

fn into_file(eventfd: OwnedFd) -> BufferedFile {
    // SAFETY: the descriptor is open and given away here; the file owns it from now on.
    unsafe { BufferedFile::from_raw_fd(eventfd.into_raw_fd()) }
}

fn read_counter(file: Rc<BufferedFile>) -> EventfdRead {
    Box::pin(async move { file.read_at(0, 8).await.map(drop).map_err(io::Error::from) })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use glommio::LocalExecutor;

    use super::*;
    use crate::net::{Event, ListenOptions, Listener, RingOptions, StreamAddress};

    fn listening() -> (Ring, SocketAddr) {
        let mut ring = Ring::new(RingOptions::default()).expect("a ring");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::tcp(any, &ListenOptions::default()).expect("a port");
        let StreamAddress::Ip(address) = *listener.address() else { panic!("a TCP listener has a port") };
        ring.listen(listener);
        (ring, address)
    }

    /// Echoes until a peer ends its stream and everything spawned is over.
    async fn serve(ring: &mut Ring, files: &FilesInFlight) -> u32 {
        let (mut parking, mut echoed, mut ended) = (Parking::new(), 0, false);
        while !ended || files.count() > 0 {
            parking.wait(ring, Wait::Forever, files).await.expect("a ring that works");
            while let Some(event) = ring.next_event() {
                match event {
                    Event::Accepted { socket, .. } => drop(ring.attach(socket)),
                    Event::Received { stream, data } => {
                        echoed += 1;
                        ring.send(stream, data.to_vec());
                    }
                    Event::EndOfStream { stream } => {
                        ended = true;
                        ring.close(stream);
                    }
                    _ => {}
                }
            }
        }
        echoed
    }

    fn ping(client: &mut TcpStream) {
        let mut answer = [0; 4];
        client.write_all(b"ping").expect("a peer that reads");
        client.read_exact(&mut answer).expect("a peer that answers");
        assert_eq!(&answer, b"ping");
    }

    #[test]
    fn w1_w4_files_and_sockets_wake_the_same_core() {
        let (mut ring, address) = listening();
        let (start, started) = std::sync::mpsc::channel::<()>();
        let client = std::thread::spawn(move || {
            let mut client = TcpStream::connect(address).expect("a listening port");
            started.recv().expect("the task says when");
            for _ in 0..100 {
                ping(&mut client);
            }
        });
        let executor = LocalExecutor::default();
        executor.run(async move {
            let files = FilesInFlight::new();
            let guard = files.begin();
            let bytes_read = Rc::new(Cell::new(0));
            let read = Rc::clone(&bytes_read);
            glommio::spawn_local(async move {
                let _guard = guard;
                start.send(()).expect("the client waits");
                for _ in 0..100 {
                    let file = BufferedFile::open("/proc/self/exe").await.expect("a file");
                    read.set(read.get() + file.read_at(0, 512).await.expect("readable").len());
                    file.close().await.expect("closable");
                }
            })
            .detach();
            assert_eq!(serve(&mut ring, &files).await, 100);
            assert_eq!(bytes_read.get(), 51_200);
        });
        client.join().expect("the client is content");
    }

    #[test]
    fn w4_the_end_of_a_task_wakes_a_core_without_events() {
        let (mut ring, _address) = listening();
        LocalExecutor::default().run(async move {
            let files = FilesInFlight::new();
            let guard = files.begin();
            glommio::spawn_local(async move {
                let _guard = guard;
                let file = BufferedFile::open("/proc/self/exe").await.expect("a file");
                file.close().await.expect("closable");
            })
            .detach();
            let mut parking = Parking::new();
            while files.count() > 0 {
                parking.wait(&mut ring, Wait::Forever, &files).await.expect("a ring that works");
            }
        });
    }

    #[test]
    fn a_core_sleeping_in_the_executor_keeps_its_time_and_hears_its_doorbell() {
        let (mut ring, _address) = listening();
        LocalExecutor::default().run(async move {
            let files = FilesInFlight::new();
            let _guard = files.begin(); // work that never ends
            let mut parking = Parking::new();
            parking.wait(&mut ring, Wait::Until(Duration::from_millis(1)), &files).await.expect("a ring");
            assert!(ring.next_event().is_none());

            let bell = ring.doorbell();
            let ringer = std::thread::spawn(move || bell.ring_from_any_thread());
            loop {
                parking.wait(&mut ring, Wait::Forever, &files).await.expect("a ring");
                if matches!(ring.next_event(), Some(Event::Doorbell)) {
                    break;
                }
            }
            ringer.join().expect("a bell that rings");
        });
    }
}
