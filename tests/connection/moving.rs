//! Connections that are moved from core to core all the time, while their clients do whatever clients do: nobody notices.

use crate::support::{Client, Program, Server, Value, encode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SHARDS: [usize; 2] = [2, 4];
/// Moves that have happened, not only been asked for, before a test is content.
const MOVES: i64 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

/// What is checked is the moving that is asked for here, not what the machine's load makes of it.
const FLAGS: [&str; 2] = ["--connection-balancing", "no"];

fn start(shards: usize, more: &[&str]) -> Server {
    println!("with {shards} shard(s)");
    Server::start(Program::Pinion { shards }, &[&FLAGS[..], more].concat())
}

fn id_of(client: &mut Client) -> String {
    client.command(&["CLIENT", "ID"]).as_integer().expect("a number").to_string()
}

fn moves_so_far(client: &mut Client) -> i64 {
    figure(client, "pinion_connections_moved")
}

fn figure(client: &mut Client, name: &str) -> i64 {
    let text = client.command(&["INFO"]).to_text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name}")).trim().parse().expect("a number")
}

/// Asks for moves until enough have happened; `between` is called after each.
fn move_about(asker: &mut Client, ids: &[String], shards: usize, mut between: impl FnMut(&mut Client)) {
    let deadline = Instant::now() + PATIENCE;
    let before = moves_so_far(asker);
    for round in 0usize.. {
        let id = &ids[round % ids.len()];
        let core = ((round + round / ids.len()) % shards).to_string();
        let reply = asker.command(&["DEBUG", "PINION-MOVE-CLIENT", id, &core]);
        assert_eq!(reply.to_string(), "+OK", "{id} to {core}");
        between(asker);
        if round % 16 == 15 && moves_so_far(asker) - before >= MOVES {
            return;
        }
        assert!(Instant::now() < deadline, "{} moves", moves_so_far(asker) - before);
    }
}

/// Rounds of one kind of client; the number of the round makes its keys and values.
type Round = fn(&mut Client, &str, usize);

fn pipelines(client: &mut Client, me: &str, round: usize) {
    let counter = format!("{me}:counter");
    let mut requests: Vec<Vec<String>> = Vec::new();
    for step in 0..20 {
        requests.push(vec!["INCR".into(), counter.clone()]);
        requests.push(vec!["SET".into(), format!("{me}:{step}"), format!("{round}")]);
        requests.push(vec!["GET".into(), format!("{me}:{step}")]);
        requests.push(vec!["MGET".into(), format!("{me}:{step}"), counter.clone()]);
    }
    let replies = client.pipeline(&requests);
    for (step, replies) in replies.chunks(4).enumerate() {
        let count = (round * 20 + step + 1).to_string();
        assert_eq!(replies[0].to_string(), format!(":{count}"));
        assert_eq!(replies[1].to_string(), "+OK");
        assert_eq!(replies[2].to_text(), round.to_string());
        let both = replies[3].as_items().expect("two");
        assert_eq!((both[0].to_text(), both[1].to_text()), (round.to_string(), count));
    }
}

fn transactions(client: &mut Client, me: &str, round: usize) {
    let (a, b) = (format!("{me}:a"), format!("{me}:b"));
    let say = |client: &mut Client, argv: &[&str], expected: &str| {
        assert_eq!(client.command(argv).to_string(), expected, "{argv:?} in round {round}");
    };
    say(client, &["WATCH", &a, &b], "+OK");
    say(client, &["MULTI"], "+OK");
    say(client, &["INCR", &a], "+QUEUED");
    say(client, &["INCR", &b], "+QUEUED");
    if round % 3 == 2 {
        say(client, &["DISCARD"], "+OK");
        return;
    }
    let expected = (round / 3 * 2 + round % 3 + 1) as i64;
    let replies = client.command(&["EXEC"]);
    let items = replies.as_items().unwrap_or_else(|| panic!("{replies}"));
    assert!(items.iter().all(|item| item.as_integer() == Some(expected)), "{replies} and not {expected}");
    // What was watched before is not watched any more.
    say(client, &["SET", &format!("{me}:c"), "1"], "+OK");
}

/// A list with another client at its other end.
fn waits(client: &mut Client, me: &str, round: usize) {
    let popped = client.command(&["BLPOP", &format!("{me}:none"), &format!("{me}:list"), "0"]);
    let items = popped.as_items().unwrap_or_else(|| panic!("{popped}"));
    assert_eq!(items[1].to_text(), round.to_string());
}

fn feeds(client: &mut Client, me: &str, round: usize) {
    if round.is_multiple_of(4) {
        thread::sleep(Duration::from_millis(1)); // lets the other one block
    }
    let length = client.command(&["RPUSH", &format!("{me}:list"), &round.to_string()]);
    assert!(length.as_integer().is_some_and(|length| length > 0), "{length}");
}

