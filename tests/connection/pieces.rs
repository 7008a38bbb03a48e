//! Requests that arrive in pieces. Once a core read the requests of all its connections ahead into the same
//! buffers and forgot whose half a request was there: pipelines cut in the middle of one got syntax errors.

use crate::support::{Client, encode, on_each_shard_count};

/// A pipeline, and the replies to it.
fn pipeline(client: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for round in 0..40 {
        let key = format!("key:{client}:{round}");
        requests.extend(encode(&["MSET", &key, &key, "{a}", "1", "{b}", "2"]));
        replies.extend_from_slice(b"+OK\r\n");
        requests.extend(encode(&["GET", &key]));
        replies.extend(format!("${}\r\n{key}\r\n", key.len()).into_bytes());
    }
    (requests, replies)
}

#[test]
fn pipelines_may_be_cut_anywhere() {
    on_each_shard_count(|server| {
        for piece in [1, 7, 50, 333] {
            let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
            let pipelines: Vec<_> = (0..clients.len()).map(pipeline).collect();
            let longest = pipelines.iter().map(|(requests, _)| requests.len()).max().expect("three");
            for at in (0..longest).step_by(piece) {
                for (client, (requests, _)) in clients.iter_mut().zip(&pipelines) {
                    let end = requests.len().min(at + piece);
                    client.send_raw(&requests[at.min(end)..end]);
                }
            }
            for (client, (_, replies)) in clients.iter_mut().zip(&pipelines) {
                let mut received = Vec::new();
                while received.len() < replies.len() {
                    received.extend(client.receive_raw());
                }
                assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(replies));
            }
        }
    });
}
