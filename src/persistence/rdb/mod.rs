//! The RDB format, as Redis writes and reads it.
