//! `requirepass`, AUTH and HELLO AUTH.

use crate::support::{Program, Server};

const NO_AUTH: &str = "-NOAUTH Authentication required.";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

#[test]
fn a_password_is_asked_for_until_it_is_given() {
    let server = Server::start(Program::Pinion { shards: 2 }, &["--requirepass", "sekret"]);
    let mut client = server.connect();
    let mut say = |request: &[&str]| client.command(request).to_string();
    assert_eq!(say(&["PING"]), NO_AUTH);
    assert!(
        say(&["HELLO", "3"])
            .starts_with("-NOAUTH HELLO must be called with the client already authenticated")
    );
    assert!(say(&["NOSUCH"]).starts_with("-ERR unknown command"));
    for wrong in [&["AUTH", "x"][..], &["AUTH", "default", "x"], &["AUTH", "root", "sekret"]] {
        assert_eq!(say(wrong), WRONG);
    }
    assert_eq!(say(&["PING"]), NO_AUTH);
    assert_eq!(say(&["AUTH", "sekret"]), "+OK");
    assert_eq!(say(&["PING"]), "+PONG");
    assert_eq!(say(&["AUTH", "x"]), WRONG);
    assert_eq!(say(&["PING"]), "+PONG", "a wrong password takes nothing away");
    assert_eq!(say(&["RESET"]), "+RESET");
    assert_eq!(say(&["PING"]), NO_AUTH);
    assert_eq!(say(&["HELLO", "3", "AUTH", "default", "x"]), WRONG);
    assert!(say(&["HELLO", "3", "AUTH", "default", "sekret"]).starts_with("{\"server\": \"redis\""));
    let digest = "bb757689c39373a6cac9ef6ba55616c6249d7500ca4d443f1130c4766453a412";
    assert_eq!(say(&["ACL", "LIST"]), format!("[\"user default on #{digest} ~* &* +@all\"]"));
    assert!(
        say(&["ACL", "GETUSER", "default"]).contains(&format!("~[\"on\"], \"passwords\": [\"{digest}\"]"))
    );
}

#[test]
fn quit_needs_no_password_and_unauthenticated_requests_are_small() {
    let server = Server::start(Program::Pinion { shards: 1 }, &["--requirepass", "sekret"]);
    let mut client = server.connect();
    assert_eq!(client.command(&["QUIT"]).to_string(), "+OK");
    assert_eq!(client.receive_until_closed(), b"");
    let mut client = server.connect();
    client.send_raw(b"*11\r\n");
    assert_eq!(client.receive_until_closed(), b"-ERR Protocol error: unauthenticated multibulk length\r\n");
}
