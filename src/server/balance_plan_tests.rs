//! The plan on a simple model of a machine: CPUs, each with cores of ours and with somebody else's load; connections that
//! each want a share of a CPU; readings as coarse as the system's.

use super::*;

struct Machine {
    cpus: Vec<usize>,
    /// By core.
    connections: Vec<usize>,
    /// By CPU: what others would use if they were alone.
    outside: Vec<f64>,
    /// What one connection makes its core run.
    each: f64,
    plan: Plan,
    seed: u64,
    /// Connections that were moved so far.
    moved: usize,
}

impl Machine {
    fn new(cpus: &[usize], connections: &[usize], outside: &[f64], each: f64) -> Self {
        Self {
            cpus: cpus.to_vec(),
            connections: connections.to_vec(),
            outside: outside.to_vec(),
            each,
            plan: Plan::new(cpus),
            seed: 1,
            moved: 0,
        }
    }

    /// Up to a tenth of a period, as ticks of a hundredth of a second make it.
    fn noise(&mut self) -> f64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((self.seed >> 40) as f64 / (1u64 << 24) as f64 - 0.5) / 10.0
    }

    fn readings(&mut self) -> Vec<Reading> {
        let mut readings = Vec::new();
        for core in 0..self.cpus.len() {
            let cpu = self.cpus[core];
            let wanted = |core: usize| (self.connections[core] as f64 * self.each).min(1.0);
            let outside = self.outside[cpu];
            let mine = wanted(core);
            let siblings: f64 = (0..self.cpus.len())
                .filter(|other| *other != core && self.cpus[*other] == cpu)
                .map(wanted)
                .sum();
            // Whoever wants a CPU gets it, or an equal part of it.
            let others = outside + siblings;
            let total = mine + others;
            let ran = if total <= 1.0 { mine } else { mine.min((1.0 - others).max(mine / total)) };
            let used = total.min(1.0);
            // It wakes up while somebody else runs.
            let waited = (ran * others.min(1.0)).min(1.0 - ran) + (mine - ran);
            let idle = (1.0 - used + self.noise()).clamp(0.0, 1.0);
            readings.push(Reading { connections: self.connections[core], ran, waited, idle });
        }
        readings
    }

    fn run(&mut self, periods: usize) -> usize {
        let before = self.moved;
        for _ in 0..periods {
            let readings = self.readings();
            for Shift { from, to, share, at_least_one } in self.plan.step(&readings) {
                assert_ne!(self.cpus[from], self.cpus[to]);
                assert!(share > 0.0 && share <= 1.0, "{share}");
                let exact = self.connections[from] as f64 * share;
                let count = if at_least_one { exact.ceil() } else { exact.floor() } as usize;
                self.connections[from] -= count;
                self.connections[to] += count;
                self.moved += count;
            }
        }
        self.moved - before
    }
}

#[test]
fn connections_leave_a_cpu_that_others_use_and_stay_away() {
    for outside in [0.5, 0.8, 1.0] {
        let mut machine = Machine::new(&[0, 1], &[25, 25], &[0.0, outside], 0.012);
        machine.run(6);
        assert_eq!(machine.connections, [50, 0], "within 0.6 s, load {outside}");
        assert!(machine.plan.is_taken(1) && !machine.plan.is_taken(0));
        assert_eq!(machine.run(10_000), 0, "and nothing moves any more, load {outside}");
    }
}

#[test]
fn they_go_in_proportion_to_the_room_there_is() {
    // There is room for all of them.
    let mut machine = Machine::new(&[0, 1], &[10, 10], &[0.0, 1.0], 0.02);
    machine.run(1);
    assert_eq!(machine.connections, [20, 0]);
    // For few: half of them each time.
    let mut machine = Machine::new(&[0, 1, 2], &[60, 70, 60], &[0.0, 1.0, 0.0], 0.012);
    machine.run(1);
    assert_eq!(machine.connections[1], 35);
    machine.run(8);
    assert_eq!(machine.connections[1], 0);
    // A core that is full takes them, if its CPU is its own, and all of them, if there is no other.
    let mut machine = Machine::new(&[0, 1], &[70, 70], &[0.0, 1.0], 0.012);
    machine.run(1);
    assert_eq!(machine.connections, [140, 0]);
    assert_eq!(machine.run(1000), 0);
    // Not if others use that as well.
    let mut machine = Machine::new(&[0, 1], &[40, 40], &[0.3, 1.0], 0.012);
    machine.run(1000);
    assert!(machine.connections[1] > 0 && machine.moved <= 40, "{:?}", machine.connections);
    // The one with the most room takes them.
    let mut machine = Machine::new(&[0, 1, 2], &[20, 20, 20], &[0.2, 1.0, 0.0], 0.01);
    machine.run(1);
    assert_eq!(machine.connections, [20, 0, 40]);
}

