//! What a parameter can hold: its kind with its bounds, from text to a value and back.
//!
//! Invariants
//!   V1  `kind.parse(words)` of what `kind.format(value)` prints gives `value` again.
//!   V2  A value that parsed is within the bounds of its kind.
//!   V3  Texts of errors and of values are Redis's: clients and tools compare them.

use std::borrow::Cow;

use super::special::{self, Master, OutputLimits, SavePoint};
use super::units::{format_memory, parse_memory};
use crate::base::number::parse_i64;

/// Bytes as they came: passwords and paths need not be UTF-8.
pub type Bytes = Box<[u8]>;

/// Why a text is not a value.
pub type Refusal = Cow<'static, str>;

/// The names of an enumeration and what each stands for; the first name of a number is the one shown.
pub type Names = &'static [(&'static str, u32)];

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Bool(bool),
    Integer(i64),
    Bytes(u64),
    BytesOrPercent(BytesOrPercent),
    Choice(u32),
    /// An union of the bits of [`Kind::Choices`].
    Choices(u32),
    /// `None` is "not set", which an empty text means for [`Kind::OptionalText`].
    Text(Option<Bytes>),
    Words(Vec<Bytes>),
    SavePoints(Vec<SavePoint>),
    OutputLimits(OutputLimits),
    Events(u32),
    OomScores([i32; 3]),
    Percentiles(Vec<f64>),
    Master(Option<Master>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BytesOrPercent {
    Bytes(u64),
    /// Of `maxmemory`.
    Percent(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    Integer { min: i64, max: i64 },
    Octal { max: i64 },
    Memory { min: u64, max: u64 },
    MemoryOrPercent,
    Choice(Names),
    Choices(Names),
    Text,
    OptionalText,
    BindAddresses,
    SavePoints,
    OutputLimits,
    Events,
    OomScores,
    Percentiles,
    Master,
}

/// As many addresses as Redis binds.
const BIND_ADDRESSES_MAX: usize = 16;

impl Kind {
    /// Whether a line may hold several words; CONFIG SET then splits its one argument at each space.
    pub const fn takes_many_words(self) -> bool {
        matches!(
            self,
            Self::Choices(_)
                | Self::BindAddresses
                | Self::SavePoints
                | Self::OutputLimits
                | Self::OomScores
                | Self::Percentiles
                | Self::Master
        )
    }

    /// Reads a value. `current` is what the parameter holds now: client-output-buffer-limit keeps
    /// the classes that a line does not mention.
    pub fn parse(self, words: &[&[u8]], current: &Value) -> Result<Value, Refusal> {
        let one_word = || match words {
            [word] => Ok(*word),
            _ => Err(Refusal::from("wrong number of arguments")),
        };
        match self {
            Self::Bool => parse_bool(one_word()?).map(Value::Bool),
            Self::Integer { min, max } => parse_integer(one_word()?, min, max).map(Value::Integer),
            Self::Octal { max } => parse_octal(one_word()?, max).map(Value::Integer),
            Self::Memory { min, max } => parse_bytes(one_word()?, min, max).map(Value::Bytes),
            Self::MemoryOrPercent => parse_bytes_or_percent(one_word()?).map(Value::BytesOrPercent),
            Self::Choice(names) => number_of(names, one_word()?).map(Value::Choice),
            Self::Choices(names) => parse_choices(names, words).map(Value::Choices),
            Self::Text => Ok(Value::Text(Some(one_word()?.into()))),
            Self::OptionalText => {
                Ok(Value::Text(Some(Bytes::from(one_word()?)).filter(|text| !text.is_empty())))
            }
            Self::BindAddresses => parse_addresses(words).map(Value::Words),
            Self::SavePoints => special::parse_save_points(words).map(Value::SavePoints),
            Self::OutputLimits => {
                let Value::OutputLimits(current) = current else {
                    unreachable!("kinds of a parameter agree")
                };
                special::parse_output_limits(words, *current).map(Value::OutputLimits)
            }
            Self::Events => special::parse_events(one_word()?).map(Value::Events),
            Self::OomScores => special::parse_oom_scores(words).map(Value::OomScores),
            Self::Percentiles => special::parse_percentiles(words).map(Value::Percentiles),
            Self::Master => special::parse_master(words).map(Value::Master),
        }
    }

    /// What CONFIG GET prints.
    pub fn format(self, value: &Value) -> Vec<u8> {
        match value {
            Value::Bool(value) => yes_or_no(*value).into(),
            Value::Integer(value) if matches!(self, Self::Octal { .. }) => format!("{value:o}").into(),
            Value::Integer(value) => value.to_string().into(),
            Value::Bytes(bytes) => bytes.to_string().into(),
            Value::BytesOrPercent(BytesOrPercent::Bytes(bytes)) => bytes.to_string().into(),
            Value::BytesOrPercent(BytesOrPercent::Percent(percent)) => format!("{percent}%").into(),
            Value::Choice(number) => self.name_of(*number).into(),
            Value::Choices(bits) => self.names_of(*bits).into(),
            Value::Text(text) => text.as_deref().unwrap_or_default().into(),
            Value::Words(words) => words.join(&b' '),
            Value::SavePoints(points) => special::format_save_points(points).into(),
            Value::OutputLimits(limits) => special::format_output_limits(limits).into(),
            Value::Events(events) => special::format_events(*events).into(),
            Value::OomScores(scores) => special::format_oom_scores(*scores).into(),
            Value::Percentiles(percentiles) => special::format_percentiles(percentiles).into(),
            Value::Master(master) => special::format_master(master.as_ref()),
        }
    }

    /// How a configuration file spells it, if not as CONFIG GET does.
    pub fn format_for_file(self, value: &Value) -> Vec<u8> {
        match value {
            Value::Bytes(bytes) | Value::BytesOrPercent(BytesOrPercent::Bytes(bytes)) => {
                format_memory(*bytes).into()
            }
            _ => self.format(value),
        }
    }

    pub const fn names(self) -> Names {
        match self {
            Self::Choice(names) | Self::Choices(names) => names,
            _ => &[],
        }
    }

    pub fn name_of(self, number: u32) -> &'static str {
        let name = self.names().iter().find(|(_, known)| *known == number);
        name.map_or("unknown", |(name, _)| name)
    }

    /// One name if one says it all, else the names of all bits.
    fn names_of(self, bits: u32) -> String {
        if let Some((name, _)) = self.names().iter().find(|(_, known)| *known == bits) {
            return (*name).to_owned();
        }
        let names = self.names().iter().filter(|(_, bit)| *bit != 0 && bits & bit == *bit);
        names.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }
}

pub fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn parse_bool(word: &[u8]) -> Result<bool, Refusal> {
    if word.eq_ignore_ascii_case(b"yes") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"no") {
        Ok(false)
    } else {
        Err("argument must be 'yes' or 'no'".into())
    }
}

