//! The same requests to redis-server and to Pinion. Each line is a connection of its own; `|` separates its
//! requests, which are sent at once.

use crate::support::{Server, Value, encode, on_each_shard_count};

/// What is compared byte for byte (but for ids, addresses and the like).
const SAME: &str = r"
    PING
    PING a
    PING a b
    ECHO x
    ECHO
    SELECT 1
    SELECT 16
    SELECT -1
    SELECT a
    SELECT 99999999999999999999
    SELECT 4294967296
    RESET
    RESET x
    HELLO
    HELLO 1
    HELLO 4
    HELLO a
    HELLO 2
    HELLO 3
    HELLO 3 AUTH default
    HELLO 3 AUTH default x
    HELLO 3 AUTH foo x
    HELLO 3 SETNAME
    HELLO 3 SETNAME a | CLIENT GETNAME
    HELLO 3 SETNAME \x7f
    HELLO 3 FOO
    HELLO 2 SETNAME foo BAR
    HELLO SETNAME foo
    HELLO 3 | HELLO 2 | HELLO | PING
    HELLO 4 | HELLO
    AUTH
    AUTH x
    AUTH default x
    AUTH default x y
    AUTH foo x
    ACL
    ACL foo
    ACL WHOAMI
    ACL WHOAMI a
    ACL CAT
    ACL CAT foo
    ACL CAT a b
    ACL USERS
    ACL LIST
    ACL GETUSER
    ACL GETUSER default
    ACL GETUSER Default
    HELLO 3 | ACL GETUSER default
    HELLO 3 | ACL GETUSER foo
    ACL GENPASS 0
    ACL GENPASS 4097
    ACL GENPASS a
    ACL GENPASS 1 2
    ACL DRYRUN foo get x
    ACL DRYRUN default get x
    ACL DRYRUN default get
    ACL DRYRUN default nosuch x
    ACL DELUSER default
    ACL DELUSER foo bar
    CLIENT
    CLIENT foo
    CLIENT foo bar
    client foo
    CLIENT ID x
    CLIENT GETNAME
    HELLO 3 | CLIENT GETNAME
    CLIENT SETNAME a | CLIENT GETNAME
    CLIENT SETNAME \x20
    CLIENT SETNAME \xff
    CLIENT SETNAME ~!
    CLIENT NO-EVICT
    CLIENT NO-EVICT on
    CLIENT NO-EVICT off
    CLIENT NO-EVICT foo
    CLIENT REPLY
    CLIENT REPLY ON
    CLIENT REPLY foo
    CLIENT REPLY OFF | PING | nosuch | CLIENT REPLY ON | PING
    CLIENT REPLY SKIP | CLIENT REPLY ON | PING
    CLIENT REPLY SKIP | nosuch | PING
    CLIENT REPLY SKIP | CLIENT REPLY SKIP | PING | PING x
    CLIENT REPLY SKIP | CLIENT REPLY foo | PING
    CLIENT REPLY SKIP | CLIENT LIST foo | PING
    CLIENT REPLY SKIP | CLIENT LIST | PING
    CLIENT REPLY SKIP | get a | PING
    CLIENT REPLY SKIP | get | PING
    CLIENT REPLY SKIP | CLIENT REPLY OFF | PING | CLIENT REPLY ON
    CLIENT REPLY OFF | CLIENT REPLY SKIP | PING | CLIENT REPLY ON | PING
    CLIENT REPLY OFF | RESET | PING
    CLIENT PAUSE
    CLIENT PAUSE a
    CLIENT PAUSE -1
    CLIENT PAUSE 9223372036854775808
    CLIENT PAUSE 1 foo
    CLIENT PAUSE a foo
    CLIENT PAUSE 1 all x
    CLIENT PAUSE 0 | CLIENT UNPAUSE
    CLIENT PAUSE 1000 write | CLIENT UNPAUSE
    CLIENT UNPAUSE x
    CLIENT UNBLOCK
    CLIENT UNBLOCK a
    CLIENT UNBLOCK a b
    CLIENT UNBLOCK 99999
    CLIENT UNBLOCK 99999 TIMEOUT
    CLIENT UNBLOCK 99999 ERROR
    CLIENT UNBLOCK 99999 ERROR x
    CLIENT UNBLOCK -1
    CLIENT GETREDIR
    CLIENT TRACKINGINFO
    HELLO 3 | CLIENT TRACKINGINFO
    CLIENT TRACKING
    CLIENT TRACKING foo
    CLIENT TRACKING off
    CLIENT TRACKING off NOLOOP
    CLIENT TRACKING off foo
    CLIENT CACHING yes
    CLIENT CACHING foo
    CLIENT KILL
    CLIENT KILL foo
    CLIENT KILL ID
    CLIENT KILL ID a
    CLIENT KILL ID 0
    CLIENT KILL ID -5
    CLIENT KILL ID 99999999
    CLIENT KILL ID 9223372036854775808
    CLIENT KILL ID 1 ID a
    CLIENT KILL TYPE foo
    CLIENT KILL TYPE replica
    CLIENT KILL TYPE slave
    CLIENT KILL TYPE normal ID
    CLIENT KILL USER foo
    CLIENT KILL SKIPME foo
    CLIENT KILL SKIPME no ID 99999
    CLIENT KILL ADDR 1.2.3.4:5
    CLIENT KILL LADDR 1.2.3.4:5
    CLIENT KILL ADDR 1.2.3.4:5 foo
    CLIENT KILL foo bar
    CLIENT LIST TYPE
    CLIENT LIST TYPE foo
    CLIENT LIST TYPE replica
    CLIENT LIST TYPE normal foo
    CLIENT LIST ID
    CLIENT LIST ID a
    CLIENT LIST ID 0
    CLIENT LIST ID -1
    CLIENT LIST ID 9223372036854775808
    CLIENT LIST foo
    CLIENT LIST foo bar
    HELLO 3 | CLIENT LIST TYPE replica
    CLIENT INFO x
    COMMAND FOO
    COMMAND HELP x
    COMMAND COUNT x
    COMMAND GETKEYS get
    COMMAND GETKEYS get a
    COMMAND GETKEYS get a b
    COMMAND GETKEYS foo a
    COMMAND GETKEYS ping a
    COMMAND GETKEYS mset a b c d
    COMMAND GETKEYS mget a b c d
    COMMAND GETKEYS client foo
    COMMAND GETKEYS client list
    COMMAND GETKEYS COMMAND info x
    COMMAND GETKEYSANDFLAGS get
    COMMAND GETKEYSANDFLAGS get a
    COMMAND GETKEYSANDFLAGS set a b
    COMMAND GETKEYSANDFLAGS mget a b c
    HELLO 3 | COMMAND GETKEYSANDFLAGS mget a b c
    COMMAND LIST foo
    COMMAND LIST FILTERBY
    COMMAND LIST FILTERBY foo bar
    COMMAND LIST FILTERBY MODULE x
    COMMAND LIST FILTERBY ACLCAT nosuch
    COMMAND LIST FILTERBY PATTERN x y
    COMMAND LIST FILTERBY PATTERN PIN*
    COMMAND INFO nosuch
    COMMAND INFO get nosuch ping
    HELLO 3 | COMMAND INFO get nosuch ping
    COMMAND INFO client|list client|foo CLIENT|LIST|x get|foo | COMMAND INFO get|
    COMMAND DOCS nosuch
    HELLO 3 | COMMAND DOCS nosuch
    nosuch
    nosuch a b
    nosuch a\x0ab \x01
    no\x0d\x0asuch
    client f\x0aoo
    no\x00such a\x00b c
    get
    get a b
    MONITOR x
    RESET | PING | CLIENT REPLY SKIP | PING | PING x
    HELLO 3 | CLIENT SETNAME x | SELECT 3 | RESET | CLIENT GETNAME
    QUIT
    QUIT a b
    QUIT | PING
