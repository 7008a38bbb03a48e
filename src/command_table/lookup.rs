//! From a name, as the client spelled it, to its declaration.
//!
//! A lookup happens for every command, so it is one multiplication over the upper-cased name and
//! usually one probe of a small open-addressed array.

use super::{CommandSpec, Flag, Group, Handler};
use crate::resp::Argv;
use crate::shard::CommandError;

/// Longer names do not exist; they need not be hashed.
const NAME_BYTES_MAX: usize = 24;

/// A declaration in its place: what dispatch needs to know, computed once.
#[derive(Clone, Copy)]
pub struct Command {
    pub spec: &'static CommandSpec,
    /// Dense, for statistics; subcommands have their own.
    pub id: u16,
    /// 1, or 2 for a subcommand: how many arguments are names.
    pub names: u8,
    /// Its only key is the first argument: the common case of routing.
    pub key_is_first: bool,
    /// That key may hold a large collection, and this argument names a part of it.
    pub names_member: Option<u8>,
}

pub struct CommandTable {
    /// Upper-cased name and index into `commands`; a power of two, at most half full.
    index: Vec<Option<(Name, u16)>>,
    commands: Vec<Command>,
    /// By the id of a container: its subcommands.
    subcommands: Vec<Vec<(Name, u16)>>,
}

/// A name in upper case, padded with zeros.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Name([u64; NAME_BYTES_MAX / 8]);

impl Name {
    #[inline]
    fn new(name: &[u8]) -> Option<Self> {
        // Nearly all names are short: one word, from its two halves, which may overlap.
        if let (4..=8, Some(first), Some(last)) = (name.len(), name.first_chunk(), name.last_chunk()) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            let word = u64::from(first) | u64::from(last) << (8 * (name.len() - 4));
            return Some(Self([upper_cased(word), 0, 0]));
        }
        let mut bytes = [0u8; NAME_BYTES_MAX];
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        bytes.make_ascii_uppercase();
        let mut words = [0; NAME_BYTES_MAX / 8];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        }
        Some(Self(words))
    }

    fn hash(&self) -> usize {
        let [a, b, c] = self.0;
        let mixed = (a ^ b.rotate_left(23) ^ c.rotate_left(47)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 40) as usize
    }
}

/// Eight letters at once.
#[inline]
fn upper_cased(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let seven = word & !HIGH;
    // The high bit of each byte: whether it is at least `a`, and whether it is beyond `z`.
    let from_a = seven + (0x80 - b'a' as u64) * ONES;
    let beyond_z = seven + (0x7f - b'z' as u64) * ONES;
    let letters = (from_a ^ beyond_z) & !word & HIGH;
    word ^ letters >> 2
}

impl CommandTable {
    /// `renamed` holds pairs of a name and what `rename-command` made of it; an empty new name removes.
    ///
    /// # Panics
    /// If two declarations have the same name: a mistake in the source.
    pub fn new(specs: impl IntoIterator<Item = &'static CommandSpec>, renamed: &[(String, String)]) -> Self {
        let mut table = Self { index: vec![None; 1024], commands: Vec::new(), subcommands: Vec::new() };
        for spec in specs {
            let rename = renamed.iter().find(|(old, _)| old.eq_ignore_ascii_case(spec.name));
            let name = rename.map_or(spec.name, |(_, new)| new.as_str());
            let id = table.add(spec, 1);
            if !name.is_empty() {
                table.link(name, id);
            }
            for subcommand in spec.subcommands {
                let sub_id = table.add(subcommand, 2);
                let sub_name = Name::new(subcommand.name.as_bytes()).expect("declared names are short");
                table.subcommands[usize::from(id)].push((sub_name, sub_id));
            }
        }
        table
    }

    fn add(&mut self, spec: &'static CommandSpec, names: u8) -> u16 {
        let id = u16::try_from(self.commands.len()).expect("some hundred commands");
        let key_is_first = matches!(spec.keys, [only] if only.is_first_argument());
        let names_member = match spec.group {
            _ if !key_is_first => None,
            Group::Set | Group::Hash => Some(2),
            // Behind a score.
            Group::SortedSet if matches!(spec.name, "ZADD" | "ZINCRBY") => Some(3),
            Group::SortedSet => Some(2),
            _ => None,
        };
        self.commands.push(Command { spec, id, names, key_is_first, names_member });
        self.subcommands.push(Vec::new());
        id
    }

    fn link(&mut self, text: &str, id: u16) {
        let Some(name) = Name::new(text.as_bytes()) else { return };
        let mask = self.index.len() - 1;
        let mut place = name.hash() & mask;
        while let Some((other, _)) = self.index[place] {
            assert!(other != name, "{text} is declared twice");
            place = (place + 1) & mask;
        }
        self.index[place] = Some((name, id));
    }