fn parse_integer(word: &[u8], min: i64, max: i64) -> Result<i64, Refusal> {
    let value = parse_i64(word).ok_or("argument couldn't be parsed into an integer")?;
    within(value, min, max)
}

fn within<T: PartialOrd + std::fmt::Display>(value: T, min: T, max: T) -> Result<T, Refusal> {
    if value < min || value > max {
        return Err(format!("argument must be between {min} and {max} inclusive").into());
    }
    Ok(value)
}

fn parse_octal(word: &[u8], max: i64) -> Result<i64, Refusal> {
    let value = str::from_utf8(word).ok().and_then(|word| i64::from_str_radix(word, 8).ok());
    let value = value.ok_or("argument couldn't be parsed as an octal number")?;
    if !(0..=max).contains(&value) {
        return Err(format!("argument must be between 0 and {max:o} inclusive").into());
    }
    Ok(value)
}

fn parse_bytes(word: &[u8], min: u64, max: u64) -> Result<u64, Refusal> {
    let bytes = parse_memory(word).ok_or("argument must be a memory value")?;
    within(bytes, min, max)
}

fn parse_bytes_or_percent(word: &[u8]) -> Result<BytesOrPercent, Refusal> {
    const REFUSAL: &str = "argument must be a memory or percent value";
    if let Some(number) = word.strip_suffix(b"%") {
        let percent = parse_i64(number).filter(|percent| *percent >= 0).ok_or(REFUSAL)?;
        let percent = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
        return percent
            .map(BytesOrPercent::Percent)
            .ok_or("percentage argument must be less or equal to 100".into());
    }
    let bytes = parse_memory(word).ok_or(REFUSAL)?;
    within(bytes, 0, i64::MAX as u64).map(BytesOrPercent::Bytes)
}