#[test]
fn nothing_moves_where_nobody_is_short_of_a_cpu() {
    for (connections, outside) in [
        ([0, 0], [1.0, 0.0]),   // nobody is there
        ([50, 50], [0.0, 0.0]), // even and busy
        ([60, 10], [0.0, 0.0]), // uneven, and not busy
        ([5, 5], [0.3, 0.1]),   // lightly loaded
        ([50, 50], [1.0, 1.0]), // the same everywhere
    ] {
        let mut machine = Machine::new(&[0, 1], &connections, &outside, 0.01);
        assert_eq!(machine.run(2000), 0, "{connections:?} {outside:?}");
        assert_eq!(machine.connections, connections);
    }
}

#[test]
fn when_the_load_has_gone_they_come_back_if_they_are_needed() {
    let mut machine = Machine::new(&[0, 1], &[50, 50], &[0.0, 1.0], 0.012);
    machine.run(20);
    let crowded = machine.connections[0];
    assert!(crowded > 70 && machine.plan.is_taken(1));
    machine.outside[1] = 0.0;
    assert_eq!(machine.run(8), 0, "not at once");
    machine.run(80);
    assert!(!machine.plan.is_taken(1));
    assert!((50..80).contains(&machine.connections[0]), "{:?}", machine.connections);
    let settled = machine.connections.clone();
    assert_eq!(machine.run(10_000), 0, "{settled:?} is even enough");

    // Where the crowd is no burden it stays.
    let mut machine = Machine::new(&[0, 1], &[25, 25], &[0.0, 1.0], 0.012);
    machine.run(20);
    machine.outside[1] = 0.0;
    machine.run(1000);
    assert_eq!(machine.connections, [50, 0]);
    assert!(!machine.plan.is_taken(1), "new ones are welcome there");
}

#[test]
fn loads_that_come_and_go_do_not_throw_connections_to_and_fro() {
    let mut machine = Machine::new(&[0, 1], &[25, 25], &[0.0, 0.0], 0.012);
    for round in 0..1000 {
        machine.outside[1] = if round % 2 == 0 { 1.0 } else { 0.0 };
        machine.run(5);
    }
    assert!(machine.moved <= 30, "{} moves", machine.moved);
    assert_eq!(machine.connections, [50, 0]);
}

#[test]
fn p3_connections_do_not_follow_loads_that_come_now_here_now_there() {
    let mut machine = Machine::new(&[0, 1], &[5, 5], &[0.0, 0.0], 0.02);
    for round in 0..1000 {
        machine.outside = if round % 2 == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] };
        machine.run(3);
    }
    assert!(machine.moved <= 400, "{} moves", machine.moved);
    // But where it lasts, they leave.
    machine.outside = vec![0.0, 1.0];
    machine.run(PAUSE_MAX as usize + 10);
    assert_eq!(machine.connections, [10, 0]);
}

const IDLE: Reading = Reading { connections: 0, ran: 0.0, waited: 0.0, idle: 1.0 };
const CROWDED_ONE: Reading = Reading { connections: 20, ran: 1.0, waited: 0.0, idle: 0.0 };

/// How many of so many periods with these readings had something to move.
fn shifts(plan: &mut Plan, readings: &[Reading], periods: usize) -> usize {
    (0..periods).map(|_| plan.step(readings).len()).sum()
}

/// A CPU that is idle until it is made use of.
#[test]
fn p2_what_is_tried_in_vain_is_tried_ever_more_rarely() {
    let mut plan = Plan::new(&[0, 1]);
    let waits = Reading { connections: 20, ran: 0.3, waited: 0.3, idle: 0.0 };
    let until_tried = |plan: &mut Plan| {
        plan.step(&[CROWDED_ONE, waits]);
        assert!(plan.is_taken(1));
        (1..20_000).find(|_| !plan.step(&[CROWDED_ONE, IDLE]).is_empty()).expect("some time")
    };
    let mut before: u32 = until_tried(&mut plan);
    assert!((TRIAL..TRIAL + 5).contains(&before), "{before}");
    for _ in 0..9 {
        let now = until_tried(&mut plan);
        assert!((before * 3 / 2..before * 2 + 5).contains(&now), "{now} after {before}");
        before = now;
    }
    (0..3).for_each(|_| before = until_tried(&mut plan));
    assert!((TRIAL_MAX..TRIAL_MAX + 5).contains(&before), "{before}: at last not more rarely than that");
    // It was no vain attempt.
    shifts(&mut plan, &[Reading { ran: 0.5, idle: 0.5, ..CROWDED_ONE }, IDLE], 5 * TRIAL_MAX as usize + 1);
    assert!(until_tried(&mut plan) < TRIAL + 5);
}

/// Load that moves along with what was moved would only move back.
#[test]
fn p4_what_was_moved_for_an_even_load_does_not_go_back_the_same_way() {
    let mut plan = Plan::new(&[0, 1]);
    assert_eq!(shifts(&mut plan, &[CROWDED_ONE, IDLE], 13), 1);
    assert_eq!(shifts(&mut plan, &[IDLE, CROWDED_ONE], 80), 0);
    assert!(shifts(&mut plan, &[IDLE, CROWDED_ONE], 40) > 0, "but after a while");
}

