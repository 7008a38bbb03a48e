//! Transcripts of XADD and its family.

use crate::commands::testing::{check, check_new};

#[test]
fn adding() {
    check(
        r#"
        > XADD s 1-1 a 1
        $1-1
        > XADD s 1-1 a 1
        -ERR The ID specified in XADD is equal or smaller than the target stream top item
        > XADD s 1-* a 2 b 3
        $1-2
        > XADD s 2 a 1
        $2-0
        > XADD s 0-0 a 1
        -ERR The ID specified in XADD must be greater than 0-0
        > XADD new 0 a 1
        -ERR The ID specified in XADD must be greater than 0-0
        > XADD new 0-* a 1
        $0-1
        > XADD s * a
        -ERR wrong number of arguments for 'xadd' command
        > XADD s 5-1 a 1 b
        -ERR wrong number of arguments for 'xadd' command
        > XADD s MAXLEN 5 LIMIT 5
        -ERR syntax error, LIMIT cannot be used without the special ~ option
        > XADD s abc a 1
        -ERR Invalid stream ID specified as stream command argument
        > XADD s - a 1
        -ERR Invalid stream ID specified as stream command argument
        > XADD missing NOMKSTREAM * a 1
        nil
        > EXISTS missing
        :0
        > XLEN s
        :3
        > XLEN missing
        :0
        > XRANGE s - +
        [[$1-1, [$a, $1]], [$1-2, [$a, $2, $b, $3]], [$2-0, [$a, $1]]]
        > XADD s 18446744073709551615-18446744073709551615 a 1
        $18446744073709551615-18446744073709551615
        > XADD s * a 1
        -ERR The stream has exhausted the last possible ID, unable to add more items
        > XADD t 18446744073709551615-18446744073709551614 a 1
        $18446744073709551615-18446744073709551614
        > XADD t * a 1
        $18446744073709551615-18446744073709551615
        > SET k v
        +OK
        > XADD k * a 1
        -WRONGTYPE Operation against a key holding the wrong kind of value
        > TYPE s
        +stream
        > OBJECT ENCODING s
        $stream
        "#,
    );
}

#[test]
fn ranges() {
    check(
        r#"
        > XADD s 1-1 a 1
        $1-1
        > XADD s 1-2 a 2
        $1-2
        > XADD s 3-0 a 3
        $3-0
        > XRANGE s 1-2 +
        [[$1-2, [$a, $2]], [$3-0, [$a, $3]]]
        > XRANGE s (1-1 (3-0
        [[$1-2, [$a, $2]]]
        > XRANGE s 1 1
        [[$1-1, [$a, $1]], [$1-2, [$a, $2]]]
        > XREVRANGE s + - COUNT 2
        [[$3-0, [$a, $3]], [$1-2, [$a, $2]]]
        > XREVRANGE s 1 1
        [[$1-2, [$a, $2]], [$1-1, [$a, $1]]]
        > XRANGE s + -
        []
        > XRANGE s - + COUNT 0
        NullArray
        > XRANGE s - + COUNT -1
        NullArray
        > XRANGE missing - + COUNT 0
        []
        > XRANGE s - + COUNT
        -ERR syntax error
        > XRANGE s - + COUNT x
        -ERR value is not an integer or out of range
        > XRANGE s (18446744073709551615-18446744073709551615 +
        -ERR invalid start ID for the interval
        > XRANGE s - (0-0
        -ERR invalid end ID for the interval
        > XRANGE s (- +
        -ERR Invalid stream ID specified as stream command argument
        > XRANGE s ( +
        -ERR Invalid stream ID specified as stream command argument
        "#,
    );
}

#[test]
fn deleting_and_trimming() {
    check(
        r#"
        > XADD s 1 a 1
        $1-0
        > XADD s 2 a 2
        $2-0
        > XADD s 3 b 3
        $3-0
        > XADD s 4 a 4
        $4-0
        > XDEL s 2 9
        :1
        > XDEL s 2
        :0
        > XDEL s x
        -ERR Invalid stream ID specified as stream command argument
        > XDEL missing x
        :0
        > XRANGE s - +
        [[$1-0, [$a, $1]], [$3-0, [$b, $3]], [$4-0, [$a, $4]]]
        > XTRIM s MAXLEN 2
        :1
        > XTRIM s MAXLEN ~ 1
        :0
        > XTRIM s MINID = 4
        :1
        > XRANGE s - +
        [[$4-0, [$a, $4]]]
        > XADD s MAXLEN 1 5 a 5
        $5-0
        > XLEN s
        :1
        > XTRIM s MAXLEN 0
        :1
        > EXISTS s
        :1
        > XRANGE s - +
        []
        > XTRIM s MAXLEN -1
        -ERR The MAXLEN argument must be >= 0.
        > XTRIM s MAXLEN 1 LIMIT 1
        -ERR syntax error, LIMIT cannot be used without the special ~ option
        > XTRIM s MAXLEN ~ 1 LIMIT -1
        -ERR The LIMIT argument must be >= 0.
        > XTRIM s MAXLEN 1 MINID 1
        -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        > XTRIM s LIMIT 1 LIMIT 1
        -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        > XTRIM s LIMIT 0 LIMIT 0
        -ERR syntax error, XTRIM must be called with a trimming strategy
        > XTRIM s FOO 1
        -ERR syntax error
        > XADD s LIMIT 0 9 a 1
        -ERR syntax error, LIMIT cannot be used without the special ~ option
        > XTRIM missing MAXLEN 1
        :0
        "#,
    );
}

#[test]
fn setting_ids() {
    check(
        r#"
        > XSETID s 5
        -ERR no such key
        > XADD s 1 a 1
        $1-0
        > XSETID s 0-5
        -ERR The ID specified in XSETID is smaller than the target stream top item
        > XSETID s 5 ENTRIESADDED 0
        -ERR The entries_added specified in XSETID is smaller than the target stream length
        > XSETID s 5 ENTRIESADDED -1
        -ERR entries_added must be positive
        > XSETID s 5 MAXDELETEDID 6
        -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        > XSETID s 5 ENTRIESADDED 10 MAXDELETEDID 4
        +OK
        > XSETID s 3
        +OK
        > XSETID s 5
        +OK
        > XSETID s 5 FOO
        -ERR syntax error
        > XADD s 4 a 1
        -ERR The ID specified in XADD is equal or smaller than the target stream top item
        > XADD s 5-* a 1
        $5-1
        "#,
    );
}

#[test]
fn references() {
    check_new(
        r#"
        > XDELEX missing IDS 2 1 2
        [:-1, :-1]
        > XADD s 1 a 1
        $1-0
        > XADD s 2 a 2
        $2-0
        > XDELEX s IDS 2 1-0 9-0
        [:1, :-1]
        > XDELEX s FOO IDS 1 1
        -ERR syntax error
        > XDELEX s IDS 2 1 FOO
        -ERR Invalid stream ID specified as stream command argument
        > XDELEX s IDS 3 1 2
        -ERR The `numids` parameter must match the number of arguments
        > XDELEX s IDS 0 1 2
        -ERR Number of IDs must be a positive integer
        "#,
    );
}
