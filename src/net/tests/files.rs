//! Files on the ring.

use super::*;
use crate::disk::{AlignedBuffer, BLOCK, Directory, Disk, WriteSync};

/// The buffer, what was written, and whether it was synced.
type Done = (Option<AlignedBuffer>, Result<usize, i32>, Option<Result<(), i32>>);

fn done(ring: &mut Ring) -> Done {
    loop {
        while let Some(event) = ring.next_event() {
            if let Event::FileDone { buffer, written, synced, .. } = event {
                return (buffer, written, synced);
            }
        }
        ring.submit_and_wait(Wait::Forever).expect("a ring that works");
    }
}

#[test]
fn what_is_written_and_synced_is_told_once_and_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Directory::open(directory.path()).expect("it exists");
    disk.create("file", &[7; BLOCK]).expect("writable");
    let mut ring = Ring::new(RingOptions::default()).expect("a ring");
    let file = ring.attach_file(disk.open_for_append("file").expect("it exists").file);
    let mut buffer = AlignedBuffer::default();
    buffer.extend_from_slice(&[8; 5000]);
    ring.write_file(file, BLOCK as u64, buffer, 2 * BLOCK, WriteSync::File);
    let (buffer, written, synced) = done(&mut ring);
    assert_eq!((written, synced), (Ok(2 * BLOCK), Some(Ok(()))));
    let mut buffer = buffer.expect("it comes back");
    buffer.clear();
    buffer.extend_from_slice(&[9; 10]);
    ring.write_file(file, 0, buffer, BLOCK, WriteSync::Nothing);
    let (_, written, synced) = done(&mut ring);
    assert_eq!((written, synced), (Ok(BLOCK), None));
    ring.sync_file(file);
    let (buffer, _, synced) = done(&mut ring);
    assert!(buffer.is_none() && synced == Some(Ok(())));
    let bytes = disk.read("file").expect("it exists");
    let expected = [&[9; 10][..], &[0; BLOCK - 10], &[8; 5000], &[0; 2 * BLOCK - 5000]].concat();
    assert_eq!(&bytes[..], &expected[..]);
    ring.close_file(file);
    assert_eq!(ring.files.len(), 0);
}

#[test]
fn a_write_that_fails_is_not_synced() {
    for sync in [WriteSync::File, WriteSync::Written] {
        let mut ring = Ring::new(RingOptions::default()).expect("a ring");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("every Linux has it");
        let file = ring.attach_file(full.into());
        let mut buffer = AlignedBuffer::default();
        buffer.extend_from_slice(b"bytes");
        ring.write_file(file, 0, buffer, BLOCK, sync);
        let (buffer, written, synced) = done(&mut ring);
        assert_eq!((written, synced), (Err(libc::ENOSPC), None));
        assert_eq!(buffer.expect("it comes back").bytes(), b"bytes");
    }
}

#[test]
fn a_write_that_is_durable_itself_is_told_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Directory::open(directory.path()).expect("it exists");
    disk.create("file", &[7; BLOCK]).expect("writable");
    let mut ring = Ring::new(RingOptions::default()).expect("a ring");
    let file = ring.attach_file(disk.open_for_append("file").expect("it exists").file);
    let mut buffer = AlignedBuffer::default();
    buffer.extend_from_slice(&[8; 5000]);
    ring.write_file(file, 0, buffer, 2 * BLOCK, WriteSync::Written);
    let (_, written, synced) = done(&mut ring);
    assert_eq!((written, synced), (Ok(2 * BLOCK), Some(Ok(()))));
    ring.close_file(file);
    assert_eq!(ring.files.len(), 0);
    assert_eq!(disk.read("file").expect("it exists")[..5000], [8; 5000]);
}

#[test]
fn a_ring_that_is_dropped_waits_for_its_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = Directory::open(directory.path()).expect("it exists");
    disk.create("file", b"").expect("writable");
    let mut ring = Ring::new(RingOptions::default()).expect("a ring");
    let file = ring.attach_file(disk.open_for_append("file").expect("it exists").file);
    let mut buffer = AlignedBuffer::default();
    buffer.extend_from_slice(&vec![5; 1 << 20]);
    ring.write_file(file, 0, buffer, 1 << 20, WriteSync::File);
    ring.submit_and_wait(Wait::No).expect("a ring that works");
    drop(ring);
    assert_eq!(disk.read("file").expect("it exists").len(), 1 << 20);
}
