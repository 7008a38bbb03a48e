//! Transactions, WATCH and blocked clients under a scheduler that is against them: the server's own state
//! machines, driven by one seed, with every history judged.
//!
//! ```text
//! cargo test --test simulation                                   a few thousand seeds
//! SIMULATION_SEEDS=100000 cargo test --release --test simulation      many
//! SIMULATION_SEED=4711 cargo test --test simulation -- --nocapture    one, with everything that happened
//! cargo test --features planted-bugs --test simulation             are planted bugs found?
//! ```

mod blocking;
mod checker;
mod model;
mod transactions;
mod workload;
mod world;

#[cfg(feature = "planted-bugs")]
mod planted;

use checker::CHECKED_MAX;
use model::{LIST_KEYS, Op, Res, State};
use pinion::transaction::Faults;
use transactions::World;

/// What a simulation has gone through.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    operations: u64,
    checked: u64,
    granted: u64,
    queued: u64,
    refused: u64,
    deferred: u64,
    tickets: u64,
    served: u64,
    messages: u64,
}

/// Steps after which nobody believes in an end any more.
const STEPS_MAX: u64 = 200_000;

/// Runs one seed. The error is what is wrong, with the history.
fn simulate(seed: u64, faults: Faults, trace: bool) -> Result<Seen, String> {
    let mut world = World::new(seed, faults, trace);
    let verdict = run(&mut world).and_then(|()| judge(&world));
    let mut seen = Seen { operations: world.oracle.history.0.len() as u64, ..Seen::default() };
    for node in &world.nodes {
        let stats = node.scheduler.stats;
        seen.granted += stats.granted;
        seen.queued += stats.queued;
        seen.refused += stats.refused;
        seen.deferred += stats.deferred;
    }
    seen.checked = u64::from(seen.operations <= CHECKED_MAX as u64);
    seen.tickets = world.sequence.tickets();
    seen.served = world.oracle.taken.len() as u64;
    seen.messages = world.oracle.now;
    match verdict {
        Ok(()) => Ok(seen),
        Err(complaint) => {
            let trace = world.oracle.trace.take().map_or(String::new(), |lines| lines.join("\n") + "\n");
            Err(format!("seed {seed}: {complaint}\n{trace}{}", world.oracle.history))
        }
    }
}

fn run(world: &mut World) -> Result<(), String> {
    loop {
        step_until_silent(world)?;
        // Only those who wait are left: time goes on for them.
        if let Some((deadline, op)) = world.waits.next_deadline() {
            world.oracle.now = world.oracle.now.max(deadline);
            world.time_out(op);
        } else if let Some(stuck) = world.clients.iter().find_map(|client| client.outstanding.first()) {
            return Err(format!("operation {stuck} is never answered"));
        } else {
            break;
        }
    }
    for client in 0..world.clients.len() {
        if !world.clients[client].gone {
            world.disconnect(client);
        }
    }
    step_until_silent(world)?;
    leaves_nothing(world)
}

fn step_until_silent(world: &mut World) -> Result<(), String> {
    loop {
        world.oracle.now += 1;
        if world.oracle.now > STEPS_MAX {
            return Err("there is no end".to_owned());
        }
        let leaver = |client: &transactions::Client| !client.gone && client.leaves_at <= world.oracle.now;
        if let Some(client) = world.clients.iter().position(leaver) {
            world.disconnect(client);
        }
        if let Some((deadline, op)) = world.waits.next_deadline()
            && deadline <= world.oracle.now
        {
            world.time_out(op);
        }
        // A client that can go on, or a channel that has something: all with the same chance.
        let first = world.random.index(world.clients.len());
        let mut order = (first..world.clients.len()).chain(0..first);
        let ready = order.find(|client| world.may_start(*client));
        match ready {
            None if world.net.is_silent() => return Ok(()),
            Some(client) if world.random.index(1 + world.net.busy()) == 0 => world.start(client),
            _ => {
                if let Some((from, to, message)) = world.net.deliver(&mut world.random) {
                    world.receive(from, to, message);
                }
            }
        }
        if let Some(objection) = world.oracle.objection.take() {
            return Err(objection);
        }
    }
}

