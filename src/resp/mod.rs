//! The RESP wire format, versions 2 and 3. Pure: bytes in, bytes out, no socket in sight.
//!
//! A value is a byte for its type, a line, and for strings and containers what the line announces:
//!
//! ```text
//!   +OK\r\n          simple string        *2\r\n:1\r\n:2\r\n   array of two elements
//!   -ERR no\r\n      error                $-1\r\n             null
//!   :12\r\n          integer              *-1\r\n             null where an array was expected
//!   $3\r\nfoo\r\n    bulk string
//!
//!   RESP3 only, and what a RESP2 client is sent instead:
//!   %1\r\n+k\r\n:1\r\n      map of one pair                                  array
//!   ~1\r\n:1\r\n           set                                              array
//!   >1\r\n:1\r\n           push, a message that answers no request          array
//!   |1\r\n+k\r\n:1\r\n      attribute of the value that follows              nothing
//!   =6\r\ntxt:hi\r\n       verbatim text                                    bulk string
//!   ,1.5\r\n  (12\r\n      double, big number                               bulk string
//!   #t\r\n                boolean                                          integer
//!   _\r\n                 null                                             $-1 or *-1
//! ```
//!
//! A request is an array of bulk strings, or a line of words ([`inline`]). It is read in place:
//!
//! ```
//! use pinion::resp::{Argv, Limits, Progress, RequestParser};
//!
//! let (mut parser, mut ranges) = (RequestParser::new(), Vec::new());
//! let buffer = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n*1\r\n$4\r\nPI";
//!
//! let progress = parser.parse(buffer, &mut ranges, &Limits::default()).unwrap();
//! assert_eq!(progress, Progress::Complete { consumed: 22 });
//! let argv = Argv::new(buffer, &ranges);
//! assert_eq!((argv.len(), &argv[0], &argv[1]), (2, &b"GET"[..], &b"key"[..]));
//!
//! // Of the next one some bytes are missing: an argument's and a line end's.
//! let progress = parser.parse(&buffer[22..], &mut ranges, &Limits::default()).unwrap();
//! assert_eq!(progress, Progress::Incomplete { needed: Some(4) });
//! ```
//!
//! A reply is written in the version the client chose:
//!
//! ```
//! use pinion::resp::{Protocol, Reply};
//!
//! let (mut old, mut new) = (Vec::new(), Vec::new());
//! for mut reply in [Reply::new(&mut old, Protocol::Resp2), Reply::new(&mut new, Protocol::Resp3)] {
//!     reply.map(2);
//!     reply.bulk(b"pi");
//!     reply.double(3.125);
//!     reply.bulk(b"missing");
//!     reply.null();
//! }
//! assert_eq!(old, b"*4\r\n$2\r\npi\r\n$5\r\n3.125\r\n$7\r\nmissing\r\n$-1\r\n");
//! assert_eq!(new, b"%2\r\n$2\r\npi\r\n,3.125\r\n$7\r\nmissing\r\n_\r\n");
//! ```
//!
//! ...and read where Pinion is the client:
//!
//! ```
//! use pinion::resp::{Value, parse_reply};
//!
//! assert_eq!(parse_reply(b"*2\r\n:1\r\n$1\r\nx"), Ok(None));
//! let whole = Value::Array(vec![Value::Integer(1), Value::bulk("x")]);
//! assert_eq!(parse_reply(b"*2\r\n:1\r\n$1\r\nx\r\n"), Ok(Some((whole, 15))));
//! ```

mod argv;
pub mod inline;
mod reply;
mod reply_parser;
mod request;
mod value;

pub use argv::{ArgRange, Argv, ArgvBuf, ArgvIter};
pub use reply::{Deferred, Mark, Protocol, Reply};
pub use reply_parser::{ReplyError, ReplyParser, parse_reply, reply_len};
pub use request::{Limits, Progress, ProtocolError, RequestParser};
pub use value::Value;