/// What a client has said of itself stays true.
fn states(client: &mut Client, me: &str, round: usize) {
    if round == 0 {
        assert!(client.command(&["HELLO", "3", "SETNAME", me]).get("proto").is_some());
        for request in [
            &["SELECT", "3"][..],
            &["CLIENT", "SETINFO", "LIB-NAME", "lib"],
            &["CLIENT", "NO-TOUCH", "on"],
            &["CLIENT", "NO-EVICT", "on"],
            &["HSET", me, "field", "value"],
        ] {
            assert!(!client.command(request).is_error(), "{request:?}");
        }
    }
    let info = client.command(&["CLIENT", "INFO"]).to_text();
    for expected in [&format!(" name={me} ")[..], "eT db=3 ", " resp=3 ", " lib-name=lib "] {
        assert!(info.contains(expected), "{expected} in {info}");
    }
    assert!(matches!(client.command(&["HGETALL", me]), Value::Map(_)));
    assert_eq!(client.command(&["CLIENT", "GETNAME"]).to_text(), me);
}

/// Requests in pieces, and large ones.
fn pieces(client: &mut Client, me: &str, round: usize) {
    let value = format!("{round:08}").repeat(if round.is_multiple_of(10) { 40_000 } else { 10 });
    let request = encode(&["SET", me, &value]);
    let (first, second) = request.split_at(1 + round * 13 % (request.len() - 1));
    client.send_raw(first);
    if round.is_multiple_of(5) {
        thread::sleep(Duration::from_millis(1)); // half a request is there for a while
    }
    client.send_raw(second);
    assert_eq!(client.receive().to_string(), "+OK");
    assert_eq!(client.command(&["GET", me]).to_text(), value);
}

fn silences(client: &mut Client, me: &str, round: usize) {
    client.send(&["CLIENT", "REPLY", if round.is_multiple_of(2) { "OFF" } else { "SKIP" }]);
    client.send(&["SET", me, &round.to_string()]);
    if round.is_multiple_of(2) {
        client.send(&["CLIENT", "REPLY", "ON"]);
        assert_eq!(client.receive().to_string(), "+OK");
    }
    assert_eq!(client.command(&["GET", me]).to_text(), round.to_string());
}

const KINDS: [(&str, Round); 7] = [
    ("pipelines", pipelines),
    ("transactions", transactions),
    ("waits", waits),
    ("feeds", feeds),
    ("states", states),
    ("pieces", pieces),
    ("silences", silences),
];

#[test]
fn clients_do_not_notice_that_they_are_moved() {
    for shards in SHARDS {
        let server = start(shards, &[]);
        let stop = AtomicBool::new(false);
        let mut asker = server.connect();
        let mut clients: Vec<(usize, Client)> = Vec::new();
        for pair in 0..2 {
            for (kind, _) in KINDS.iter().enumerate() {
                let client = if pair == 0 { server.connect() } else { server.connect_unix() };
                clients.push((kind, client));
            }
        }
        let ids: Vec<String> = clients.iter_mut().map(|(_, client)| id_of(client)).collect();
        let all = ids.len() as i64 + 1;
        thread::scope(|scope| {
            for (place, ((kind, mut client), id)) in clients.into_iter().zip(&ids).enumerate() {
                let (stop, pair) = (&stop, place / KINDS.len());
                let (name, run) = KINDS[kind];
                scope.spawn(move || {
                    // The two ends of a list have it in common.
                    let me = if matches!(name, "waits" | "feeds") {
                        format!("list:{pair}")
                    } else {
                        format!("{name}:{pair}")
                    };
                    let mut round = 0;
                    while !stop.load(Ordering::Relaxed) {
                        run(&mut client, &me, round);
                        round += 1;
                    }
                    match name {
                        // The other one waits for the next.
                        "feeds" => {
                            for more in round..round + 2 {
                                run(&mut client, &me, more);
                            }
                        }
                        "waits" => {}
                        _ => assert_eq!(id_of(&mut client), *id),
                    }
                    // It stays connected until everything has been counted.
                    client
                });
            }
            // A failure in here must not leave the others running.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                move_about(&mut asker, &ids, shards, |asker| {
                    let list = asker.command(&["CLIENT", "LIST"]).to_text();
                    for id in &ids {
                        let mark = format!("id={id} ");
                        let lines = list.lines().filter(|line| line.starts_with(&mark)).count();
                        assert_eq!(lines, 1, "client {id} in\n{list}");
                    }
                    assert_eq!(figure(asker, "connected_clients"), all);
                });
            }));
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

