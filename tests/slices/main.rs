//! Deleting a million elements never stalls a core: whatever removes a big value, no step frees more than its budget.
//!
//! Steps are measured by what they give back to the allocator, which counts per thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;

use pinion::base::UnixMillis;
use pinion::keyspace::{EFFORT_AT_ONCE_MAX, Keyspace, Slab, Ttl};
use pinion::types::encoding::quicklist::End;
use pinion::types::stream::{Delivery, Group, Stream, StreamId};
use pinion::types::{EncodingLimits, Hash, List, Set, SortedSet, Value};

/// Elements of a value; a million where the build is optimised.
const ELEMENTS: usize = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
const BUDGET: usize = 500;
/// What goes with one step or another: the handle of the value, vectors of the table's own.
const BESIDES: usize = 16;
/// Nodes of trees go with what was in them.
const STEP_MAX: usize = BUDGET + BUDGET / 4 + BESIDES;

struct Counting;

thread_local! {
    static FREED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does it; here it is only counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // A thread that ends frees without its locals.
        let _ = FREED.try_with(|freed| freed.set(freed.get() + 1));
        // SAFETY: passed on to the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many pieces `step` gives back.
fn freed_by<R>(step: impl FnOnce() -> R) -> (usize, R) {
    let before = FREED.get();
    let result = step();
    (FREED.get() - before, result)
}

fn limits() -> EncodingLimits {
    EncodingLimits::default()
}

fn big_set() -> Value {
    let (mut set, limits) = (Set::default(), limits());
    for number in 0..ELEMENTS {
        set.add(format!("member:{number}").as_bytes(), &limits);
    }
    Value::Set(set)
}

/// Members too long for the table's own memory: an allocation each.
fn big_set_of_long_members() -> Value {
    let (mut set, limits) = (Set::default(), limits());
    for number in 0..ELEMENTS / 10 {
        set.add(format!("{number:0300}").as_bytes(), &limits);
    }
    Value::Set(set)
}

fn big_hash() -> Value {
    let (mut hash, limits) = (Hash::default(), limits());
    for number in 0..ELEMENTS {
        hash.set(format!("field:{number}").as_bytes(), b"value", &limits);
    }
    Value::Hash(hash)
}

fn big_hash_with_deadlines() -> Value {
    let (mut hash, limits) = (Hash::default(), limits());
    for number in 0..ELEMENTS / 2 {
        let field = format!("field:{number}");
        hash.set(field.as_bytes(), b"value", &limits);
        hash.set_deadline(field.as_bytes(), UnixMillis(1_000_000 + number as u64), &limits);
    }
    Value::Hash(hash)
}

fn big_sorted_set() -> Value {
    let (mut set, limits) = (SortedSet::default(), limits());
    for number in 0..ELEMENTS {
        set.put(format!("member:{number}").as_bytes(), number as f64, &limits);
    }
    Value::SortedSet(set)
}

/// Elements so large that each has a node of its own.
fn big_list() -> Value {
    let (mut list, limits) = (List::default(), EncodingLimits { list_max_listpack_size: 1, ..limits() });
    (0..ELEMENTS).for_each(|number| list.push(End::Back, format!("element:{number}").as_bytes(), &limits));
    Value::List(list)
}

/// All entries delivered to one consumer, none acknowledged.
fn big_stream() -> Value {
    let (mut stream, limits, now) = (Stream::default(), limits(), UnixMillis(1));
    for number in 1..=ELEMENTS as u64 {
        let fields = [(&b"field"[..], &b"value"[..])];
        let added = stream.log_mut().append(StreamId::new(number, 0), fields.into_iter(), &limits);
        assert!(added.is_ok());
    }
    assert!(stream.create_group(b"group", Group::new(StreamId::MIN, None)));
    let consumer = stream.group_mut(b"group").expect("just created").1.create(b"consumer", now);
    let delivery = Delivery { consumer, count: None, noack: false, now };
    assert_eq!(stream.deliver(b"group", &delivery, |_| ()), ELEMENTS as u64);
    Value::Stream(Box::new(stream))
}

type Make = fn() -> Value;
type Remove = fn(&mut Keyspace);

const VALUES: &[(&str, Make)] = &[
    ("set", big_set),
    ("set of long members", big_set_of_long_members),
    ("hash", big_hash),
    ("hash with deadlines", big_hash_with_deadlines),
    ("sorted set", big_sorted_set),
    ("list", big_list),
    ("stream", big_stream),
];

const REMOVALS: &[(&str, Remove)] = &[
    ("DEL", |keyspace| assert!(keyspace.remove(b"key"))),
    ("UNLINK", |keyspace| assert!(keyspace.unlink(b"key"))),
    ("expiry", |keyspace| assert_eq!(keyspace.remove_at(b"key", UnixMillis(2), false), Some(true))),
    ("SET over it", |keyspace| assert!(!keyspace.set_string(b"key", b"small", Ttl::Clear))),
    ("SET over it, longer", |keyspace| assert!(!keyspace.set_string(b"key", &[b'x'; 200], Ttl::Clear))),
    ("another value over it", |keyspace| {
        assert!(!keyspace.insert(b"key", Value::Set(Set::default()), Ttl::Clear));
    }),
    ("FLUSHDB ASYNC", |keyspace| keyspace.clear_lazily()),
];

#[test]
fn no_step_frees_more_than_its_budget() {
    for (name, make) in VALUES {
        let value = make();
        for (removal, remove) in REMOVALS {
            let value = value.clone();
            assert!(
                value.free_effort() > EFFORT_AT_ONCE_MAX,
                "{name} has only {} pieces",
                value.free_effort()
            );
            let mut keyspace = Keyspace::new(Rc::new(Slab::new()), [1, 2, 3, 4]);
            keyspace.insert(b"key", value, Ttl::Clear);

            let (at_once, ()) = freed_by(|| remove(&mut keyspace));
            assert!(at_once <= BESIDES, "{removal} of a {name} freed {at_once} pieces at once");
            let (mut steps, mut total) = (0, at_once);
            loop {
                let (freed, more) = freed_by(|| keyspace.maintain(BUDGET));
                assert!(freed <= STEP_MAX, "{removal} of a {name}: step {steps} freed {freed} pieces");
                (steps, total) = (steps + 1, total + freed);
                if !more {
                    break;
                }
            }
            assert_eq!(keyspace.lazy_pending(), 0);
            // Nothing was kept for the end, either.
            let (rest, ()) = freed_by(|| drop(keyspace));
            assert!(rest <= BESIDES + 32, "{removal} of a {name}: {rest} pieces were left to the end");
            assert!(
                total > EFFORT_AT_ONCE_MAX && steps > EFFORT_AT_ONCE_MAX / BUDGET,
                "{removal} of a {name}"
            );
        }
    }
}

/// What is small enough does not wait: its memory is there for the next command.
#[test]
fn small_values_are_freed_at_once() {
    let mut keyspace = Keyspace::new(Rc::new(Slab::new()), [1, 2, 3, 4]);
    let (mut set, limits) = (Set::default(), limits());
    for number in 0..10_000 {
        set.add(format!("member:{number}").as_bytes(), &limits);
    }
    let effort = set.free_effort();
    keyspace.insert(b"key", Value::Set(set), Ttl::Clear);
    let (freed, removed) = freed_by(|| keyspace.remove(b"key"));
    assert!(removed && freed >= effort && keyspace.lazy_pending() == 0);
}
