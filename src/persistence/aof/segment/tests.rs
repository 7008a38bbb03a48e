use super::*;

const OK: Option<Result<(), i32>> = Some(Ok(()));

fn writer(policy: Policy) -> SegmentWriter {
    SegmentWriter::new(1, policy, 0, 0, Faults::NONE)
}

fn write(action: Option<Action>) -> (u64, AlignedBuffer, usize, WriteSync) {
    let Some(Action::Write { at, buffer, bytes, sync }) = action else { panic!("{action:?}") };
    (at, buffer, bytes, sync)
}

fn ended(buffer: AlignedBuffer, written: usize, synced: Option<Result<(), i32>>) -> Completion {
    Completion { buffer: Some(buffer), written: Ok(written), synced }
}

#[test]
fn always_writes_and_syncs_what_has_come_together() {
    let mut writer = writer(Policy::Always);
    writer.append(b"one", 1, 0);
    let (at, buffer, bytes, sync) = write(writer.next(0));
    assert_eq!((at, bytes, sync, &buffer.bytes()[..3]), (START, BLOCK, WriteSync::Written, &b"one"[..]));
    writer.append(b"two", 2, 0);
    writer.append(b"three", 3, 0);
    assert!(writer.next(0).is_none(), "one at a time");
    writer.completed(ended(buffer, bytes, OK), 1);
    assert_eq!(writer.durable(), 1);
    let (at, buffer, ..) = write(writer.next(1));
    let mark = encode_mark(1, START + 3, START, 0);
    assert_eq!((at, buffer.bytes()[..51].to_vec()), (START, [b"one", &mark[..], b"twothree"].concat()));
    writer.completed(ended(buffer, BLOCK, OK), 1);
    assert_eq!((writer.durable(), writer.is_durable(), writer.next(9)), (3, true, None));
}

