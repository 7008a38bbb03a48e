//! From the keys of a request to the shards that own them.

use super::Command;
use crate::resp::Argv;
use crate::shard::shard_of_key;

/// Where the keys of a request live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owners {
    /// It names no key.
    None,
    One(usize),
    Several,
}

/// The owners of all keys of a request.
pub fn owners(command: &Command, argv: Argv<'_>, shards: usize) -> Owners {
    if command.key_is_first {
        let key = argv.get(1).expect("the arity of a command covers its keys");
        return Owners::One(shard_of_key(key, shards));
    }
    let mut owners = Owners::None;
    for spec in command.spec.keys {
        if spec.reaches_anywhere(argv) {
            return Owners::Several;
        }
        // Arguments of another shape than the declaration expects: the handler says what is wrong.
        let _ = spec.each(argv, |position| {
            let shard = argv.get(position).map_or(0, |key| shard_of_key(key, shards));
            owners = match owners {
                Owners::None => Owners::One(shard),
                Owners::One(other) if other == shard => owners,
                _ => Owners::Several,
            };
        });
    }
    owners
}

/// Whether every key of a command whose keys repeat to the end comes with all that belongs to it.
pub fn is_whole(command: &Command, argv: Argv<'_>) -> bool {
    let stride = command.spec.keys.first().and_then(|keys| keys.stride());
    stride.is_none_or(|(first, step)| (argv.len() - first).is_multiple_of(step))
}
