//! Redis Cluster.

use crate::config::declaration::{Declaration, LONG_MAX};
use crate::config::value::{Names, Refusal, Value};

const ENDPOINT: Names = &[("ip", 0), ("hostname", 1), ("unknown-endpoint", 2)];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::bool("cluster-enabled", "no", "Be a node of a cluster.").at_start(),
    Declaration::text("cluster-config-file", "nodes.conf", "File in which the node keeps its view.")
        .at_start(),
    Declaration::integer(
        "cluster-node-timeout",
        "15000",
        "Milliseconds of silence until a node may have failed.",
    )
    .bounds(0, LONG_MAX),
    Declaration::integer("cluster-port", "0", "Port of the bus; 0 is the client port plus 10000.")
        .bounds(0, 65535)
        .at_start(),
    Declaration::integer("cluster-replica-validity-factor", "10", "How old a replica may be to take over.")
        .alias("cluster-slave-validity-factor"),
    Declaration::integer(
        "cluster-migration-barrier",
        "1",
        "Replicas that a master keeps when one moves away.",
    ),
    Declaration::bool("cluster-allow-replica-migration", "yes", "Let replicas move to masters without any."),
    Declaration::bool("cluster-require-full-coverage", "yes", "Serve only while every slot is served."),
    Declaration::bool("cluster-replica-no-failover", "no", "Never take over automatically.")
        .alias("cluster-slave-no-failover"),
    Declaration::bool("cluster-allow-reads-when-down", "no", "Answer reads while the cluster is down."),
    Declaration::bool("cluster-allow-pubsubshard-when-down", "yes", "Deliver messages while it is down."),
    Declaration::memory("cluster-link-sendbuf-limit", "0", "Bytes queued for a node before its link is cut.")
        .unbounded(),
    Declaration::optional("cluster-announce-ip", "Address told to other nodes."),
    Declaration::integer("cluster-announce-port", "0", "Port told to clients.").bounds(0, 65535),
    Declaration::integer("cluster-announce-tls-port", "0", "TLS port told to clients.").bounds(0, 65535),
    Declaration::integer("cluster-announce-bus-port", "0", "Bus port told to other nodes.").bounds(0, 65535),
    Declaration::optional("cluster-announce-hostname", "Host name told to clients.").check(host_name),
    Declaration::choice("cluster-preferred-endpoint-type", ENDPOINT, "ip", "What redirections name."),
];

/// The length of a host name with its end, as the bus carries it.
const HOST_NAME_MAX: usize = 256;

fn host_name(value: Value) -> Result<Value, Refusal> {
    let Value::Text(Some(name)) = &value else { return Ok(value) };
    if name.len() >= HOST_NAME_MAX {
        return Err("Hostnames must be less than 256 characters".into());
    }
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if !name.iter().all(allowed) {
        return Err("Hostnames may only contain alphanumeric characters, hyphens or dots".into());
    }
    Ok(value)
}
