//! Which core should give connections to which other: the decision, without clock, files or threads.
//!
//! A core whose thread waits for its CPU keeps its clients waiting for as long, a scheduler's slice each time, though
//! another CPU may be idle. So its connections go where there is room. All of them: a thread that waits for its CPU holds its
//! shard meanwhile, which nobody can borrow then, so that even a few connections left behind keep everybody waiting. For
//! that reason a full core takes them too, if it has its CPU for itself. When the load has gone they come back, but only if
//! the cores they are on are short of CPU: where nobody is, nothing moves.
//!
//! | a core | by | becomes |
//! |---|---|---|
//! | free | its thread waits, others use its CPU | taken: it gives connections away, and gets no new ones |
//! | taken | it runs much for some periods, others hardly at all | free: it has its CPU for itself |
//! | taken | enough periods of calm in a row, `trial` of them | free |
//! | free | crowded, while the CPU of another free one is idle | free; it gives some of its connections to that one |
//!
//! Invariants
//!   P1  In one period a core gives to one other at most, and none both gives and is given to.
//!   P2  Each time that a core is taken again soon after it was freed, its next trial is twice as long: what is tried in
//!       vain is tried ever more rarely.
//!   P3  Where others use now this CPU and now that one, connections do not follow them about: each time that one is
//!       given some which gave some away lately, and was given none since, the pause behind it is twice as long.
//!   P4  What was moved only for an even load does not go back the same way for a while.

/// What was seen of one core in one period, as shares of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub connections: usize,
    /// The core's thread ran.
    pub ran: f64,
    /// It could have run, but its CPU was somebody else's.
    pub waited: f64,
    /// Its CPU did nothing.
    pub idle: f64,
}

/// A share of `from`'s busy connections is to go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    pub from: usize,
    pub to: usize,
    pub share: f64,
    /// Even if it is less than one connection.
    pub at_least_one: bool,
}

/// A thread that waits for a larger share of the time than this is kept from its clients.
const WAITED: f64 = 0.10;
/// So is one that waits for less, if that is much beside what it runs, and goes on for so many periods. An idle core that
/// wakes up ten times a second on a busy CPU is among these: it has no clients to lose, and should be given none.
const WAITED_LITTLE: f64 = 0.02;
const PRESSED: u32 = 3;
/// With several cores on a CPU they wait for each other, which is not cured by fewer connections on one of them.
const OUTSIDE: f64 = 0.15;
/// A CPU with less idle time than this has no room for others' connections, nor has a core that runs for more of it: that
/// is known more exactly.
const ROOM: f64 = 0.03;
const FULL: f64 = 0.97;
/// A connection or two more, and the core would be empty: no more halves.
const FEW: usize = 4;
/// A core has its CPU to itself again where so much of it is idle, and its thread waits for less than this. A client on the
/// same machine leaves some of its CPU idle while it waits for replies; that is of no use to us.
const CALM_IDLE: f64 = 0.5;
const CALM_WAITED: f64 = 0.05;
/// One that runs so much in so many periods, beside nobody, need not wait until its CPU is idle.
const OWNS: f64 = 0.5;
const OWNED: u32 = 3;
/// A core that is given connections so few periods after it gave some away rests then, and so does who gives; at most so
/// many periods.
const REVERSAL: u64 = 200;
const PAUSE_MAX: u64 = 100;
/// Only a core as busy as this is short of CPU, and only one that has so much less to do can help.
const CROWDED: f64 = 0.92;
const UNEVEN: f64 = 0.20;
/// Periods of calm before a core is free, the first time and at most.
const TRIAL: u32 = 10;
const TRIAL_MAX: u32 = 6000;
/// Trials in which a core that was freed proves that it is.
const PROOF: u64 = 5;
/// Periods after a step towards an even load in which its effect is waited for, and in which it is not taken back.
const REST: u64 = 5;
const NO_WAY_BACK: u64 = 100;