impl PartialEq for Action {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

#[test]
fn every_second_waits_for_more() {
    let mut writer = writer(Policy::EverySecond);
    writer.append(b"one", 1, 10);
    assert_eq!((writer.next(10), writer.due_at_ms()), (None, Some(60)));
    let (_, buffer, bytes, sync) = write(writer.next(60));
    assert_eq!(sync, WriteSync::Nothing);
    writer.completed(ended(buffer, bytes, None), 61);
    assert_eq!((writer.durable(), writer.due_at_ms()), (0, Some(1000)));
    assert!(matches!(writer.next(1000), Some(Action::Sync)));
    writer.completed(Completion { buffer: None, written: Ok(0), synced: OK }, 1001);
    assert_eq!((writer.durable(), writer.due_at_ms()), (1, None));
}

#[test]
fn what_is_too_large_for_one_write_is_durable_with_the_last() {
    let mut writer = writer(Policy::EverySecond);
    writer.set_write_bytes_max(2 * BLOCK);
    let records: Vec<u8> = (0..5 * BLOCK).map(|at| (at / 10) as u8).collect();
    let mut buffer = AlignedBuffer::default();
    buffer.extend_from_slice(&records);
    assert!(!writer.offer(records.len(), 0) && writer.offer(records.len(), BATCH_MS));
    writer.hand_over(buffer, 7, BATCH_MS);
    writer.hurry();
    let mut found = Vec::new();
    for number in 0..3 {
        let (at, buffer, bytes, sync) = write(writer.next(BATCH_MS));
        assert_eq!((at, bytes, sync), (START + found.len() as u64, 2 * BLOCK, WriteSync::File));
        found.extend_from_slice(&buffer.bytes()[..bytes]);
        assert_eq!(writer.durable(), 0, "piece {number}");
        writer.completed(ended(buffer, bytes, OK), BATCH_MS);
    }
    assert_eq!((writer.durable(), writer.is_durable()), (7, true));
    let mark = encode_mark(1, START + records.len() as u64, START, (BLOCK - MARK_BYTES) as u32);
    assert_eq!(found[..records.len() + MARK_BYTES], [&records[..], &mark].concat());
    assert!(found[records.len() + MARK_BYTES..].iter().all(|byte| *byte == 0));
}

#[test]
fn memory_is_handed_over_and_comes_back() {
    let mut writer = writer(Policy::EverySecond);
    let mut addresses = Vec::new();
    for round in 0..20 {
        let mut buffer = writer.lend(true);
        buffer.extend_from_slice(&vec![1; BATCH_BYTES]);
        let address = buffer.bytes().as_ptr() as usize;
        assert!(writer.offer(buffer.len(), 0), "a full batch does not wait");
        writer.hand_over(buffer, round + 1, 0);
        let (_, buffer, bytes, sync) = write(writer.next(0));
        assert_eq!(buffer.bytes().as_ptr() as usize, address, "no copy");
        addresses.push(address);
        writer.completed(ended(buffer, bytes, (sync != WriteSync::Nothing).then_some(Ok(()))), 0);
    }
    addresses.sort_unstable();
    addresses.dedup();
    assert!(addresses.len() <= 2 + UNSYNCED_BYTES_MAX / BATCH_BYTES, "{}", addresses.len());
}

#[test]
fn a_slow_disk_finds_the_chunks_in_order() {
    let mut writer = writer(Policy::No);
    writer.append(&[9; 100], 1, 0);
    let (at, first, bytes, _) = write(writer.next(BATCH_MS));
    for last in 2..5 {
        let mut buffer = AlignedBuffer::default();
        buffer.extend_from_slice(&vec![last as u8; BATCH_BYTES]);
        assert!(writer.offer(buffer.len(), 0), "even while a write is under way");
        writer.hand_over(buffer, last, 0);
        assert!(writer.next(0).is_none());
    }
    assert_eq!(writer.waiting_bytes() / BATCH_BYTES, 3);
    assert!(!writer.offer(BATCH_BYTES - 1, 0));
    writer.completed(ended(first, bytes, None), 0);
    let mut expected = at + bytes as u64;
    for last in 2..5 {
        let (at, buffer, bytes, _) = write(writer.next(0));
        assert_eq!((at, buffer.bytes()[0], bytes % BLOCK), (expected, last, 0), "W4");
        expected += bytes as u64;
        writer.completed(ended(buffer, bytes, None), 0);
    }
}

#[test]
fn w3_after_a_failed_sync_everything_is_written_again() {
    let mut writer = writer(Policy::Always);
    writer.append(&[1; 5000], 1, 0);
    let (_, buffer, bytes, _) = write(writer.next(0));
    writer.append(b"two", 2, 0);
    writer.completed(ended(buffer, bytes, Some(Err(libc::EIO))), 0);
    assert_eq!((writer.durable(), writer.error()), (0, Some(libc::EIO)));
    assert!(writer.next(RETRY_MS - 1).is_none());
    let (at, buffer, bytes, _) = write(writer.next(RETRY_MS));
    assert_eq!((at, bytes, &buffer.bytes()[..5000]), (START, 2 * BLOCK, &[1; 5000][..]));
    writer.completed(ended(buffer, bytes, OK), RETRY_MS);
    assert_eq!((writer.durable(), writer.error()), (1, None));
    let (at, ..) = write(writer.next(RETRY_MS));
    assert_eq!(at, START + BLOCK as u64);
}

#[test]
fn a_short_write_is_tried_again_and_tells_that_space_is_gone() {
    let mut writer = writer(Policy::Always);
    writer.append(&[1; 9000], 1, 0);
    let (_, buffer, ..) = write(writer.next(0));
    writer.completed(ended(buffer, BLOCK, None), 0);
    assert_eq!((writer.durable(), writer.error()), (0, Some(libc::ENOSPC)));
    let (at, buffer, bytes, sync) = write(writer.next(RETRY_MS));
    assert_eq!((at, bytes, sync), (START, 3 * BLOCK, WriteSync::Written));
    writer.completed(ended(buffer, bytes, OK), RETRY_MS);
    assert!(writer.is_durable() && writer.error().is_none());
}