    /// The command of this name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        let name = Name::new(name)?;
        let mask = self.index.len() - 1;
        let mut place = name.hash() & mask;
        while let Some((other, id)) = &self.index[place] {
            if *other == name {
                return Some(&self.commands[usize::from(*id)]);
            }
            place = (place + 1) & mask;
        }
        None
    }

    pub fn subcommand(&self, container: &Command, name: &[u8]) -> Option<&Command> {
        let name = Name::new(name)?;
        let subcommands = &self.subcommands[usize::from(container.id)];
        let (_, id) = subcommands.iter().find(|(other, _)| *other == name)?;
        Some(&self.commands[usize::from(*id)])
    }

    /// The command or subcommand of a full name: `get`, `config|get`.
    pub fn find_full(&self, name: &[u8]) -> Option<&Command> {
        match name.iter().position(|byte| *byte == b'|') {
            None => self.find(name),
            Some(bar) => self.subcommand(self.find(&name[..bar])?, &name[bar + 1..]),
        }
    }

    pub fn subcommands_of(&self, container: &Command) -> impl Iterator<Item = &Command> + '_ {
        self.subcommands[usize::from(container.id)].iter().map(|(_, id)| self.by_id(*id))
    }

    /// Every command that clients can name, and its subcommands.
    pub fn reachable(&self) -> impl Iterator<Item = &Command> + '_ {
        self.top_level().flat_map(|command| std::iter::once(command).chain(self.subcommands_of(command)))
    }

    /// The command that a request names, its arity checked.
    ///
    /// # Errors
    /// Redis's own texts for an unknown command or subcommand and for a wrong number of arguments.
    pub fn resolve(&self, argv: Argv<'_>) -> Result<&Command, CommandError> {
        let mut command =
            argv.first().and_then(|name| self.find(name)).ok_or_else(|| unknown_command(argv))?;
        if matches!(command.spec.handler, Handler::Container) {
            if argv.len() < 2 {
                return Err(CommandError::WrongArity(command.spec.full_name));
            }
            command = argv
                .get(1)
                .and_then(|name| self.subcommand(command, name))
                .ok_or_else(|| unknown_subcommand(argv))?;
        } else if argv.len() >= 2 && !command.spec.subcommands.is_empty() {
            // COMMAND runs alone and contains subcommands.
            command = argv
                .get(1)
                .and_then(|name| self.subcommand(command, name))
                .ok_or_else(|| unknown_subcommand(argv))?;
        }
        if !command.spec.arity.admits(argv.len()) {
            return Err(CommandError::WrongArity(command.spec.full_name));
        }
        Ok(command)
    }

    /// The command of a request that [`resolve`](Self::resolve) refused for the number of its arguments; none
    /// if it names no command. Statistics count the refusal there.
    pub fn meant_by(&self, argv: Argv<'_>) -> Option<&Command> {
        let command = self.find(argv.first()?)?;
        match argv.get(1) {
            Some(name) if !command.spec.subcommands.is_empty() => self.subcommand(command, name),
            _ => Some(command),
        }
    }

    pub fn by_id(&self, id: u16) -> &Command {
        &self.commands[usize::from(id)]
    }

    /// Every command and subcommand, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Command> + '_ {
        self.commands.iter()
    }

    /// The commands that clients can name, with the names they have now.
    pub fn top_level(&self) -> impl Iterator<Item = &Command> + '_ {
        self.index.iter().flatten().map(|(_, id)| self.by_id(*id))
    }

    pub fn len(&self) -> usize {
        self.commands.len()
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

impl Command {
    /// Whether the command may change data, also by way of a script.
    pub fn is_write(&self) -> bool {
        self.spec.flags.contains(Flag::Write)
    }
}

/// Redis quotes the first arguments, each and all together limited to about 128 bytes.
fn unknown_command(argv: Argv<'_>) -> CommandError {
    let mut quoted = Vec::new();
    for arg in argv.iter().skip(1) {
        if quoted.len() >= 128 {
            break;
        }
        let arg = shown(arg, 128 - quoted.len());
        quoted.extend_from_slice(&[b"'", arg, b"' "].concat());
    }
    let name = shown(argv.first().unwrap_or_default(), 128);
    let parts = [b"ERR unknown command '", name, b"', with args beginning with: ", quoted.as_slice()];
    CommandError::built(parts.concat())
}

/// The beginning of an argument in an error text; as in Redis, a NUL ends it.
fn shown(arg: &[u8], bytes_max: usize) -> &[u8] {
    let arg = &arg[..arg.len().min(bytes_max)];
    let end = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    &arg[..end]
}

fn unknown_subcommand(argv: Argv<'_>) -> CommandError {
    let sub = shown(argv.get(1).unwrap_or_default(), 128);
    let name = argv.first().unwrap_or_default().to_ascii_uppercase();
    let parts = [b"ERR unknown subcommand '", sub, b"'. Try ", name.as_slice(), b" HELP."];
    CommandError::built(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_any_case_and_no_others_are() {
        for byte in 0..=u8::MAX {
            let word = u64::from_le_bytes([byte; 8]);
            assert_eq!(upper_cased(word), u64::from_le_bytes([byte.to_ascii_uppercase(); 8]), "{byte}");
        }
        let long = |name: &[u8]| {
            let mut bytes = [0; NAME_BYTES_MAX];
            bytes[..name.len()].copy_from_slice(name);
            bytes.make_ascii_uppercase();
            bytes
        };
        for name in
            [&b"get"[..], b"lpop", b"lpush", b"bitpos", b"zpopmin", b"setrange", b"sunionstore", b"\xe1bcd"]
        {
            let Name(words) = Name::new(name).expect("short enough");
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(bytes, long(name));
        }
        assert!(Name::new(&[b'a'; NAME_BYTES_MAX + 1]).is_none());
    }
}
