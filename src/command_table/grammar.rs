//! The shape of a command's arguments: rendered by COMMAND DOCS, sampled by the generators of the
//! tests. The kinds and flags are those of COMMAND DOCS.

#[derive(Clone, Copy, Debug)]
pub struct Arg {
    pub name: &'static str,
    pub kind: Kind,
    /// The word that introduces it (`EX` of `EX seconds`).
    pub token: Option<&'static str>,
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// The token is repeated with it.
    pub multiple_token: bool,
    pub since: Option<&'static str>,
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// The index into the command's key specs.
    Key(usize),
    String,
    Integer,
    Double,
    Pattern,
    /// A pattern for keys of the key spec with this index.
    KeyPattern(usize),
    UnixTime,
    /// Only the token.
    PureToken,
    OneOf(&'static [Arg]),
    Block(&'static [Arg]),
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Pattern | Self::KeyPattern(_) => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf(_) => "oneof",
            Self::Block(_) => "block",
        }
    }
}

impl Arg {
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind, token: None, optional: false, multiple: false, multiple_token: false, since: None }
    }

    pub const fn key(name: &'static str) -> Self {
        Self::new(name, Kind::Key(0))
    }

    pub const fn string(name: &'static str) -> Self {
        Self::new(name, Kind::String)
    }

    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, Kind::Integer)
    }

    pub const fn token(name: &'static str, token: &'static str) -> Self {
        Self { token: Some(token), ..Self::new(name, Kind::PureToken) }
    }

    pub const fn one_of(name: &'static str, choices: &'static [Arg]) -> Self {
        Self::new(name, Kind::OneOf(choices))
    }

    pub const fn block(name: &'static str, parts: &'static [Arg]) -> Self {
        Self::new(name, Kind::Block(parts))
    }

    pub const fn after(self, token: &'static str) -> Self {
        Self { token: Some(token), ..self }
    }

    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    pub const fn multiple(self) -> Self {
        Self { multiple: true, ..self }
    }

    /// The token is repeated with it.
    pub const fn multiple_token(self) -> Self {
        Self { multiple_token: true, ..self }
    }

    pub const fn since(self, version: &'static str) -> Self {
        Self { since: Some(version), ..self }
    }
}
