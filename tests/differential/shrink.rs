//! The shortest list of commands that still shows a difference: commands are dropped, then arguments.

use crate::session::Session;

/// Enough for a session of some hundred commands; a difference that comes and goes must not take for ever.
const ATTEMPTS_MAX: usize = 600;

/// `differs` runs a candidate; it is kept if the difference stays.
pub fn shrink(session: &Session, mut differs: impl FnMut(&Session) -> bool) -> Session {
    let mut attempts = 0;
    let mut try_it = |candidate: &Session| {
        attempts += 1;
        attempts <= ATTEMPTS_MAX && differs(candidate)
    };
    let mut best = session.clone();
    if best.resp3 {
        let candidate = Session { resp3: false, ..best.clone() };
        if try_it(&candidate) {
            best = candidate;
        }
    }
    let mut size = best.commands.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let mut dropped = false;
        while start < best.commands.len() {
            let mut candidate = best.clone();
            candidate.commands.drain(start..(start + size).min(best.commands.len()));
            if try_it(&candidate) {
                best = candidate;
                dropped = true;
            } else {
                start += size;
            }
        }
        if size == 1 && !dropped {
            break;
        }
        size = if size == 1 { 1 } else { size / 2 };
    }
    for command in 0..best.commands.len() {
        let mut word = best.commands[command].len();
        while word > 1 {
            word -= 1;
            let mut candidate = best.clone();
            candidate.commands[command].remove(word);
            if try_it(&candidate) {
                best = candidate;
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_left() {
        let commands = (0..100).map(|number| vec![b"C".to_vec(), format!("{number}").into_bytes()]).collect();
        let session = Session { resp3: true, small_nodes: false, commands };
        let has = |session: &Session, number: &str| {
            session.commands.iter().any(|argv| argv.len() == 2 && argv[1] == number.as_bytes())
        };
        let shrunk = shrink(&session, |candidate| has(candidate, "17") && has(candidate, "80"));
        assert!(!shrunk.resp3);
        assert_eq!(shrunk.commands, [[b"C".to_vec(), b"17".to_vec()], [b"C".to_vec(), b"80".to_vec()]]);
    }
}
