//! TLS.

use crate::config::declaration::Declaration;
use crate::config::value::Names;

const CLIENT_CERTIFICATES: Names = &[("no", 0), ("yes", 1), ("optional", 2)];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::integer("tls-port", "0", "TCP port that speaks TLS; 0 listens on none.").bounds(0, 65535),
    Declaration::integer("tls-session-cache-size", "20480", "Sessions that clients can resume."),
    Declaration::integer("tls-session-cache-timeout", "300", "Seconds for which a session can be resumed."),
    Declaration::bool("tls-cluster", "no", "Speak TLS on the cluster bus."),
    Declaration::bool("tls-replication", "no", "Speak TLS with the master."),
    Declaration::choice("tls-auth-clients", CLIENT_CERTIFICATES, "yes", "Ask clients for a certificate."),
    Declaration::bool("tls-prefer-server-ciphers", "no", "The server's order of ciphers wins."),
    Declaration::bool("tls-session-caching", "yes", "Let clients resume sessions."),
    Declaration::optional("tls-cert-file", "Certificate of the server."),
    Declaration::optional("tls-key-file", "Private key of the server."),
    Declaration::optional("tls-key-file-pass", "Password of that key.").sensitive(),
    Declaration::optional("tls-client-cert-file", "Certificate shown as a client."),
    Declaration::optional("tls-client-key-file", "Private key for that certificate."),
    Declaration::optional("tls-client-key-file-pass", "Password of that key.").sensitive(),
    Declaration::optional("tls-dh-params-file", "Diffie-Hellman parameters."),
    Declaration::optional("tls-ca-cert-file", "Authorities that peers' certificates must come from."),
    Declaration::optional("tls-ca-cert-dir", "Directory of such authorities."),
    Declaration::optional("tls-protocols", "Versions of TLS to speak."),
    Declaration::optional("tls-ciphers", "Ciphers up to TLS 1.2."),
    Declaration::optional("tls-ciphersuites", "Ciphers of TLS 1.3."),
];
