//! Keys of any type: DEL, EXISTS, TYPE and their kin; WAIT.

use crate::command_table::{
    Access, Arg, Args, Arity, Category, CommandSpec, DEFAULTS, Flag, Flags, Handler, KeySpec, Merge,
};
use crate::resp::Reply;
use crate::session::Session;
use crate::shard::{CommandError, CommandResult, Context, Event};

pub(super) const COMMANDS: &[&CommandSpec] = &[&DEL, &UNLINK, &EXISTS, &TOUCH, &TYPE, &WAIT];

const DEL: CommandSpec = CommandSpec {
    name: "DEL",
    full_name: "del",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::Write]),
    keys: &[KeySpec::from(1, 1, Access::Remove, &["delete"])],
    complexity: "O(N) where N is the number of keys, and of the elements of those that are no strings.",
    summary: "Deletes keys.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: Handler::PerShard { run: del, merge: Merge::Sum },
    ..DEFAULTS
};

const UNLINK: CommandSpec = CommandSpec {
    name: "UNLINK",
    full_name: "unlink",
    flags: Flags::of(&[Flag::Write, Flag::Fast]),
    since: "4.0.0",
    complexity: "O(1) for each key; the memory of large values is returned later, in slices.",
    summary: "Deletes keys and returns their memory later.",
    handler: Handler::PerShard { run: unlink, merge: Merge::Sum },
    ..DEL
};

fn del(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    let lazily = ctx.shard.options.lazy_user_del;
    delete(ctx, args, lazily, reply)
}

fn unlink(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    delete(ctx, args, true, reply)
}

fn delete(ctx: &mut Context<'_>, args: Args<'_>, lazily: bool, reply: &mut Reply<'_>) -> CommandResult {
    let mut deleted = 0;
    for key in args {
        if ctx.remove(key, lazily) {
            ctx.modified(key, Event::Del);
            deleted += 1;
        }
    }
    reply.integer(deleted);
    Ok(())
}