fn number_of(names: Names, word: &[u8]) -> Result<u32, Refusal> {
    let found = names.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found.map(|(_, number)| *number).ok_or_else(|| {
        let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
        format!("argument(s) must be one of the following: {}", names.join(", ")).into()
    })
}

fn parse_choices(names: Names, words: &[&[u8]]) -> Result<u32, Refusal> {
    let bits = |bits, word| Ok(bits | number_of(names, word)?);
    match words {
        [] => number_of(names, b""),
        // One quoted argument may hold several words, as in `--shutdown-on-sigterm "nosave force"`. Two spaces
        // in a row are an empty word, which no choice is called.
        [one] => one.split(|byte| *byte == b' ').try_fold(0, bits),
        several => several.iter().copied().try_fold(0, bits),
    }
}

fn parse_addresses(words: &[&[u8]]) -> Result<Vec<Bytes>, Refusal> {
    if words.len() > BIND_ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".into());
    }
    Ok(match words {
        [b""] => Vec::new(),
        words => words.iter().map(|word| Bytes::from(*word)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, text: &str) -> Result<Value, String> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        kind.parse(&words, &Value::Bool(false)).map_err(Refusal::into_owned)
    }

    fn shown(kind: Kind, text: &str) -> String {
        let value = parse(kind, text).expect("a value");
        String::from_utf8(kind.format(&value)).expect("test values are UTF-8")
    }

    #[test]
    fn bounds_are_inclusive_and_named() {
        let port = Kind::Integer { min: 0, max: 65535 };
        assert_eq!(parse(port, "65535"), Ok(Value::Integer(65535)));
        assert_eq!(parse(port, "65536").unwrap_err(), "argument must be between 0 and 65535 inclusive");
        assert_eq!(parse(port, "+1").unwrap_err(), "argument couldn't be parsed into an integer");
        assert_eq!(parse(port, "1 2").unwrap_err(), "wrong number of arguments");
        let memory = Kind::Memory { min: 1 << 20, max: i64::MAX as u64 };
        assert_eq!(
            parse(memory, "0").unwrap_err(),
            "argument must be between 1048576 and 9223372036854775807 inclusive"
        );
        assert_eq!(parse(memory, "x").unwrap_err(), "argument must be a memory value");
    }

    #[test]
    fn octal_numbers_are_read_and_named_in_octal() {
        let mode = Kind::Octal { max: 0o777 };
        assert_eq!(shown(mode, "755"), "755");
        assert_eq!(parse(mode, "1777").unwrap_err(), "argument must be between 0 and 777 inclusive");
        assert_eq!(parse(mode, "9").unwrap_err(), "argument couldn't be parsed as an octal number");
    }

    #[test]
    fn a_share_of_memory_is_a_size_or_a_percentage() {
        assert_eq!(shown(Kind::MemoryOrPercent, "5%"), "5%");
        assert_eq!(shown(Kind::MemoryOrPercent, "1g"), "1000000000");
        assert_eq!(
            parse(Kind::MemoryOrPercent, "101%").unwrap_err(),
            "percentage argument must be less or equal to 100"
        );
        for text in ["%", "-5%", "x"] {
            assert_eq!(
                parse(Kind::MemoryOrPercent, text).unwrap_err(),
                "argument must be a memory or percent value"
            );
        }
    }

    #[test]
    fn the_first_name_of_a_number_is_shown() {
        let kind = Kind::Choice(&[("no", 0), ("yes", 1), ("relative", 1)]);
        assert_eq!(shown(kind, "RELATIVE"), "yes");
        assert_eq!(
            parse(kind, "maybe").unwrap_err(),
            "argument(s) must be one of the following: no, yes, relative"
        );
    }

    #[test]
    fn a_set_of_names_is_shown_in_the_order_of_the_table() {
        let kind = Kind::Choices(&[("default", 0), ("save", 1), ("nosave", 2), ("now", 4), ("force", 8)]);
        assert_eq!(shown(kind, "force save now"), "save now force");
        assert_eq!(shown(kind, "default now"), "now");
        assert_eq!(shown(kind, "default"), "default");
        assert!(parse(kind, "").is_err());
    }

    #[test]
    fn bind_takes_sixteen_addresses_or_none() {
        assert_eq!(shown(Kind::BindAddresses, "127.0.0.1 -::1"), "127.0.0.1 -::1");
        assert_eq!(shown(Kind::BindAddresses, ""), "");
        assert!(parse(Kind::BindAddresses, &["a"; 17].join(" ")).is_err());
    }
}
