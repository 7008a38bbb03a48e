use super::*;
use proptest::prelude::*;

fn packed(texts: &[&[u8]]) -> Listpack {
    let mut pack = Listpack::new();
    pack.extend(texts.iter().copied());
    pack
}

fn texts(pack: &Listpack) -> Vec<Vec<u8>> {
    pack.iter().map(Entry::to_vec).collect()
}

/// What holds of every listpack.
fn check(pack: &Listpack, model: &[Vec<u8>]) {
    assert_eq!(texts(pack), model);
    assert_eq!(validate(pack.as_bytes()), Ok(model.len()), "P1");
    assert_eq!(pack.len(), model.len());
    assert_eq!(pack.is_empty(), model.is_empty());
    let mut backward: Vec<_> = pack.iter().rev().map(Entry::to_vec).collect();
    backward.reverse();
    assert_eq!(backward, model);
    assert_eq!(Listpack::from_bytes(pack.as_bytes()).as_ref(), Ok(pack));
}

/// Bytes as Redis 7.0.15 dumps them (`DUMP` of a list, hash or zset of these elements).
#[test]
fn the_bytes_are_those_of_redis() {
    let pack = packed(&[b"1", b"-1", b"4095", b"-4096", b"4096", b"abc", b""]);
    assert_eq!(
        pack.as_bytes(),
        b"\x1d\0\0\0\x07\0\x01\x01\xdf\xff\x02\xcf\xff\x02\xd0\0\x02\xf1\0\x10\x03\x83abc\x04\x80\x01\xff"
    );
    let pack = packed(&[b"8388607", b"-8388608", b"8388608", b"-2147483648", b"2147483648"]);
    assert_eq!(
        pack.as_bytes(),
        b"\x27\0\0\0\x05\0\xf2\xff\xff\x7f\x04\xf2\0\0\x80\x04\xf3\0\0\x80\0\x05\xf3\0\0\0\x80\x05\
          \xf4\0\0\0\x80\0\0\0\0\x09\xff"
    );
    let long = vec![b'x'; 200];
    let pack = packed(&[&long]);
    assert_eq!(&pack.as_bytes()[6..8], b"\xe0\xc8");
    assert_eq!(&pack.as_bytes()[208..], b"\x01\xca\xff");
}

#[test]
fn integers_at_every_border_come_back() {
    let borders = [0, 127, 128, 4095, 4096, 32767, 32768, 8_388_607, 8_388_608, 2_147_483_647, i64::MAX];
    for border in borders {
        for value in [border, border.wrapping_neg(), (-border).wrapping_sub(1), border.wrapping_add(1)] {
            let mut pack = Listpack::new();
            pack.insert(pack.end(), Entry::Int(value));
            assert_eq!(pack.get(0), Some(Entry::Int(value)));
            assert_eq!(pack.bytes(), 7 + Entry::Int(value).encoded_bytes());
            check(&pack, &[value.to_string().into_bytes()]);
        }
    }
}

#[test]
fn only_canonical_integers_become_integers() {
    for text in ["01", "-0", "+1", " 1", "1 ", "1.0", "9223372036854775808", "-", ""] {
        assert_eq!(Entry::of(text.as_bytes()), Entry::Str(text.as_bytes()));
    }
    assert_eq!(Entry::of(b"-9223372036854775808"), Entry::Int(i64::MIN));
}

#[test]
fn strings_at_every_border_come_back() {
    for length in [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_378, 16_379, 2_097_146, 2_097_147] {
        let text = vec![b'a'; length];
        let mut pack = packed(&[b"before", &text, b"after"]);
        check(&pack, &[b"before".to_vec(), text.clone(), b"after".to_vec()]);
        assert_eq!(pack.find(pack.first(), &text, 0), pack.seek(1));
        pack.replace(pack.seek(1).expect("three entries"), Entry::Int(7));
        check(&pack, &[b"before".to_vec(), b"7".to_vec(), b"after".to_vec()]);
    }
}