/// CLIENT KILL right behind the move, in one pipeline; CLIENT LIST and UNBLOCK inside EXEC count everybody as well.
#[test]
fn nobody_is_missed_on_the_way() {
    for shards in SHARDS {
        let server = start(shards, &[]);
        let mut asker = server.connect();
        for round in 0..150 {
            let mut victim = server.connect();
            let id = id_of(&mut victim);
            let to = |core: usize| -> Vec<String> {
                let words = ["DEBUG", "PINION-MOVE-CLIENT", &id, &((core % shards).to_string())];
                words.map(str::to_owned).to_vec()
            };
            let words =
                |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
            let replies = asker.pipeline(&[
                to(round),
                to(round + 1),
                words(&["PING"]),
                words(&["CLIENT", "LIST", "ID", &id]),
                to(round + 2),
                words(&["MULTI"]),
                words(&["CLIENT", "LIST", "ID", &id]),
                words(&["EXEC"]),
                to(round + 3),
                words(&["CLIENT", "KILL", "ID", &id]),
                words(&["CLIENT", "LIST", "ID", &id]),
            ]);
            let is_it = |value: &Value| value.to_text().starts_with(&format!("id={id} "));
            assert!(is_it(&replies[3]), "round {round}: {}", replies[3]);
            let exec = replies[7].as_items().expect("one reply");
            assert!(is_it(&exec[0]), "round {round}: {}", exec[0]);
            assert_eq!(replies[9].to_string(), ":1", "round {round}");
            assert_eq!(victim.receive_until_closed(), b"", "round {round}");
        }
        assert_eq!(figure(&mut asker, "connected_clients"), 1);
        // A client that waits stays where it is until it is let go.
        let mut waiting = server.connect();
        let id = id_of(&mut waiting);
        for round in 0..20 {
            waiting.send(&["BLPOP", "nothing", "0"]);
            let core = (round % shards).to_string();
            let reply = asker.command(&["DEBUG", "PINION-MOVE-CLIENT", &id, &core]);
            assert_eq!(reply.to_string(), "+OK");
            let deadline = Instant::now() + PATIENCE;
            while asker.command(&["CLIENT", "UNBLOCK", &id, "ERROR"]).as_integer() != Some(1) {
                assert!(Instant::now() < deadline, "it does not block");
            }
            assert!(waiting.receive().to_string().starts_with("-UNBLOCKED"));
        }
        assert!(asker.command(&["DEBUG", "PINION-MOVE-CLIENT", "999999", "0"]).is_error());
        let far = shards.to_string();
        assert!(asker.command(&["DEBUG", "PINION-MOVE-CLIENT", &id, &far]).is_error());
    }
}

/// SHUTDOWN while clients write and are under way: what was acknowledged is there afterwards, and the server ends.
#[test]
fn a_shutdown_finds_them_wherever_they_are() {
    for shards in SHARDS {
        for round in 0..4 {
            let mut server = start(shards, &["--appendonly", "yes", "--appendfsync", "everysec"]);
            let mut asker = server.connect();
            let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
            let ids: Vec<String> = clients.iter_mut().map(id_of).collect();
            let acknowledged: Vec<i64> = thread::scope(|scope| {
                let writers: Vec<_> = clients
                    .into_iter()
                    .enumerate()
                    .map(|(own, mut client)| {
                        scope.spawn(move || {
                            let key = format!("counter:{own}");
                            let mut count = 0;
                            loop {
                                let sent = client.try_send_raw(&encode(&["INCR", &key]));
                                match sent.and_then(|()| client.try_receive()) {
                                    Ok(value) if value.as_integer() == Some(count + 1) => count += 1,
                                    Ok(value) => assert!(value.is_error(), "{value} after {count}"),
                                    Err(_) => return count,
                                }
                            }
                        })
                    })
                    .collect();
                for step in 0..100 + round * 7 {
                    let core = ((step / 8 + step) % shards).to_string();
                    let reply = asker.command(&["DEBUG", "PINION-MOVE-CLIENT", &ids[step % 8], &core]);
                    assert_eq!(reply.to_string(), "+OK");
                }
                let mut last: Vec<u8> = Vec::new();
                for (step, id) in ids.iter().enumerate() {
                    let core = (step % shards).to_string();
                    last.extend(encode(&["DEBUG", "PINION-MOVE-CLIENT", id, &core]));
                }
                last.extend(encode(&["SHUTDOWN", "NOSAVE"]));
                asker.send_raw(&last);
                writers.into_iter().map(|writer| writer.join().expect("a content writer")).collect()
            });
            assert!(server.wait_for_exit(PATIENCE).success());
            server.restart();
            let mut client = server.connect();
            for (own, count) in acknowledged.iter().enumerate() {
                let found = client.command(&["GET", &format!("counter:{own}")]);
                let found: i64 = if found.is_null() { 0 } else { found.to_text().parse().expect("a number") };
                assert!((*count..=count + 1).contains(&found), "{found} of {count}");
            }
        }
    }
}
