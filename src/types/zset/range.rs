//! Ranges of sorted sets: of scores and of names.

use std::ops::Bound;

/// Scores between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub low: Bound<f64>,
    pub high: Bound<f64>,
}

/// One end of a range of names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LexBound {
    /// Before all names.
    Least,
    /// After all names.
    Greatest,
    Included(Box<[u8]>),
    Excluded(Box<[u8]>),
}

/// Names between two bounds; they stand together only where all scores are equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LexRange {
    pub low: LexBound,
    pub high: LexBound,
}

impl LexBound {
    /// Whether a name stands before what this allows as the lower end.
    pub(super) fn is_above(&self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Included(low) => member < &**low,
            Self::Excluded(low) => member <= &**low,
        }
    }

    /// Whether a name is not beyond this as the upper end.
    pub(super) fn admits(&self, member: &[u8]) -> bool {
        match self {
            Self::Least => false,
            Self::Greatest => true,
            Self::Included(high) => member <= &**high,
            Self::Excluded(high) => member < &**high,
        }
    }
}
