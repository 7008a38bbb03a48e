//! MONITOR.

use crate::support::{Client, Value, on_each_shard_count};

/// The next line without its time and address: `[db] "arguments"…`.
pub fn shown(monitor: &mut Client) -> String {
    let Value::Simple(line) = monitor.receive() else { panic!("MONITOR sends simple strings") };
    let line = String::from_utf8(line).expect("printable");
    let (time, rest) = line.split_once(" [").expect("a time, then the client");
    assert!(time.split_once('.').is_some_and(|(_, micros)| micros.len() == 6), "{time}");
    let (client, arguments) = rest.split_once("] ").expect("the client, then the arguments");
    let (db, _address) = client.split_once(' ').expect("the database and the address");
    format!("[{db}] {arguments}")
}

#[test]
fn commands_of_all_cores_in_the_order_their_clients_know() {
    on_each_shard_count(|server| {
        let mut monitors: Vec<Client> = (0..5).map(|_| server.connect()).collect();
        for monitor in &mut monitors {
            assert_eq!(monitor.command(&["MONITOR"]).to_string(), "+OK");
        }
        let mut clients: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        let rounds = 0..50;
        for round in rounds.clone() {
            for (client, number) in clients.iter_mut().zip(0..) {
                client.command(&["SET", &format!("key:{number}"), &format!("{round}")]);
            }
        }
        for monitor in &mut monitors {
            for round in rounds.clone() {
                for number in 0..clients.len() {
                    assert_eq!(shown(monitor), format!("[0] \"SET\" \"key:{number}\" \"{round}\""));
                }
            }
        }
    });
}

#[test]
fn what_is_shown_and_how() {
    on_each_shard_count(|server| {
        let mut monitor = server.connect();
        assert_eq!(monitor.command(&["MONITOR"]).to_string(), "+OK");
        let mut client = server.connect();
        // Administration, unknown commands and wrong numbers of arguments are not shown.
        client.command(&["CLIENT", "LIST"]);
        client.command(&["nosuch"]);
        client.command(&["GET"]);
        client.command(&["SELECT", "7"]);
        client.command(&[&b"eCho"[..], b"a\"b\\c\n\x00\xff"]);
        client.command(&["AUTH", "secret"]);
        client.command(&["AUTH", "default", "secret"]);
        client.command(&["HELLO", "2", "AUTH", "default", "secret", "SETNAME", "me"]);
        client.command(&["CLIENT", "REPLY", "wrong"]);
        let expected = [
            r#"[7] "SELECT" "7""#,
            r#"[7] "eCho" "a\"b\\c\n\x00\xff""#,
            r#"[7] "AUTH" "(redacted)""#,
            r#"[7] "AUTH" "(redacted)" "(redacted)""#,
            r#"[7] "HELLO" "2" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me""#,
            r#"[7] "CLIENT" "REPLY" "wrong""#,
        ];
        for line in expected {
            assert_eq!(shown(&mut monitor), line);
        }
        assert!(client.command(&["CLIENT", "LIST"]).to_text().contains(" flags=O "));
    });
}

#[test]
fn a_monitor_says_nothing_to_a_second_monitor_and_ends_with_reset() {
    on_each_shard_count(|server| {
        let mut monitor = server.connect();
        monitor.send(&["MONITOR"]);
        monitor.send(&["MONITOR"]);
        monitor.send(&["RESET"]);
        monitor.send(&["PING"]);
        assert_eq!(monitor.receive().to_string(), "+OK");
        assert_eq!(monitor.receive().to_string(), "+RESET");
        assert_eq!(monitor.receive().to_string(), "+PONG", "no longer shown to itself");
    });
}
