//! CLIENT LIST, KILL, PAUSE: clients of all cores, seen and closed from any of them.

use crate::support::{Client, Server, Value, on_each_shard_count};

/// More than there are cores, so that every core has some.
const MANY: usize = 12;

fn id_of(client: &mut Client) -> String {
    client.command(&["CLIENT", "ID"]).as_integer().expect("a number").to_string()
}

fn many(server: &Server) -> (Vec<Client>, Vec<String>) {
    let mut clients: Vec<Client> = (0..MANY).map(|_| server.connect()).collect();
    let ids = clients.iter_mut().map(id_of).collect();
    (clients, ids)
}

fn lines(reply: &Value) -> Vec<String> {
    reply.to_text().lines().map(str::to_owned).collect()
}

fn field(line: &str, name: &str) -> String {
    let found = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
}

#[test]
fn a_list_is_sorted_by_id_and_has_the_clients_of_every_core() {
    on_each_shard_count(|server| {
        let (mut clients, ids) = many(server);
        let all = lines(&clients[3].command(&["CLIENT", "LIST"]));
        let listed: Vec<u64> = all.iter().map(|line| field(line, "id").parse().expect("a number")).collect();
        assert!(listed.is_sorted());
        assert!(ids.iter().all(|id| all.iter().any(|line| field(line, "id") == *id)));
        assert_eq!(
            clients[0].command(&["CLIENT", "LIST", "TYPE", "normal"]).to_text().lines().count(),
            all.len()
        );

        let some = clients[5].command(&["CLIENT", "LIST", "ID", &ids[7], &ids[2], "0", &ids[7]]);
        let some: Vec<String> = lines(&some).iter().map(|line| field(line, "id")).collect();
        assert_eq!(some, [&*ids[7], &*ids[2], &*ids[7]], "in the order asked for");
    });
}

#[test]
fn a_line_tells_what_the_client_has_said_of_itself() {
    on_each_shard_count(|server| {
        let mut client = server.connect_resp3();
        for request in [
            &["CLIENT", "SETNAME", "me"][..],
            &["CLIENT", "SETINFO", "LIB-NAME", "lib"],
            &["CLIENT", "SETINFO", "LIB-VER", "1.2"],
            &["CLIENT", "NO-EVICT", "on"],
            &["CLIENT", "NO-TOUCH", "on"],
            &["SELECT", "5"],
        ] {
            assert_eq!(client.command(request).to_string(), "+OK", "{request:?}");
        }
        let info = client.command(&["CLIENT", "INFO"]).to_text();
        let info = info.strip_suffix('\n').expect("a whole line");
        let expected = [
            ("name", "me"),
            ("flags", "eT"),
            ("db", "5"),
            ("qbuf", "26"),
            ("argv-mem", "10"),
            ("cmd", "client|info"),
            ("user", "default"),
            ("resp", "3"),
            ("lib-name", "lib"),
            ("lib-ver", "1.2"),
        ];
        for (name, value) in expected {
            assert_eq!(field(info, name), value, "{name} of {info}");
        }
        assert_eq!(field(info, "laddr"), server.address().to_string());

        assert_eq!(client.command(&["RESET"]).to_string(), "+RESET");
        let info = client.command(&["CLIENT", "INFO"]).to_text();
        let expected = [("name", ""), ("flags", "N"), ("db", "0"), ("resp", "2"), ("lib-name", "lib")];
        for (name, value) in expected {
            assert_eq!(field(&info, name), value, "{name} after RESET");
        }
    });
}

#[test]
fn a_client_of_a_unix_socket_has_its_path_as_address() {
    let server = Server::pinion(2);
    let info = server.connect_unix().command(&["CLIENT", "INFO"]).to_text();
    assert_eq!((field(&info, "addr"), field(&info, "flags")), (field(&info, "laddr"), "U".to_owned()));
    assert!(field(&info, "addr").ends_with("socket:0"), "{info}");
}