/// What is remembered of a core.
#[derive(Clone, Debug)]
struct Core {
    cpu: usize,
    taken: bool,
    /// Periods in a row in which it waited, as many as count.
    pressed: u32,
    /// Periods of calm in a row.
    calm: u32,
    /// Periods in a row in which it ran, and nobody else.
    owned: u32,
    trial: u32,
    /// When it was freed last.
    freed: Option<u64>,
    /// The last step towards an even load in which it took part.
    evened: Option<u64>,
    /// Who gave it connections in that, if it was given some.
    given_by: Option<usize>,
    /// When it gave connections away last because it had to wait, and when it was given some for that reason.
    gave: Option<u64>,
    got: Option<u64>,
    /// How long the pause behind the last reversal was, and until when it is (P3).
    pause: u64,
    pauses_until: u64,
    /// Of the last few periods: the system tells it in steps of a hundredth of a second.
    idle: f64,
    outside: f64,
}

pub struct Plan {
    cores: Vec<Core>,
    period: u64,
}

impl Plan {
    /// With the CPU of each core.
    pub fn new(cpus: &[usize]) -> Self {
        let core = |cpu: &usize| Core {
            cpu: *cpu,
            taken: false,
            pressed: 0,
            calm: 0,
            owned: 0,
            trial: TRIAL,
            freed: None,
            evened: None,
            given_by: None,
            gave: None,
            got: None,
            pause: 0,
            pauses_until: 0,
            idle: 0.0,
            outside: 0.0,
        };
        Self { cores: cpus.iter().map(core).collect(), period: 0 }
    }

    /// Somebody else has the core's CPU: it should not be given new connections.
    pub fn is_taken(&self, core: usize) -> bool {
        self.cores[core].taken
    }

    /// Takes in the readings of a period, one for each core; tells what should move.
    pub fn step(&mut self, readings: &[Reading]) -> Vec<Shift> {
        assert_eq!(readings.len(), self.cores.len(), "one reading for each core");
        self.period += 1;
        self.take_in(readings);
        // By core: what of its CPU is not given away yet, and who takes part in something (P1).
        let mut room: Vec<f64> =
            readings.iter().zip(&self.cores).map(|(reading, core)| reading.idle.min(core.idle)).collect();
        let mut busy = vec![false; readings.len()];
        let mut shifts = Vec::new();
        for from in 0..readings.len() {
            if let Some(shift) = self.away(readings, from, &busy, &mut room) {
                self.note_gift(from, shift.to);
                (busy[shift.from], busy[shift.to]) = (true, true);
                shifts.push(shift);
            }
        }
        // One at a time: where something is moved away, loads are about to change anyway.
        if shifts.is_empty()
            && let Some(shift) = self.evenly(readings, &room)
        {
            for core in [shift.from, shift.to] {
                (self.cores[core].evened, self.cores[core].given_by) = (Some(self.period), None);
            }
            self.cores[shift.to].given_by = Some(shift.from);
            shifts.push(shift);
        }
        shifts
    }

    fn take_in(&mut self, readings: &[Reading]) {
        for index in 0..self.cores.len() {
            let (cpu, reading) = (self.cores[index].cpu, readings[index]);
            let same = self.cores.iter().zip(readings).filter(|(core, _)| core.cpu == cpu);
            let ours: f64 = same.map(|(_, reading)| reading.ran).sum();
            let outside = (1.0 - reading.idle - ours).clamp(0.0, 1.0);
            let (period, core) = (self.period, &mut self.cores[index]);
            let first = period == 1;
            core.idle = if first { reading.idle } else { (core.idle + reading.idle) / 2.0 };
            core.outside = if first { outside } else { (core.outside + outside) / 2.0 };
            core.pressed = match reading.waited {
                _ if core.outside < OUTSIDE => 0,
                waited if waited > WAITED => PRESSED,
                waited if waited > WAITED_LITTLE && waited > reading.ran / 2.0 => core.pressed + 1,
                _ => 0,
            };
            if core.pressed >= PRESSED {
                (core.calm, core.owned) = (0, 0);
                if !std::mem::replace(&mut core.taken, true) {
                    let proof = PROOF * u64::from(core.trial);
                    let again = core.freed.is_some_and(|freed| period - freed < proof);
                    core.trial = if again { (core.trial * 2).min(TRIAL_MAX) } else { TRIAL }; // P2
                }
                continue;
            }
            let waits = reading.waited >= CALM_WAITED;
            let owns = !waits && core.outside < OUTSIDE && reading.ran > OWNS;
            core.owned = if owns { core.owned.saturating_add(1) } else { 0 };
            let calm = !waits && core.idle > CALM_IDLE;
            core.calm = if calm { core.calm.saturating_add(1) } else { 0 };
            if core.taken && core.calm >= core.trial {
                (core.taken, core.freed) = (false, Some(period));
            }
            core.taken &= core.owned < OWNED;
        }
    }

