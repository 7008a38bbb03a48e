use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn classes_cover_every_size_with_little_waste() {
    for size in 1..=SPAN_OBJECT_MAX {
        let bytes = rounded(size);
        assert!(bytes >= size);
        if size <= FINE_MAX {
            assert!(bytes - size < 8);
        } else {
            assert!((bytes - size) as f64 / size as f64 <= 0.15, "{size} -> {bytes}");
        }
        assert!(class_of(size).expect("small enough") < CLASSES);
        assert_eq!(rounded(bytes), bytes, "rounding is stable");
    }
    assert_eq!(class_of(SPAN_OBJECT_MAX), Some(CLASSES - 1));
    assert_eq!(rounded(SPAN_OBJECT_MAX + 1), SPAN_OBJECT_MAX + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// S1, S4, S5: objects keep their bytes, never overlap, and everything comes back.
    #[test]
    fn objects_are_disjoint_and_all_bytes_come_back(
        steps in proptest::collection::vec((1usize..20_000, any::<u16>(), any::<bool>()), 1..400)
    ) {
        let slab = Slab::new();
        let mut live: BTreeMap<usize, (NonNull<u8>, usize, u8)> = BTreeMap::new();
        let mut expected = 0;
        for (step, (size, pick, release)) in steps.into_iter().enumerate() {
            if release && !live.is_empty() {
                let key = *live.keys().nth(pick as usize % live.len()).expect("in range");
                let (object, size, fill) = live.remove(&key).expect("present");
                // SAFETY: the object is live and has `size` initialised bytes.
                let bytes = unsafe { std::slice::from_raw_parts(object.as_ptr(), size) };
                prop_assert!(bytes.iter().all(|&byte| byte == fill));
                expected -= rounded(size);
                // SAFETY: allocated with this size, freed once.
                unsafe { slab.free(object, size) };
            } else {
                let size = if pick % 4 == 0 { size } else { size % 300 + 1 };
                let object = slab.allocate(size);
                let align = if size % 64 == 0 { 64 } else { 8 };
                prop_assert_eq!(object.addr().get() % align, 0);
                // SAFETY: the object has `size` bytes.
                unsafe { object.as_ptr().write_bytes(step as u8, size) };
                expected += rounded(size);
                live.insert(object.addr().get(), (object, size, step as u8));
            }
            prop_assert_eq!(slab.used_bytes(), expected);
            prop_assert!(slab.reserved_bytes() >= expected);
        }
        for (object, size, fill) in live.into_values() {
            // SAFETY: as above.
            let bytes = unsafe { std::slice::from_raw_parts(object.as_ptr(), size) };
            prop_assert!(bytes.iter().all(|&byte| byte == fill));
            // SAFETY: as above.
            unsafe { slab.free(object, size) };
        }
        prop_assert_eq!(slab.used_bytes(), 0);
    }
}

#[test]
fn emptied_regions_go_back() {
    let slab = Slab::new();
    let objects: Vec<_> = (0..200_000).map(|_| slab.allocate(88)).collect();
    assert!(slab.reserved_bytes() > 16 << 20);
    assert!((slab.reserved_bytes() - slab.used_bytes()) < 2 * REGION_BYTES, "88 bytes fill a span");
    for object in objects {
        // SAFETY: allocated above, freed once.
        unsafe { slab.free(object, 88) };
    }
    assert_eq!(slab.used_bytes(), 0);
    let full = slab.reserved_bytes();
    assert!(slab.release(3));
    assert_eq!(slab.reserved_bytes(), full - 3 * REGION_BYTES, "bounded");
    while slab.release(3) {}
    assert!(slab.reserved_bytes() <= 2 * REGION_BYTES);
}