/// One connection that fills a core would only fill another.
#[test]
fn a_single_connection_stays() {
    let mut plan = Plan::new(&[0, 1]);
    assert_eq!(shifts(&mut plan, &[Reading { connections: 1, ..CROWDED_ONE }, IDLE], 1000), 0);
}

/// A client that was now on this CPU and now on that one stayed on one in the end. Both cores were taken by then, and no
/// CPU was ever idle enough to be calm: once, the connections beside the client never left.
#[test]
fn a_core_that_was_taken_is_given_connections_if_it_has_time() {
    let waits = Reading { connections: 20, ran: 0.4, waited: 0.4, idle: 0.0 };
    let has_time = Reading { connections: 20, ran: 0.6, waited: 0.02, idle: 0.3 };
    let mut plan = Plan::new(&[0, 1]);
    assert_eq!(shifts(&mut plan, &[waits, has_time], 1), 1);
    assert!(shifts(&mut plan, &[has_time, waits], 5) > 0);
    assert!(plan.is_taken(0) && plan.is_taken(1));
}

/// Its CPU will never be idle while it serves everybody: it is free as soon as it is seen to be alone there.
#[test]
fn a_core_that_runs_beside_nobody_is_not_taken() {
    let waits = Reading { connections: 20, ran: 0.4, waited: 0.4, idle: 0.0 };
    let starves = Reading { ran: 0.05, waited: 0.9, ..waits };
    let has_time = Reading { connections: 20, ran: 0.6, waited: 0.02, idle: 0.3 };
    let mut plan = Plan::new(&[0, 1]);
    shifts(&mut plan, &[has_time, waits], 3);
    shifts(&mut plan, &[waits, has_time], 3);
    assert!(plan.is_taken(0) && plan.is_taken(1));
    let mut shares = Vec::new();
    for _ in 0..8 {
        shares.extend(plan.step(&[CROWDED_ONE, starves]).iter().map(|shift| (shift.to, shift.share)));
    }
    assert!(!plan.is_taken(0) && plan.is_taken(1));
    assert_eq!(shares.last(), Some(&(0, 1.0)), "all go there: {shares:?}");
    assert_eq!(plan.cores[0].trial, TRIAL, "nothing was tried in vain");
}

/// A client that is started anew takes a CPU for a moment before it is bound to another, which is the worse place.
#[test]
fn connections_do_not_go_where_others_use_even_more() {
    let mut plan = Plan::new(&[0, 1]);
    let beside_client = Reading { connections: 0, ran: 0.0, waited: 0.01, idle: 0.1 };
    shifts(&mut plan, &[CROWDED_ONE, beside_client], 20);
    let disturbed = Reading { connections: 50, ran: 0.55, waited: 0.24, idle: 0.2 };
    assert_eq!(shifts(&mut plan, &[disturbed, Reading { idle: 0.2, ..beside_client }], 3), 0);
}

/// The first step the other way is a reversal (P3), but not those that follow it.
#[test]
fn several_steps_in_one_direction_are_not_a_reversal_each() {
    let mut plan = Plan::new(&[0, 1, 2]);
    let waits = Reading { connections: 20, ran: 0.2, waited: 0.7, idle: 0.0 };
    let has_time = Reading { connections: 20, ran: 0.6, waited: 0.0, idle: 0.4 };
    assert_eq!(shifts(&mut plan, &[waits, has_time, CROWDED_ONE], 1), 1);
    let steps = shifts(&mut plan, &[has_time, waits, CROWDED_ONE], 20);
    assert!(steps >= 18, "{steps} of 20");
}

/// A core that is full takes connections of one that waits only if nobody else uses its CPU.
#[test]
fn a_full_core_takes_more_if_its_cpu_is_its_own() {
    let waits = Reading { connections: 20, ran: 0.4, waited: 0.5, idle: 0.0 };
    assert_eq!(shifts(&mut Plan::new(&[0, 1]), &[CROWDED_ONE, waits], 10), 10);
    let shared = Reading { ran: 0.75, waited: 0.08, ..CROWDED_ONE };
    assert_eq!(shifts(&mut Plan::new(&[0, 1]), &[shared, waits], 10), 0);
}

/// Four cores on two CPUs wait for each other, which is nobody else's doing.
#[test]
fn cores_that_share_a_cpu_do_not_flee_from_each_other() {
    let mut machine = Machine::new(&[0, 1, 0, 1], &[12, 12, 12, 12], &[0.0, 0.0], 0.02);
    assert_eq!(machine.run(2000), 0);
    machine.outside[1] = 1.0;
    machine.run(20);
    let there: usize = [1, 3].iter().map(|core| machine.connections[*core]).sum();
    assert!(there < 24, "{:?}", machine.connections);
    let settled = machine.connections.clone();
    machine.run(1000);
    assert_eq!(machine.connections, settled);
}