    fn note_gift(&mut self, from: usize, to: usize) {
        let period = self.period;
        let is_recent = |gave: Option<u64>| gave.is_some_and(|then| period - then < REVERSAL);
        if is_recent(self.cores[to].gave) && self.cores[to].gave > self.cores[to].got {
            let longest = self.cores[from].pause.max(self.cores[to].pause);
            let pause = (longest * 2).clamp(1, PAUSE_MAX);
            for core in [from, to] {
                (self.cores[core].pause, self.cores[core].pauses_until) = (pause, period + pause);
            }
        } else if !is_recent(self.cores[from].gave) {
            self.cores[from].pause = 0;
        }
        self.cores[from].gave = Some(period);
        self.cores[to].got = Some(period);
    }

    /// Away from a core that waits.
    fn away(&self, readings: &[Reading], from: usize, busy: &[bool], room: &mut [f64]) -> Option<Shift> {
        let (core, reading) = (&self.cores[from], readings[from]);
        let pauses = self.period <= core.pauses_until;
        if core.pressed < PRESSED || pauses || busy[from] || reading.connections == 0 {
            return None;
        }
        let is_its_own = |to: usize| self.cores[to].outside < OUTSIDE && !self.cores[to].taken;
        let may_take = |to: &usize| {
            let (other, seen) = (&self.cores[*to], readings[*to]);
            let has_room = room[*to] > ROOM && seen.ran < FULL;
            // Or it would have to give them back.
            let waits_less = seen.waited < reading.waited / 2.0 && other.outside < core.outside;
            other.cpu != core.cpu && !busy[*to] && waits_less && (has_room || is_its_own(*to))
        };
        let takers = || (0..readings.len()).filter(may_take);
        let to = takers().max_by(|a, b| room[*a].total_cmp(&room[*b]))?;
        // What it would run if it were let. Clients that are served faster ask for more: not all at once, unless there is
        // room for all or nowhere else to go.
        let wanted = reading.ran + reading.waited;
        let is_all = reading.connections <= FEW || is_its_own(to) && takers().count() == 1;
        let least = if is_all { 1.0 } else { 0.5 };
        let share = (room[to] / wanted).clamp(least, 1.0);
        let cpu = self.cores[to].cpu;
        for (other, left) in self.cores.iter().zip(room) {
            if other.cpu == cpu {
                *left -= share * wanted;
            }
        }
        Some(Shift { from, to, share, at_least_one: true })
    }

    /// From the most crowded core to one whose CPU is idle.
    fn evenly(&self, readings: &[Reading], room: &[f64]) -> Option<Shift> {
        let rests = |core: &Core| core.evened.is_some_and(|period| self.period - period < REST);
        let ran = |core: &usize| readings[*core].ran;
        let crowded = |core: &usize| ran(core) > CROWDED && readings[*core].connections > 1;
        let from = (0..readings.len()).filter(crowded).max_by(|a, b| ran(a).total_cmp(&ran(b)))?;
        let giver = &self.cores[from];
        let way_back = |to: usize| {
            let recent = giver.evened.is_some_and(|period| self.period - period < NO_WAY_BACK);
            recent && giver.given_by == Some(to)
        };
        let may_take = |to: &usize| {
            let core = &self.cores[*to];
            let free = !core.taken && core.calm >= TRIAL && room[*to] > CALM_IDLE;
            free && core.cpu != giver.cpu && !rests(core) && !way_back(*to) && ran(to) + UNEVEN < ran(&from)
        };
        let to = (0..readings.len()).filter(may_take).max_by(|a, b| room[*a].total_cmp(&room[*b]))?;
        if rests(giver) {
            return None;
        }
        // Half of what would make them even.
        let surplus = ((ran(&from) - ran(&to)) / 2.0).min(room[to] / 2.0);
        let share = surplus / ran(&from) / 2.0;
        Some(Shift { from, to, share, at_least_one: false })
    }
}

#[cfg(test)]
#[path = "balance_plan_tests.rs"]
mod tests;
