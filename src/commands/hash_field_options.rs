//! What HEXPIRE, HGETEX and HSETEX say behind their key: FIELDS with the fields, and options before or behind it.

use super::hash_deadline::{Condition, NOT_GREATER, Time};
use super::stream_group::until_zero;
use crate::base::UnixMillis;
use crate::base::number::parse_i64;
use crate::command_table::Args;
use crate::shard::CommandError;

const MISSING: CommandError = CommandError::Text("ERR missing FIELDS argument");
const TWICE: CommandError = CommandError::Text("ERR FIELDS keyword specified multiple times");

fn unknown(word: &[u8]) -> CommandError {
    CommandError::built([b"ERR unknown argument: ", until_zero(word)].concat())
}

/// `numfields` and so many fields, each with `width` arguments.
fn counted<'a>(
    args: &mut Args<'a>,
    width: usize,
    bad_number: &'static str,
) -> Result<Args<'a>, CommandError> {
    let number = args.next().and_then(parse_i64).filter(|number| (1..=i32::MAX.into()).contains(number));
    let length = number.ok_or(CommandError::Text(bad_number))? as usize * width;
    if length > args.remaining() {
        return Err(CommandError::Text("ERR wrong number of arguments"));
    }
    let argv = args.argv();
    let first = argv.len() - args.remaining();
    args.nth(length - 1);
    Ok(Args::new(argv.slice(first..first + length), 0))
}

/// What follows the time of HEXPIRE and its kin: the condition, and the fields.
pub(super) fn parse_conditional(mut args: Args<'_>) -> Result<(Condition, Args<'_>), CommandError> {
    let (mut condition, mut several, mut fields) = (Condition::Always, false, None);
    while let Some(word) = args.next() {
        if word.eq_ignore_ascii_case(b"FIELDS") {
            if fields.is_some() {
                return Err(TWICE);
            }
            if args.remaining() < 2 {
                return Err(CommandError::Text(
                    "ERR FIELDS requires at least numfields and one field argument",
                ));
            }
            fields = Some(counted(&mut args, 1, NOT_GREATER)?);
        } else {
            let named = Condition::named(word).ok_or_else(|| unknown(word))?;
            several |= condition != Condition::Always && condition != named;
            condition = named;
        }
    }
    let fields = fields.ok_or(MISSING)?;
    if several {
        return Err(CommandError::Text("ERR Multiple condition flags specified"));
    }
    Ok((condition, fields))
}

/// Whose options are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Exchange {
    /// HGETEX
    Get,
    /// HSETEX, where a field comes with its value.
    Set,
}

/// The options of HGETEX and HSETEX.
#[derive(Debug, Default)]
pub(super) struct ExchangeOptions {
    pub deadline: Option<UnixMillis>,
    /// HGETEX: the fields lose their deadlines.
    pub persist: bool,
    /// HSETEX: the fields keep theirs.
    pub keep: bool,
    /// HSETEX: none of the fields may exist, or all must.
    pub absent: bool,
    pub present: bool,
}

const TIMES: [(&str, Time); 4] =
    [("EX", Time::After(1000)), ("PX", Time::After(1)), ("EXAT", Time::At(1000)), ("PXAT", Time::At(1))];

impl ExchangeOptions {
    /// Reads them, and what FIELDS counts. Each of the two knows the other's options, and refuses them at the end.
    pub fn parse<'a>(
        mut args: Args<'a>,
        exchange: Exchange,
        now: UnixMillis,
    ) -> Result<(Self, Args<'a>), CommandError> {
        let (name, width, one_time) = match exchange {
            Exchange::Get => {
                ("hgetex", 1, "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified")
            }
            Exchange::Set => {
                ("hsetex", 2, "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")
            }
        };
        let one_time = CommandError::Text(one_time);
        let (mut options, mut fields) = (Self::default(), None);
        while let Some(word) = args.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            let has_time = options.deadline.is_some();
            if is("FIELDS") {
                if fields.is_some() {
                    return Err(TWICE);
                }
                if args.remaining() == 0 {
                    return Err(CommandError::WrongArity(name));
                }
                fields = Some(counted(&mut args, width, "ERR invalid number of fields")?);
            } else if let Some((_, time)) = TIMES.into_iter().find(|(name, _)| is(name)) {
                if has_time || options.keep || options.persist {
                    return Err(one_time);
                }
                let text = args.next().ok_or(CommandError::Text("ERR missing expire time"))?;
                options.deadline = Some(time.parse(text, now, name)?);
            } else if is("PERSIST") {
                if has_time || options.persist {
                    return Err(one_time);
                }
                options.persist = true;
            } else if is("KEEPTTL") {
                if has_time || options.keep {
                    return Err(one_time);
                }
                options.keep = true;
            } else if is("FNX") || is("FXX") {
                if options.absent || options.present {
                    return Err(CommandError::Text("ERR Only one of FXX or FNX arguments can be specified"));
                }
                (options.absent, options.present) = (is("FNX"), is("FXX"));
            } else {
                return Err(unknown(word));
            }
        }
        let fields = fields.ok_or(MISSING)?;
        let is_foreign = match exchange {
            Exchange::Get => options.keep || options.absent || options.present,
            Exchange::Set => options.persist,
        };
        if is_foreign {
            return Err(CommandError::Text("ERR unknown argument"));
        }
        Ok((options, fields))
    }
}