/// When all clients have gone nothing is left of them.
fn leaves_nothing(world: &World) -> Result<(), String> {
    for (core, node) in world.nodes.iter().enumerate() {
        let left = [
            ("queue", !node.scheduler.is_idle()),
            ("intents", !node.scheduler.intents().is_empty()),
            ("transactions", node.coordinator.active() > 0),
            ("watched keys", !node.shard.watch.is_empty()),
            ("waiters", !node.shard.lines.is_empty()),
        ];
        if let Some((what, _)) = left.iter().find(|(_, is_left)| *is_left) {
            return Err(format!("core {core}: {what} are left in the end"));
        }
    }
    if world.sequence.admits(None) { Ok(()) } else { Err("a ticket is left in the end".to_owned()) }
}

fn judge(world: &World) -> Result<(), String> {
    let records = &world.oracle.history.0;
    if let Some(sum) = world.workload.sum() {
        let accounts = world.workload.accounts();
        for (op, record) in records.iter().enumerate() {
            let values = match &record.result {
                Some(Res::Ints(values)) => Some(values),
                Some(Res::Exec(Some(replies))) => match &replies[..] {
                    [Res::Ints(values)] => Some(values),
                    _ => None,
                },
                _ => None,
            };
            if values.is_some_and(|values| values.len() == accounts && values.iter().sum::<i32>() != sum) {
                return Err(format!("operation {op} saw a sum other than {sum}"));
            }
        }
    }
    exactly_once(world)?;
    if records.len() <= CHECKED_MAX {
        let start = State { store: world.workload.start, ..State::default() };
        if !world.oracle.history.is_strictly_serializable(start) {
            return Err("the history is not strictly serializable".to_owned());
        }
    }
    Ok(())
}

/// No element comes out twice, and one that was given to a waiting client has reached him if he was there.
fn exactly_once(world: &World) -> Result<(), String> {
    let mut items: Vec<u16> = Vec::new();
    for record in &world.oracle.history.0 {
        match (&record.op, &record.result) {
            (_, Some(Res::Popped(Some((_, item))))) => items.push(*item),
            (Op::Cmd(model::Cmd::Pop(_)), Some(Res::Int(item))) => items.push(*item as u16),
            _ => {}
        }
    }
    for (item, op) in &world.oracle.taken {
        let record = &world.oracle.history.0[*op];
        let unseen = world.clients[record.client].gone && world.waits.was_served(*op);
        let reached = matches!(record.result, Some(Res::Popped(Some((_, got)))) if got == *item);
        if !reached && !unseen {
            return Err(format!("operation {op} was served with {item}, which did not reach it"));
        }
    }
    for list in 0..LIST_KEYS {
        let owner = world.workload.owners[usize::from(model::LISTS) + list];
        items.extend(world.nodes[owner].shard.store.lists[list].items());
    }
    let count = items.len();
    items.sort_unstable();
    items.dedup();
    if items.len() == count { Ok(()) } else { Err("an element came out twice".to_owned()) }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn histories_are_strictly_serializable() {
    if let Some(seed) = from_environment("SIMULATION_SEED") {
        match simulate(seed, Faults::NONE, true) {
            Ok(seen) => println!("seed {seed}: {seen:?}"),
            Err(complaint) => panic!("{complaint}"),
        }
        return;
    }
    let first = from_environment("SIMULATION_FIRST").unwrap_or(0);
    let seeds = from_environment("SIMULATION_SEEDS").unwrap_or(3000);
    let mut all = Seen::default();
    for seed in first..first + seeds {
        match simulate(seed, Faults::NONE, false) {
            Ok(seen) => {
                all.operations += seen.operations;
                all.checked += seen.checked;
                all.granted += seen.granted;
                all.queued += seen.queued;
                all.refused += seen.refused;
                all.deferred += seen.deferred;
                all.tickets += seen.tickets;
                all.served += seen.served;
                all.messages += seen.messages;
            }
            Err(complaint) => panic!("{complaint}\nreplay: SIMULATION_SEED={seed}"),
        }
    }
    println!("{seeds} seeds: {all:?}");
    // A simulation in which nothing happens proves nothing.
    assert!(
        all.queued > seeds / 4
            && all.refused > seeds / 20
            && all.deferred > seeds / 4
            && all.served > seeds / 20
    );
}

#[test]
fn a_seed_replays_to_the_letter() {
    for seed in 0..20 {
        let twice = [(); 2].map(|()| {
            let mut world = World::new(seed, Faults::NONE, true);
            let verdict = run(&mut world);
            (verdict, world.oracle.trace, world.oracle.history.to_string())
        });
        assert!(twice[0] == twice[1], "seed {seed}");
    }
}
