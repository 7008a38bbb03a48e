//! Files: direct writes, atomic replacement, and a disk in memory that tears, loses and refuses. Knows nothing of Redis.
