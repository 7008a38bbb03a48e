//! CONFIG SET: check everything, then change everything or nothing.
//!
//! [`set`] is pure: it makes the next snapshot from the current one. What a change entails (listening
//! on another port, telling every core) is the caller's; [`set_and_apply`] undoes it when a part fails.

use std::fmt;

use super::value::{Refusal, Value};
use super::{Change, Config, Declaration, TABLE, find};

/// A snapshot to come and how it differs from the current one.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    pub config: Config,
    /// The parameters whose value is another than before, in the order in which they were named.
    pub changed: Vec<Changed>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Changed {
    /// In [`TABLE`].
    pub place: usize,
    /// The name by which it was set, which may be the alias.
    pub name: &'static str,
}

impl Changed {
    pub fn declaration(&self) -> &'static Declaration {
        &TABLE[self.place]
    }
}

/// What the moment and the client allow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permission {
    /// enable-protected-configs allows this client to set protected parameters.
    pub protected: bool,
    /// The dataset is being loaded.
    pub loading: bool,
}

/// Why nothing was changed. The text is the protocol's, without the error code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetError {
    /// The server answers with its usual -LOADING error.
    Loading,
    Unknown {
        name: Vec<u8>,
    },
    Refused {
        name: Vec<u8>,
        reason: Refusal,
    },
}

impl fmt::Display for SetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loading => write!(out, "Redis is loading the dataset in memory"),
            Self::Unknown { name } => {
                let name = String::from_utf8_lossy(name);
                write!(out, "Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Self::Refused { name, reason } => {
                let name = String::from_utf8_lossy(name);
                write!(out, "CONFIG SET failed (possibly related to argument '{name}') - {reason}")
            }
        }
    }
}

impl std::error::Error for SetError {}

/// The snapshot that `pairs` of names and values make of `current`.
pub fn set(current: &Config, pairs: &[(&[u8], &[u8])], permission: Permission) -> Result<Update, SetError> {
    let found = find_all(current, pairs, permission)?;

    let mut config = current.clone();
    for (changed, (_, text)) in found.iter().zip(pairs) {
        let value = parse(changed.declaration(), text, config.value(changed.place))
            .map_err(|reason| SetError::Refused { name: changed.name.into(), reason })?;
        config.put(changed.place, value);
    }

    let differs = |changed: &Changed| config.value(changed.place) != current.value(changed.place);
    let changed = found.into_iter().filter(differs).collect();
    Ok(Update { config, changed })
}

/// Looks every name up before any value is read; of several mistakes the first is reported.
fn find_all(
    current: &Config,
    pairs: &[(&[u8], &[u8])],
    permission: Permission,
) -> Result<Vec<Changed>, SetError> {
    let mut found: Vec<Changed> = Vec::with_capacity(pairs.len());
    for (name, text) in pairs {
        let refuse =
            |reason: &'static str| Err(SetError::Refused { name: name.to_vec(), reason: reason.into() });
        let Some((place, known)) = find(name) else {
            return Err(SetError::Unknown { name: name.to_vec() });
        };
        match TABLE[place].change {
            Change::AtStart if keeps_own(current, place, text) => {}
            Change::AtStart => return refuse("can't set immutable config"),
            Change::Protected if !permission.protected => return refuse("can't set protected config"),
            Change::Protected | Change::Live => {}
        }
        if permission.loading && TABLE[place].fixed_while_loading {
            return Err(SetError::Loading);
        }
        // A name and its alias are two parameters here, as in Redis: the later one wins.
        if found.iter().any(|earlier| earlier.name == known) {
            return refuse("duplicate parameter");
        }
        found.push(Changed { place, name: known });
    }
    Ok(found)
}

/// Whether the value of a parameter that only we have stays as it is: tools set all that they got, but for
/// what they know to be immutable.
fn keeps_own(current: &Config, place: usize, text: &[u8]) -> bool {
    let value = current.value(place);
    TABLE[place].own && parse(&TABLE[place], text, value).is_ok_and(|new| new == *value)
}

/// CONFIG SET passes one argument: lists are split at every single space, so that two in a row make
/// an empty word, which most lists refuse.
fn parse(declaration: &Declaration, text: &[u8], current: &Value) -> Result<Value, Refusal> {
    if !declaration.kind.takes_many_words() {
        return declaration.parse(&[text], current);
    }
    let words: Vec<&[u8]> = match text {
        [] => Vec::new(),
        text => text.split(|byte| *byte == b' ').collect(),
    };
    declaration.parse(&words, current)
}

/// Sets `pairs` and lets `apply` carry each change out, given the snapshot to go to.
///
/// When one fails, the changes carried out before it and the failed one itself are applied again from
/// the `current` snapshot, and the failure is returned.
pub fn set_and_apply(
    current: &Config,
    pairs: &[(&[u8], &[u8])],
    permission: Permission,
    mut apply: impl FnMut(&Config, &Changed) -> Result<(), Refusal>,
) -> Result<Update, SetError> {
    let update = set(current, pairs, permission)?;
    for (done, changed) in update.changed.iter().enumerate() {
        let Err(reason) = apply(&update.config, changed) else { continue };
        for undo in &update.changed[..=done] {
            // The way back is the state that worked a moment ago; if even that fails there is nothing
            // better to go to, and the client hears of the first failure.
            let _ = apply(current, undo);
        }
        return Err(SetError::Refused { name: changed.name.into(), reason });
    }
    Ok(update)
}