const EXISTS: CommandSpec = CommandSpec {
    name: "EXISTS",
    full_name: "exists",
    arity: Arity::AtLeast(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    keys: &[KeySpec::from(1, 1, Access::Read, &[])],
    complexity: "O(N) where N is the number of keys.",
    summary: "Counts the keys that exist; one that is named twice counts twice.",
    args: &[Arg::key("key").multiple()],
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    handler: Handler::PerShard { run: exists, merge: Merge::Sum },
    ..DEFAULTS
};

fn exists(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(args.filter(|key| ctx.inspect(key).is_some()).count());
    Ok(())
}

const TOUCH: CommandSpec = CommandSpec {
    name: "TOUCH",
    full_name: "touch",
    since: "3.2.1",
    summary: "Counts the keys that exist and marks them as just used.",
    handler: Handler::PerShard { run: touch, merge: Merge::Sum },
    ..EXISTS
};

fn touch(ctx: &mut Context<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.length(args.filter(|key| ctx.read(key).is_some()).count());
    Ok(())
}

const TYPE: CommandSpec = CommandSpec {
    name: "TYPE",
    full_name: "type",
    arity: Arity::Exactly(2),
    flags: Flags::of(&[Flag::ReadOnly, Flag::Fast]),
    keys: &[KeySpec::at(1, Access::Read, &[])],
    summary: "Names the type of the value that a key holds.",
    args: &[Arg::key("key")],
    handler: Handler::Shard(type_of),
    ..DEFAULTS
};

fn type_of(ctx: &mut Context<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    reply.simple(ctx.inspect(args.bytes()?).map_or("none", |entry| entry.type_name().as_str()));
    Ok(())
}

const WAIT: CommandSpec = CommandSpec {
    name: "WAIT",
    full_name: "wait",
    arity: Arity::Exactly(3),
    flags: Flags::of(&[Flag::NoScript]),
    categories: &[Category::Connection],
    since: "3.0.0",
    summary: "Waits until replicas have acknowledged this connection's writes and returns their number.",
    args: &[Arg::integer("numreplicas"), Arg::integer("timeout")],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    handler: Handler::Client(wait),
    ..DEFAULTS
};

/// Without replicas there is nobody to wait for.
fn wait(_: &mut Session<'_>, mut args: Args<'_>, reply: &mut Reply<'_>) -> CommandResult {
    args.integer()?;
    let not_an_integer = CommandError::Text("ERR timeout is not an integer or out of range");
    if args.integer().map_err(|_| not_an_integer)? < 0 {
        return Err(CommandError::Text("ERR timeout is negative"));
    }
    reply.integer(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::commands::testing::{Cores, check};
    use crate::shard::{Change, Event};

    #[test]
    fn del_and_unlink() {
        check(
            "
            > MSET a 1 b 2 c 3
            +OK
            > DEL a b missing
            :2
            > DEL a
            :0
            > UNLINK c c
            :1
            > EXISTS a b c
            :0
            > SET a 1 PX 20
            +OK
            @ later 40
            > DEL a
            :0
            > DEL
            -ERR wrong number of arguments for 'del' command
            > UNLINK
            -ERR wrong number of arguments for 'unlink' command
            ",
        );
    }

    #[test]
    fn exists_touch_type() {
        check(
            "
            > MSET a 1 b two
            +OK
            > EXISTS a b missing a
            :3
            > EXISTS missing
            :0
            > TOUCH a b missing a
            :3
            > TYPE a
            +string
            > TYPE missing
            +none
            > APPEND b x
            :4
            > TYPE b
            +string
            > SET a 1 PX 20
            +OK
            @ later 40
            > EXISTS a b
            :1
            > TOUCH a b
            :1
            > TYPE a
            +none
            > EXISTS
            -ERR wrong number of arguments for 'exists' command
            > TYPE a b
            -ERR wrong number of arguments for 'type' command
            ",
        );
    }

    #[test]
    fn wait() {
        check(
            "
            > WAIT 0 0
            :0
            > WAIT 0 -1
            -ERR timeout is negative
            > WAIT a 0
            -ERR value is not an integer or out of range
            > WAIT 0 a
            -ERR timeout is not an integer or out of range
            > WAIT -1 10
            :0
            > WAIT 0 1.5
            -ERR timeout is not an integer or out of range
            > WAIT 0
            -ERR wrong number of arguments for 'wait' command
            ",
        );
    }

    /// Hits and misses of a request, and whether it marked `k` as used.
    fn looked(words: &[&str]) -> (u64, u64, bool) {
        let mut cores = Cores::new(1);
        cores.run(&["SET", "k", "5", "EX", "1000"]);
        cores.run(&["SET", "other", "5"]);
        cores.later(60_000);
        let fresh = cores.cores[0].shard.access_clock;
        cores.run(words);
        let shard = &cores.cores[0].shard;
        let touched = shard.databases[0].find(b"k").is_some_and(|entry| entry.access() == fresh);
        (shard.stats.hits, shard.stats.misses, touched)
    }

    /// As `INFO stats` and `OBJECT IDLETIME` of redis-server 7.0.15 say after the same requests.
    #[test]
    fn lookups_count_and_touch_as_in_redis() {
        for (request, expected) in [
            ("GET k", (1, 0, true)),
            ("GET missing", (0, 1, false)),
            ("MGET k missing k", (2, 1, true)),
            ("STRLEN k", (1, 0, true)),
            ("GETRANGE k 0 1", (1, 0, true)),
            ("LCS k other", (2, 0, true)),
            ("EXISTS k missing", (1, 1, false)),
            ("TYPE k", (1, 0, false)),
            ("TTL k", (1, 0, false)),
            ("PEXPIRETIME missing", (0, 1, false)),
            ("OBJECT ENCODING k", (1, 0, false)),
            ("TOUCH k missing", (1, 1, true)),
            ("SET k v", (0, 0, true)),
            ("SET k v NX", (0, 0, true)),
            ("SET k v GET", (1, 0, true)),
            ("SET missing v GET", (0, 1, false)),
            ("GETSET k v", (1, 0, true)),
            ("GETEX k", (1, 0, true)),
            ("GETEX k EX 10", (1, 0, true)),
            ("GETDEL k", (1, 0, false)),
            ("INCR k", (0, 0, true)),
            ("APPEND k v", (0, 0, true)),
            ("SETRANGE k 0 v", (0, 0, true)),
            ("EXPIRE k 10", (0, 0, true)),
            ("PERSIST k", (0, 0, true)),
            ("DEL k", (0, 0, false)),
            ("MSETNX k 1 new 2", (0, 0, true)),
            ("RENAME other new", (0, 0, false)),
            ("COPY k new", (1, 0, true)),
            ("KEYS *", (0, 0, false)),
            ("RANDOMKEY", (0, 0, false)),
            ("SCAN 0", (0, 0, false)),
        ] {
            let words: Vec<&str> = request.split(' ').collect();
            assert_eq!(looked(&words), expected, "{request}");
        }
    }

    /// The events of a request, `db:event:key`, and how many changes it counts as.
    fn events(words: &str, shards: usize) -> (Vec<String>, u64) {
        let mut cores = Cores::new(shards);
        for setup in ["SET k 5 EX 1000", "SET old v PX 10", "SET text v"] {
            cores.run(&setup.split(' ').collect::<Vec<_>>());
        }
        cores.later(20);
        let dirty = |cores: &Cores| cores.cores.iter().map(|core| core.shard.effects.dirty()).sum::<u64>();
        cores.cores.iter_mut().for_each(|core| core.shard.effects.listen(true));
        let before = dirty(&cores);
        cores.run(&words.split(' ').collect::<Vec<_>>());
        let count = dirty(&cores) - before;
        let heard = cores.cores.iter_mut().flat_map(|core| core.shard.effects.drain().collect::<Vec<_>>());
        let shown = |change: Change| {
            format!("{}:{}:{}", change.db, change.event.name(), String::from_utf8_lossy(&change.key))
        };
        let of_keys = |change: &Change| change.event != Event::NewKey;
        let mut shown: Vec<String> = heard.filter(of_keys).map(shown).collect();
        if shards > 1 {
            shown.sort();
        }
        (shown, count)
    }

    #[test]
    fn changes_are_declared_as_in_redis() {
        for (request, expected, changes) in [
            ("SET k v", "0:set:k", 1),
            ("SET k v EX 10", "0:set:k 0:expire:k", 1),
            ("SET k v NX", "", 0),
            ("SETEX k 10 v", "0:set:k 0:expire:k", 1),
            ("GETEX k EX 10", "0:expire:k", 1),
            ("GETEX k PERSIST", "0:persist:k", 1),
            ("GETEX k EXAT 1", "0:del:k", 1),
            ("GETEX k", "", 0),
            ("GETDEL k", "0:del:k", 1),
            ("GETDEL missing", "", 0),
            ("INCRBY k 5", "0:incrby:k", 1),
            ("INCRBYFLOAT k 5", "0:incrbyfloat:k", 1),
            ("INCR text", "", 0),
            ("APPEND k v", "0:append:k", 1),
            ("SETRANGE k 1 v", "0:setrange:k", 1),
            ("MSET k 1 text 2", "0:set:k 0:set:text", 2),
            ("DEL k missing text", "0:del:k 0:del:text", 2),
            ("EXPIRE k 10", "0:expire:k", 1),
            ("EXPIRE k -1", "0:del:k", 1),
            ("EXPIRE k 10 NX", "", 0),
            ("PERSIST k", "0:persist:k", 1),
            ("PERSIST text", "", 0),
            ("RENAME k new", "0:rename_from:k 0:rename_to:new", 1),
            ("RENAME k k", "", 0),
            ("RENAMENX k text", "", 0),
            ("COPY k new", "0:copy_to:new", 1),
            ("COPY k new DB 3", "3:copy_to:new", 1),
            ("MOVE k 2", "0:move_from:k 2:move_to:k", 1),
            ("MSETNX a 1 b 2", "0:set:a 0:set:b", 2),
            ("MSETNX k 1 b 2", "", 0),
            ("MSETEX 2 a 1 b 2 PX 9", "0:set:a 0:expire:a 0:set:b 0:expire:b", 2),
            ("DELIFEQ text v", "0:del:text", 1),
        ] {
            let expected: Vec<String> = expected.split_whitespace().map(str::to_owned).collect();
            assert_eq!(events(request, 1), (expected.clone(), changes), "{request}");
            let mut sorted = expected;
            sorted.sort();
            assert_eq!(events(request, 7), (sorted, changes), "{request} on several shards");
        }
        assert_eq!(events("GET old", 1).0, ["0:expired:old"]);
        assert_eq!(events("DEL old", 1).0, ["0:expired:old"]);
    }
}
