//! Transcripts of groups: reading for one, acknowledging, claiming, telling.

use crate::commands::testing::{check, check_new};

#[test]
fn groups() {
    check(
        r#"
        > XGROUP CREATE s g $
        -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        > XGROUP CREATE s g $ MKSTREAM
        +OK
        > XGROUP CREATE s g $ MKSTREAM
        -BUSYGROUP Consumer Group name already exists
        > XGROUP CREATE s h x
        -ERR Invalid stream ID specified as stream command argument
        > XGROUP CREATE s h -
        -ERR Invalid stream ID specified as stream command argument
        > XGROUP CREATE s h 0 ENTRIESREAD -2
        -ERR value for ENTRIESREAD must be positive or -1
        > XGROUP CREATE s h 0 ENTRIESREAD
        -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        > XGROUP CREATE s h 0 ENTRIESREAD 3
        +OK
        > XGROUP SETID s g - ENTRIESREAD 5
        +OK
        > XGROUP SETID s nope 0
        -NOGROUP No such consumer group 'nope' for key name 's'
        > XGROUP SETID s g 0 MKSTREAM
        -ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
        > XGROUP CREATECONSUMER s g c
        :1
        > XGROUP CREATECONSUMER s g c
        :0
        > XGROUP CREATECONSUMER s nope c
        -NOGROUP No such consumer group 'nope' for key name 's'
        > XGROUP DELCONSUMER s g c
        :0
        > XGROUP DELCONSUMER s g nope
        :0
        > XGROUP DESTROY s h
        :1
        > XGROUP DESTROY s h
        :0
        > XGROUP DESTROY missing h
        -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
        > XGROUP FOO
        -ERR unknown subcommand 'FOO'. Try XGROUP HELP.
        > XINFO GROUPS s
        [[$name, $g, $consumers, :0, $pending, :0, $last-delivered-id, $0-0, $entries-read, :5, $lag, :0]]
        > SET k v
        +OK
        > XGROUP CREATE k g 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn reading() {
    check(
        r#"
        > XADD a 1 f 1
        $1-0
        > XADD b 5 f 5
        $5-0
        > XREAD STREAMS a b missing 0 0 0
        [[$a, [[$1-0, [$f, $1]]]], [$b, [[$5-0, [$f, $5]]]]]
        > XREAD COUNT 1 STREAMS a b 1 $
        NullArray
        > XREAD BLOCK 1 STREAMS a b 1
        -ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.
        > XREAD COUNT 1 FOO STREAMS a 1
        -ERR syntax error
        > XREAD COUNT 1 BLOCK 10
        -ERR syntax error
        > XREAD STREAMS a b 0 >
        -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
        > XREAD STREAMS a b x 0
        -ERR Invalid stream ID specified as stream command argument
        > XREAD BLOCK x STREAMS a b 0 0
        -ERR timeout is not an integer or out of range
        > XREAD BLOCK -1 STREAMS a b 0 0
        -ERR timeout is negative
        > XREAD GROUP g c STREAMS a 0
        -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        > XREAD NOACK STREAMS a 0
        -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        > XREAD STREAMS a -
        -ERR Invalid stream ID specified as stream command argument
        > SET k v
        +OK
        > XREAD STREAMS a k 0 0
        -WRONGTYPE Operation against a key holding the wrong kind of value
        @ resp3
        > XREAD STREAMS a b 0 0
        {$a: [[$1-0, [$f, $1]]], $b: [[$5-0, [$f, $5]]]}
        "#,
    );
}

#[test]
fn reading_for_a_group() {
    check(
        r#"
        > XADD a 1 f 1
        $1-0
        > XADD a 2 f 2
        $2-0
        > XADD b 5 f 5
        $5-0
        > XGROUP CREATE a g 0
        +OK
        > XREADGROUP GROUP g c STREAMS a b > >
        -NOGROUP No such key 'b' or consumer group 'g' in XREADGROUP with GROUP option
        > XGROUP CREATE b g 0
        +OK
        > XREADGROUP GROUP g c COUNT 1 STREAMS a b > >
        [[$a, [[$1-0, [$f, $1]]]], [$b, [[$5-0, [$f, $5]]]]]
        > XREADGROUP GROUP g c COUNT 1 STREAMS a b > >
        [[$a, [[$2-0, [$f, $2]]]]]
        > XREADGROUP GROUP g c STREAMS a b > >
        NullArray
        > XREADGROUP GROUP g c STREAMS a b 0 >
        [[$a, [[$1-0, [$f, $1]], [$2-0, [$f, $2]]]]]
        > XREADGROUP GROUP g d STREAMS a 0
        [[$a, []]]
        > XDEL a 1
        :1
        > XREADGROUP GROUP g c COUNT 1 STREAMS a 0
        [[$a, [[$1-0, NullArray]]]]
        > XREADGROUP GROUP g c STREAMS a $
        -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.
        > XREADGROUP STREAMS a b c > > >
        -ERR Missing GROUP option for XREADGROUP
        > XPENDING a g
        [:2, $1-0, $2-0, [[$c, $2]]]
        > XACK a g 1 9
        :1
        > XACK a nope 1
        :0
        > XACK a g x
        -ERR Invalid stream ID specified as stream command argument
        > XADD a 3 f 3
        $3-0
        > XREADGROUP GROUP g d NOACK STREAMS a >
        [[$a, [[$3-0, [$f, $3]]]]]
        > XPENDING a g - + 10 d
        []
        > XINFO GROUPS a
        [[$name, $g, $consumers, :2, $pending, :1, $last-delivered-id, $3-0, $entries-read, :3, $lag, :0]]
        "#,
    );
}

#[test]
fn claiming() {
    check(
        r#"
        > XADD s 1 f 1
        $1-0
        > XADD s 2 f 2
        $2-0
        > XADD s 3 f 3
        $3-0
        > XCLAIM s g c 0 1
        -NOGROUP No such key 's' or consumer group 'g'
        > XGROUP CREATE s g 0
        +OK
        > XCLAIM s g c x 1
        -ERR Invalid min-idle-time argument for XCLAIM
        > XCLAIM s g c 0 1 FOO
        -ERR Unrecognized XCLAIM option 'FOO'
        > XCLAIM s g c 0 1 IDLE x
        -ERR Invalid IDLE option argument for XCLAIM
        > XCLAIM s g c 0 1
        []
        > XGROUP CREATECONSUMER s g c
        :1
        > XREADGROUP GROUP g a COUNT 2 STREAMS s >
        [[$s, [[$1-0, [$f, $1]], [$2-0, [$f, $2]]]]]
        > XCLAIM s g c 0 1 3
        [[$1-0, [$f, $1]]]
        > XCLAIM s g c 0 2 3 FORCE JUSTID
        [$2-0, $3-0]
        > XCLAIM s g c 100000 1
        []
        > XCLAIM s g c 0 1 RETRYCOUNT 7
        [[$1-0, [$f, $1]]]
        > XPENDING s g - + 10 c
        [[$1-0, $c, :0, :7], [$2-0, $c, :0, :1], [$3-0, $c, :0, :1]]
        > XPENDING s g IDLE 50000 - + 10
        []
        > XCLAIM s g c 0 1 IDLE 100000 JUSTID
        [$1-0]
        > XPENDING s g IDLE 5
        -ERR syntax error
        > XPENDING s g - +
        -ERR syntax error
        > XPENDING s g - + 10 nope
        []
        > XPENDING s nope
        -NOGROUP No such key 's' or consumer group 'nope'
        > XCLAIM s g d 0 3 LASTID 2 FORCE
        [[$3-0, [$f, $3]]]
        > XPENDING s g (2 + 10
        [[$3-0, $d, :0, :2]]
        > XDEL s 2
        :1
        > XAUTOCLAIM s g d 50000 - COUNT 1
        [$2-0, [[$1-0, [$f, $1]]], []]
        > XAUTOCLAIM s g e 0 2 COUNT 1 JUSTID
        [$3-0, [], [$2-0]]
        > XAUTOCLAIM s g e 0 2 JUSTID
        [$0-0, [$3-0], []]
        > XAUTOCLAIM s g e 0 2 COUNT x
        -ERR COUNT must be > 0
        > XAUTOCLAIM s g e 0 2 COUNT 0
        -ERR COUNT must be > 0
        > XAUTOCLAIM s g e x 2
        -ERR Invalid min-idle-time argument for XAUTOCLAIM
        > XAUTOCLAIM s nope e 0 2
        -NOGROUP No such key 's' or consumer group 'nope'
        > XGROUP DELCONSUMER s g e
        :1
        > XPENDING s g
        [:1, $1-0, $1-0, [[$d, $1]]]
        > XACK s g 1
        :1
        > XPENDING s g
        [:0, nil, nil, NullArray]
        "#,
    );
}

#[test]
fn telling() {
    check(
        r#"
        > XADD s 1 f 1
        $1-0
        > XADD s 2 f 2
        $2-0
        > XADD s 3 f 3
        $3-0
        > XDEL s 2
        :1
        > XGROUP CREATE s g 0
        +OK
        > XREADGROUP GROUP g a COUNT 1 STREAMS s >
        [[$s, [[$1-0, [$f, $1]]]]]
        > XINFO STREAM s
        [$length, :2, $radix-tree-keys, :1, $radix-tree-nodes, :2, $last-generated-id, $3-0, $max-deleted-entry-id, $2-0, $entries-added, :3, $recorded-first-entry-id, $1-0, $groups, :1, $first-entry, [$1-0, [$f, $1]], $last-entry, [$3-0, [$f, $3]]]
        > XINFO GROUPS s
        [[$name, $g, $consumers, :1, $pending, :1, $last-delivered-id, $1-0, $entries-read, nil, $lag, nil]]
        > XINFO STREAM s FULL COUNT
        -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        > XINFO STREAM s FOO
        -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        > XINFO STREAM missing
        -ERR no such key
        > XINFO CONSUMERS s nope
        -NOGROUP No such consumer group 'nope' for key name 's'
        > XTRIM s MAXLEN 0
        :2
        > XGROUP DELCONSUMER s g a
        :1
        > XINFO STREAM s FULL
        [$length, :0, $radix-tree-keys, :0, $radix-tree-nodes, :1, $last-generated-id, $3-0, $max-deleted-entry-id, $2-0, $entries-added, :3, $recorded-first-entry-id, $0-0, $entries, [], $groups, [[$name, $g, $last-delivered-id, $1-0, $entries-read, nil, $lag, :0, $pel-count, :0, $pending, [], $consumers, []]]]
        "#,
    );
}

#[test]
fn consumers_and_their_silence() {
    check_new(
        r#"
        > XGROUP CREATE s g 0 MKSTREAM
        +OK
        > XGROUP CREATECONSUMER s g c
        :1
        @ later 30
        > XGROUP CREATECONSUMER s g d
        :1
        > XINFO CONSUMERS s g
        [[$name, $c, $pending, :0, $idle, :30], [$name, $d, $pending, :0, $idle, :0]]
        > XADD s 1 f 1
        $1-0
        > XREADGROUP GROUP g c STREAMS s >
        [[$s, [[$1-0, [$f, $1]]]]]
        > XREADGROUP GROUP g c STREAMS s 0
        [[$s, [[$1-0, [$f, $1]]]]]
        @ later 40
        > XPENDING s g - + 10
        [[$1-0, $c, :40, :2]]
        > XPENDING s g IDLE 41 - + 10
        []
        "#,
    );
}

#[test]
fn acknowledging_and_deleting_at_once() {
    check_new(
        r#"
        > XACKDEL s g IDS 1 1
        [:-1]
        > XADD s 1 f 1
        $1-0
        > XADD s 2 f 2
        $2-0
        > XGROUP CREATE s g 0
        +OK
        > XGROUP CREATE s h 0
        +OK
        > XREADGROUP GROUP g a STREAMS s >
        [[$s, [[$1-0, [$f, $1]], [$2-0, [$f, $2]]]]]
        > XACKDEL s g ACKED IDS 2 1 9
        [:2, :-1]
        > XACKDEL s g ACKED IDS 1 1
        [:-1]
        > XREADGROUP GROUP h a STREAMS s >
        [[$s, [[$1-0, [$f, $1]], [$2-0, [$f, $2]]]]]
        > XACKDEL s h ACKED IDS 2 1 2
        [:1, :2]
        > XDELEX s ACKED IDS 2 1 2
        [:-1, :2]
        > XDELEX s DELREF IDS 1 2
        [:1]
        > XPENDING s g
        [:0, nil, nil, NullArray]
        > XADD s 3 f 3
        $3-0
        > XREADGROUP GROUP g a STREAMS s >
        [[$s, [[$3-0, [$f, $3]]]]]
        > XADD s KEEPREF MAXLEN = 0 4 f 4
        $4-0
        > XLEN s
        :0
        > XPENDING s g
        [:1, $3-0, $3-0, [[$a, $1]]]
        > XADD s 5 f 5
        $5-0
        > XTRIM s MAXLEN 0 ACKED
        :0
        > XTRIM s MAXLEN 0 DELREF
        :1
        "#,
    );
}