#[cfg(test)]
mod tests {
    use super::super::parameter::*;
    use super::*;

    fn pairs<'a>(texts: &[(&'a str, &'a str)]) -> Vec<(&'a [u8], &'a [u8])> {
        texts.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
    }

    fn try_set(texts: &[(&str, &str)]) -> Result<Update, String> {
        set(&Config::default(), &pairs(texts), Permission::default()).map_err(|error| error.to_string())
    }

    fn failed(name: &str, reason: &str) -> Result<Update, String> {
        Err(format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
    }

    #[test]
    fn several_parameters_change_at_once() {
        let update = try_set(&[("MAXCLIENTS", "5"), ("timeout", "0"), ("save", "")]).expect("valid");
        assert_eq!(update.config.get(MAXCLIENTS), 5);
        assert!(update.config.get(SAVE).is_empty());
        let names: Vec<_> = update.changed.iter().map(|changed| changed.name).collect();
        assert_eq!(names, ["maxclients", "save"], "timeout was 0 before");
    }

    #[test]
    fn errors_read_as_in_redis() {
        assert_eq!(
            try_set(&[("min-replicas-max-lag", "1"), ("maxmemory", "abc"), ("foo", "1")]),
            Err("Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned())
        );
        assert_eq!(try_set(&[("port", "99999"), ("port", "2")]), failed("port", "duplicate parameter"));
        assert_eq!(try_set(&[("DATABASES", "4")]), failed("DATABASES", "can't set immutable config"));
        assert_eq!(try_set(&[("dir", "/")]), failed("dir", "can't set protected config"));
        assert_eq!(
            try_set(&[("SLAVE-priority", "x")]),
            failed("slave-priority", "argument couldn't be parsed into an integer")
        );
        assert_eq!(try_set(&[("appendonly", "1")]), failed("appendonly", "argument must be 'yes' or 'no'"));
        assert_eq!(try_set(&[("save", "100 1  200 2")]), failed("save", "Invalid save parameters"));
    }

    #[test]
    fn an_immutable_parameter_of_our_own_may_be_set_to_what_it_is() {
        assert_eq!(try_set(&[("shards", "0")]).expect("as before").changed, []);
        assert_eq!(try_set(&[("shards", "3")]), failed("shards", "can't set immutable config"));
        assert_eq!(try_set(&[("databases", "16")]), failed("databases", "can't set immutable config"));
    }

    #[test]
    fn a_name_and_its_alias_may_both_be_set() {
        let update = try_set(&[("slave-priority", "7"), ("replica-priority", "8")]).expect("valid");
        let (place, _) = find(b"replica-priority").expect("declared");
        assert_eq!(update.config.value(place), &Value::Integer(8));
    }

    #[test]
    fn protected_parameters_need_a_permission() {
        let permission = Permission { protected: true, loading: false };
        let update = set(&Config::default(), &pairs(&[("dbfilename", "x.rdb")]), permission);
        assert_eq!(update.expect("permitted").changed[0].name, "dbfilename");
    }

    #[test]
    fn some_parameters_wait_for_the_end_of_loading() {
        let permission = Permission { protected: false, loading: true };
        let update = set(&Config::default(), &pairs(&[("appendonly", "yes")]), permission);
        assert_eq!(update, Err(SetError::Loading));
        assert!(set(&Config::default(), &pairs(&[("hz", "20")]), permission).is_ok());
    }

    #[test]
    fn output_limits_of_one_line_build_on_the_snapshot() {
        let update = try_set(&[("client-output-buffer-limit", "pubsub 1k 2k 3")]).expect("valid");
        assert_eq!(update.config.get(CLIENT_OUTPUT_BUFFER_LIMIT)[2].hard_bytes, 1000);
        assert_eq!(update.config.get(CLIENT_OUTPUT_BUFFER_LIMIT)[1].hard_bytes, 256 << 20);
    }

    #[test]
    fn a_failed_application_is_undone() {
        let mut world = vec![("port", 6379), ("timeout", 0), ("hz", 10)];
        let current = Config::default();
        let wanted = pairs(&[("port", "7000"), ("timeout", "5"), ("hz", "20")]);
        let result = set_and_apply(&current, &wanted, Permission::default(), |config, changed| {
            let number = match config.value(changed.place) {
                Value::Integer(number) => *number,
                other => panic!("{other:?} is not a number"),
            };
            if number == 5 {
                return Err("Unable to do it.".into());
            }
            let known = world.iter_mut().find(|(name, _)| *name == changed.name);
            known.expect("a parameter of the test").1 = number;
            Ok(())
        });
        assert_eq!(result.map_err(|error| error.to_string()), failed("timeout", "Unable to do it."));
        assert_eq!(world, [("port", 6379), ("timeout", 0), ("hz", 10)]);
    }
}