#[test]
fn more_entries_than_the_header_can_count() {
    let mut pack = Listpack::new();
    (0..70_000).for_each(|value| pack.push_back(value.to_string().as_bytes()));
    assert_eq!(pack.len(), 70_000);
    assert_eq!(pack.get(69_999), Some(Entry::Int(69_999)));
    assert_eq!(pack.get(-70_000), Some(Entry::Int(0)));
    assert_eq!((pack.get(-70_001), pack.get(70_000)), (None, None));
    assert_eq!(validate(pack.as_bytes()), Ok(70_000));
    let tail = pack.split_off(pack.seek(69_000).expect("there"));
    assert_eq!((pack.len(), tail.len()), (69_000, 1000));
    assert_eq!(pack.delete_range(0, 69_000), 69_000);
    check(&pack, &[]);
}

#[test]
fn finds_with_a_stride() {
    let pack = packed(&[b"a", b"b", b"b", b"a", b"1", b"b"]);
    assert_eq!(pack.find(pack.first(), b"b", 1), pack.seek(2));
    assert_eq!(pack.find(pack.first(), b"1", 1), pack.seek(4));
    assert_eq!(pack.find(pack.first(), b"1", 2), None);
    assert_eq!(pack.find(pack.seek(1), b"a", 0), pack.seek(3));
}

/// Every single damaged byte is found or is no damage to the structure; and nothing panics.
#[test]
fn a_damaged_byte_never_leads_astray() {
    let long = vec![b'y'; 300];
    let pack = packed(&[b"1", b"-77", b"abc", &long, b"99999999999", b"70000"]);
    let bytes = pack.as_bytes().to_vec();
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(pack) = Listpack::from_bytes(&damaged) {
                assert_eq!(pack.iter().count(), pack.iter().rev().count());
            }
        }
        assert_eq!(Listpack::from_bytes(&bytes[..at]), Err(Damaged));
    }
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        (-5000_i64..5000).prop_map(|value| value.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..20),
        (60_usize..70).prop_map(|length| vec![b'z'; length]),
        (4090_usize..4100).prop_map(|length| vec![b'z'; length]),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_vector(
        changes in proptest::collection::vec((0_u8..8, any::<u16>(), text()), 0..60),
    ) {
        let (mut pack, mut model): (Listpack, Vec<Vec<u8>>) = Default::default();
        for (change, at, text) in changes {
            let index = usize::from(at) % (model.len() + 1);
            let position = pack.seek(index as i64);
            prop_assert_eq!(position.is_some(), index < model.len());
            let entry = Entry::of(&text);
            match (change, position) {
                (0, _) => { pack.push_front(&text); model.insert(0, text) }
                (1, _) | (_, None) => { pack.push_back(&text); model.push(text) }
                (2, Some(at)) => { pack.insert(at, entry); model.insert(index, text) }
                (3, Some(at)) => { pack.insert_after(at, entry); model.insert(index + 1, text) }
                (4, Some(at)) => { pack.replace(at, entry); model[index] = text }
                (5, Some(at)) => { pack.delete(at); model.remove(index); }
                (6, Some(_)) => {
                    let removed = pack.delete_range(index as i64 - model.len() as i64, text.len());
                    let end = model.len().min(index + text.len());
                    prop_assert_eq!(removed, model.drain(index..end).count());
                }
                (_, Some(at)) => {
                    let tail = pack.split_off(at);
                    check(&tail, &model[index..]);
                    let front = std::mem::replace(&mut pack, tail);
                    pack.append(&front);
                    model.rotate_left(index);
                }
            }
            check(&pack, &model);
            for (index, expected) in model.iter().enumerate() {
                let found = pack.get(index as i64).map(Entry::to_vec);
                prop_assert_eq!(found.as_deref(), Some(&expected[..]));
            }
        }
    }
}