#[test]
fn kill_reaches_every_core_and_oneself_last() {
    on_each_shard_count(|server| {
        let (mut clients, ids) = many(server);
        let mut killer = server.connect();
        for id in &ids[1..4] {
            assert_eq!(killer.command(&["CLIENT", "KILL", "ID", id]), Value::Integer(1));
        }
        for client in &mut clients[1..4] {
            assert_eq!(client.receive_until_closed(), b"");
        }

        let all = lines(&killer.command(&["CLIENT", "LIST"]));
        let address = |id: &String| {
            let line = all.iter().find(|line| field(line, "id") == *id).expect("connected");
            field(line, "addr")
        };
        assert_eq!(killer.command(&["CLIENT", "KILL", &address(&ids[4])]).to_string(), "+OK");
        assert_eq!(clients[4].receive_until_closed(), b"");
        assert_eq!(killer.command(&["CLIENT", "KILL", "ADDR", &address(&ids[5])]), Value::Integer(1));
        assert_eq!(clients[5].receive_until_closed(), b"");

        // By the old form also oneself; the reply comes first, and what was sent after it is not run.
        let own = address(&ids[6]);
        clients[6].send(&["CLIENT", "KILL", &own]);
        clients[6].send(&["PING"]);
        assert_eq!(clients[6].receive_until_closed(), b"+OK\r\n");

        let left = killer.command(&["CLIENT", "LIST"]).to_text().lines().count();
        let laddr = server.address().to_string();
        let killed = killer.command(&["CLIENT", "KILL", "LADDR", &laddr, "USER", "default", "SKIPME", "no"]);
        assert_eq!(killed, Value::Integer(left as i64));
        assert_eq!(killer.receive_until_closed(), b"");
        for client in &mut clients[7..] {
            assert_eq!(client.receive_until_closed(), b"");
        }
    });
}

#[test]
fn a_pause_of_writes_holds_writes_on_every_core_until_it_is_ended() {
    on_each_shard_count(|server| {
        let (mut clients, _) = many(server);
        let mut boss = server.connect();
        assert_eq!(boss.command(&["CLIENT", "PAUSE", "600000", "WRITE"]).to_string(), "+OK");
        let keys: Vec<String> = (0..MANY).map(|n| format!("key:{n}")).collect();
        for (client, key) in clients.iter_mut().zip(&keys) {
            client.send(&["SET", key, "v"]);
            client.send(&["GET", key]);
        }
        // A client of each core reads: the writes of clients that sent before it have been looked at.
        let mut readers: Vec<Client> = (0..MANY).map(|_| server.connect()).collect();
        for (reader, key) in readers.iter_mut().zip(&keys) {
            assert_eq!(reader.command(&["GET", key]), Value::NullBulk);
        }
        assert_eq!(boss.command(&["CLIENT", "UNPAUSE"]).to_string(), "+OK");
        for client in &mut clients {
            assert_eq!(client.receive().to_string(), "+OK");
            assert_eq!(client.receive().to_string(), "\"v\"");
        }
    });
}

#[test]
fn a_pause_of_everything_ends_by_itself() {
    on_each_shard_count(|server| {
        let (mut clients, _) = many(server);
        assert_eq!(clients[0].command(&["CLIENT", "PAUSE", "50"]).to_string(), "+OK");
        for client in &mut clients {
            client.send(&["PING"]);
        }
        for client in &mut clients {
            assert_eq!(client.receive().to_string(), "+PONG");
        }
    });
}

/// Redis forgets what a held client asked for when that hangs up: it has not begun to be served.
#[test]
fn requests_of_a_client_that_hangs_up_during_a_pause_are_not_run() {
    on_each_shard_count(|server| {
        let mut boss = server.connect();
        assert_eq!(boss.command(&["CLIENT", "PAUSE", "600000", "WRITE"]).to_string(), "+OK");
        let mut held = server.connect();
        held.send(&["SET", "unwanted", "v"]);
        held.finish_sending();
        assert_eq!(held.receive_until_closed(), b"");
        assert_eq!(boss.command(&["CLIENT", "UNPAUSE"]).to_string(), "+OK");
        assert_eq!(boss.command(&["GET", "unwanted"]), Value::NullBulk);
    });
}

#[test]
fn a_client_that_has_said_everything_still_gets_its_replies() {
    on_each_shard_count(|server| {
        let mut client = server.connect();
        client.send_raw(b"SET half closed\r\nGET half\r\nMGET half other half\r\nPING\r\nGET unfinish");
        client.finish_sending();
        let expected = b"+OK\r\n$6\r\nclosed\r\n*3\r\n$6\r\nclosed\r\n$-1\r\n$6\r\nclosed\r\n+PONG\r\n";
        assert_eq!(
            String::from_utf8_lossy(&client.receive_until_closed()),
            String::from_utf8_lossy(expected)
        );
    });
}
