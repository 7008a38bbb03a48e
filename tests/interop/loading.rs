//! What clients see while the data are being loaded.

use crate::Files;
use crate::support::{Program, SHARD_COUNTS, Server};

#[test]
fn clients_are_told_and_the_rest_works() {
    let set = |key: usize| format!("*3\r\n$3\r\nSET\r\n$2\r\nk{key}\r\n$1\r\nv\r\n");
    let files = Files::one("appendonly.aof", (0..9).map(set).collect::<String>().as_bytes());
    for shards in SHARD_COUNTS {
        // Nothing is loaded until the delay is taken away.
        let flags = ["--appendonly", "yes", "--key-load-delay", "1000000000"];
        let program = Program::Pinion { shards };
        let server = Server::start_loading(program, &flags, |directory| files.write(directory));
        let mut client = server.connect();
        let loading = "-LOADING Redis is loading the dataset in memory";
        for command in [&["PING"][..], &["GET", "k1"], &["DBSIZE"], &["FLUSHALL"]] {
            assert_eq!(client.command(command).to_string(), loading);
        }
        let info = client.command(&["INFO", "persistence"]).to_text();
        for line in ["loading:1", "async_loading:0", "loading_total_bytes:252", "loading_loaded_perc:0.00"] {
            assert!(info.contains(line), "{line}: {info}");
        }
        assert!(info.contains("loading_start_time:1") && info.contains("loading_eta_seconds:"), "{info}");
        let refused = client.command(&["CONFIG", "SET", "appendonly", "no"]).to_string();
        assert!(refused.contains("is loading the dataset"), "{refused}");
        assert_eq!(client.command(&["CONFIG", "SET", "key-load-delay", "0"]).to_string(), "+OK");
        while client.command(&["DBSIZE"]).to_string() == loading {}
        assert_eq!(client.command(&["DBSIZE"]).to_string(), ":9");
        let info = client.command(&["INFO", "persistence"]).to_text();
        assert!(info.contains("loading:0") && !info.contains("loading_start_time"), "{info}");
        assert!(info.contains("rdb_changes_since_last_save:0"), "{info}");
    }
}

#[test]
fn a_server_that_loads_can_be_stopped() {
    let files = Files::one("appendonly.aof", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    let flags = ["--appendonly", "yes", "--key-load-delay", "1000000000"];
    let mut server = Server::start_loading(Program::Pinion { shards: 2 }, &flags, |directory| {
        files.write(directory);
    });
    server.connect().send(&["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_exit(std::time::Duration::from_secs(30)).success());
}
