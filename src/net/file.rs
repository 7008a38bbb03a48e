//! Writes and syncs of files, beside the streams of the same ring.
//!
//! A file has at most one operation under way: a write, a write that is durable itself when it is over (one entry: the
//! cheapest way), a write with a sync behind it (two linked entries of which the second is done only if the first was done
//! whole), or a sync. It is told once, when all of it is over. Buffers belong to
//! the ring meanwhile (N1).

use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{cqueue, opcode, squeue, types};

use super::operation::{self, Id, Kind};
use super::ring::Ring;
use super::{Event, FileId};
use crate::disk::{AlignedBuffer, WriteSync};

pub(super) struct File {
    descriptor: OwnedFd,
    operation: Option<Operation>,
    closing: bool,
}

struct Operation {
    buffer: Option<AlignedBuffer>,
    /// Completions that have not come.
    missing: u8,
    /// So many bytes are durable if they were written.
    durable_bytes: Option<usize>,
    written: Result<usize, i32>,
    synced: Option<Result<(), i32>>,
}

impl Ring {
    /// Takes over a file that is open for writing.
    pub fn attach_file(&mut self, file: OwnedFd) -> FileId {
        FileId(self.files.insert(File { descriptor: file, operation: None, closing: false }))
    }

    /// Writes the first bytes of a padded buffer; if all of them were written, makes durable what `sync` says.
    /// `Event::FileDone` tells and gives the buffer back. With [`WriteSync::Written`] an error may be that of the write
    /// or that of the sync.
    ///
    /// # Panics
    /// If the file has another operation under way, or fewer bytes are there.
    pub fn write_file(
        &mut self,
        file: FileId,
        at: u64,
        mut buffer: AlignedBuffer,
        bytes: usize,
        sync: WriteSync,
    ) {
        let found = self.files.find(file.0).expect("a file that is attached");
        assert!(found.operation.is_none() && !found.closing, "one operation at a time");
        let length = u32::try_from(bytes).expect("writes are cut long before");
        let address = buffer.padded()[..bytes].as_ptr();
        let descriptor = types::Fd(found.descriptor.as_raw_fd());
        let flags = if sync == WriteSync::Written { libc::RWF_DSYNC } else { 0 };
        let write = opcode::Write::new(descriptor, address, length).offset(at).rw_flags(flags).build();
        let write = write.user_data(operation::encode(Kind::FileWrite, file.0));
        let is_linked = sync == WriteSync::File;
        let missing = 1 + u8::from(is_linked);
        let durable_bytes = (sync == WriteSync::Written).then_some(bytes);
        let (written, synced) = (Ok(0), None);
        found.operation = Some(Operation { buffer: Some(buffer), missing, durable_bytes, written, synced });
        if is_linked {
            let linked = [write.flags(squeue::Flags::IO_LINK), sync_entry(descriptor, file.0)];
            // SAFETY: N1 and N3: the operation keeps the buffer, whose memory does not move with it, and the file keeps
            // the descriptor until both completions have come.
            unsafe { self.kernel.push_linked(&linked) };
        } else {
            // SAFETY: as above.
            unsafe { self.kernel.push(&write) };
        }
    }

    /// Makes what was written durable.
    ///
    /// # Panics
    /// If the file has another operation under way.
    pub fn sync_file(&mut self, file: FileId) {
        let found = self.files.find(file.0).expect("a file that is attached");
        assert!(found.operation.is_none() && !found.closing, "one operation at a time");
        found.operation =
            Some(Operation { buffer: None, missing: 1, durable_bytes: None, written: Ok(0), synced: None });
        let entry = sync_entry(types::Fd(found.descriptor.as_raw_fd()), file.0);
        // SAFETY: the entry names no memory; N3 as above.
        unsafe { self.kernel.push(&entry) };
    }

    /// Closes a file, after the operation under way, which is not told any more.
    pub fn close_file(&mut self, file: FileId) {
        let Some(found) = self.files.find(file.0) else { return };
        found.closing = true;
        if found.operation.is_none() {
            self.files.remove(file.0);
        }
    }

    pub(super) fn file_completed(&mut self, kind: Kind, id: Id, completion: &cqueue::Entry) -> Option<Event> {
        let found = self.files.find(id).expect("N2: a file stays until its operation is over");
        let operation = found.operation.as_mut().expect("a completion has an operation");
        let result = usize::try_from(completion.result()).map_err(|_| -completion.result());
        match (kind, result) {
            (Kind::FileWrite, result) => {
                operation.written = result;
                if operation.durable_bytes.is_some_and(|bytes| result == Ok(bytes)) {
                    operation.synced = Some(Ok(()));
                }
            }
            // The write before it was not done whole.
            (_, Err(libc::ECANCELED)) => {}
            (_, result) => operation.synced = Some(result.map(drop)),
        }
        operation.missing -= 1;
        if operation.missing > 0 {
            return None;
        }
        let Operation { buffer, written, synced, .. } = found.operation.take().expect("just seen");
        if found.closing {
            self.files.remove(id);
            return None;
        }
        Some(Event::FileDone { file: FileId(id), buffer, written, synced })
    }
}

fn sync_entry(descriptor: types::Fd, id: Id) -> squeue::Entry {
    let entry = opcode::Fsync::new(descriptor).flags(types::FsyncFlags::DATASYNC).build();
    entry.user_data(operation::encode(Kind::FileSync, id))
}