";

/// Differences on purpose: the request, and what Pinion replies.
const OTHERWISE: &[(&str, &str)] = &[
    // Of a later Redis.
    ("CLIENT NO-TOUCH on", "+OK"),
    ("CLIENT NO-TOUCH x", "-ERR syntax error"),
    ("CLIENT SETINFO lib-name x", "+OK"),
    ("CLIENT SETINFO LIB-VER 1.2", "+OK"),
    ("CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'"),
    ("CLIENT SETINFO lib-name \\x20", "-ERR lib-name cannot contain spaces, newlines or special characters."),
    ("CLIENT KILL MAXAGE 100000", ":0"),
    // Redis adds it to the time, which overflows, and does not pause.
    ("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range"),
    // Not there: said so, instead of a promise that is not kept.
    ("CLIENT TRACKING on", "-ERR client side caching is not supported by this server"),
    ("ACL LOG", "-ERR ACL LOG is not supported by this server"),
];

#[test]
fn replies_are_those_of_the_reference() {
    let redis = Server::redis();
    on_each_shard_count(|server| {
        for line in SAME.lines().map(str::trim).filter(|line| !line.is_empty()) {
            assert_eq!(conversation(server, line), conversation(&redis, line), "{line}");
        }
    });
}

#[test]
fn declared_differences() {
    on_each_shard_count(|server| {
        for (line, reply) in OTHERWISE {
            assert_eq!(conversation(server, line), [*reply], "{line}");
        }
    });
}

/// Redis forgets to close in this case: there is no reply whose end it could wait for.
#[test]
fn quit_closes_even_if_nothing_is_answered() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        client.send(&["CLIENT", "REPLY", "OFF"]);
        client.send(&["QUIT"]);
        assert_eq!(client.receive_until_closed(), b"");
    });
}

/// All replies to a line, up to that of a last request, or to the end of the connection.
fn conversation(server: &Server, line: &str) -> Vec<String> {
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for request in line.split(" | ") {
        bytes.extend(encode(&request.split(' ').map(unescaped).collect::<Vec<_>>()));
    }
    if line.starts_with("QUIT") {
        client.send_raw(&bytes);
        return vec![String::from_utf8_lossy(&client.receive_until_closed()).into_owned()];
    }
    bytes.extend(encode(&["ECHO", "the end"]));
    client.send_raw(&bytes);
    let mut replies = Vec::new();
    loop {
        match client.receive() {
            Value::Bulk(text) if text == b"the end" => return replies,
            reply => replies.push(without_id(&reply).to_string()),
        }
    }
}

/// HELLO tells the client's id, which differs.
fn without_id(reply: &Value) -> Value {
    let mut previous_is_id = false;
    let mut masked = |item: &Value| {
        let is_id = std::mem::replace(&mut previous_is_id, item.as_bytes() == Some(b"id"));
        if is_id { Value::Null } else { item.clone() }
    };
    match reply {
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        Value::Map(pairs) => {
            Value::Map(pairs.iter().map(|(key, value)| (masked(key), masked(value))).collect())
        }
        other => other.clone(),
    }
}

/// `\xHH` stands for a byte.
fn unescaped(word: &str) -> Vec<u8> {
    let mut pieces = word.split("\\x");
    let mut bytes = pieces.next().unwrap_or("").as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    bytes
}
