//! Whatever the bytes of a string that is taken for a HyperLogLog: it is refused as corrupted, or what is counted,
//! merged and added agrees with its registers.

use bolero::check;
use pinion::types::hyperloglog::{
    REGISTERS, Run, add, cached_estimate, check as is_one, empty, estimate, estimate_registers, is_sparse,
    make_dense, merge_into, raise, runs,
};

const HEADER_BYTES: usize = 16;

/// As they are; behind a header that is right; and the runs of a whole one with some of them spoilt.
fn strings(input: &[u8]) -> Vec<Vec<u8>> {
    let header = &empty()[..HEADER_BYTES];
    let framed = [header, input].concat();
    let mut spoilt = empty();
    for (index, element) in input.chunks(3).enumerate() {
        add(&mut spoilt, element, 3000).expect("what it made is whole");
        if index % 4 == 3 {
            let at = HEADER_BYTES + usize::from(element[0]) % (spoilt.len() - HEADER_BYTES);
            spoilt[at] ^= element[element.len() - 1];
            break;
        }
    }
    vec![input.to_vec(), framed, spoilt]
}

fn registers_of(bytes: &[u8]) -> Option<Box<[u8; REGISTERS]>> {
    let mut registers = Box::new([0; REGISTERS]);
    merge_into(bytes, &mut registers).ok().map(|()| registers)
}

#[test]
fn bytes_from_outside() {
    check!().with_iterations(1_000).for_each(|input: &[u8]| {
        for bytes in strings(input).into_iter().filter(|bytes| is_one(bytes)) {
            // These look at the header alone.
            let _ = cached_estimate(&bytes);
            let registers = registers_of(&bytes);
            if is_sparse(&bytes) {
                let covered = runs(&bytes).map(|run| run.map(Run::registers)).sum::<Result<usize, _>>();
                assert_eq!(registers.is_some(), matches!(covered, Ok(REGISTERS)), "all registers or none");
            }
            let counted = estimate(&bytes).ok();
            assert_eq!(counted.is_some(), registers.is_some());
            let (mut dense, mut changed) = (bytes.clone(), bytes.clone());
            let became = make_dense(&mut dense);
            let index = input.first().map_or(0, |byte| usize::from(*byte) * 64);
            let raised = raise(&mut changed, index, 20, 3000);
            // A damaged one may hide its damage from a change that comes before it, never from a whole reading.
            let Some(registers) = registers else { continue };
            assert_eq!(counted, Some(estimate_registers(&registers)));
            assert!(became.is_ok() && registers_of(&dense).as_ref() == Some(&registers), "the same, dense");
            let after = registers_of(&changed).expect("a change leaves it whole");
            assert_eq!(raised.is_ok_and(|raised| raised), after != registers);
            assert_eq!(after[index], registers[index].max(20));
            let others = (0..REGISTERS).filter(|other| *other != index);
            assert!(others.into_iter().all(|other| after[other] == registers[other]));
        }
    });
}
