//! Who may do what.

use crate::config::declaration::{Declaration, LONG_MAX};
use crate::config::value::Names;

const PROTECTED_ACTION: Names = &[("no", 0), ("yes", 1), ("local", 2)];
const CHANNELS: Names = &[("allchannels", 1), ("resetchannels", 0)];

pub(super) const PARAMETERS: &[Declaration] = &[
    Declaration::bool(
        "protected-mode",
        "yes",
        "Refuse other machines while there is neither a password nor a bind address.",
    )
    .implemented(),
    Declaration::optional("requirepass", "Password of the default user.").sensitive().implemented(),
    Declaration::text("aclfile", "", "File of users and their rights.").at_start(),
    Declaration::integer("acllog-max-len", "128", "Refused commands that ACL LOG remembers.")
        .bounds(0, LONG_MAX),
    Declaration::choice("acl-pubsub-default", CHANNELS, "resetchannels", "Channels open to a new user."),
    Declaration::choice(
        "enable-protected-configs",
        PROTECTED_ACTION,
        "no",
        "Who may change file names by CONFIG SET.",
    )
    .at_start()
    .implemented(),
    Declaration::choice("enable-debug-command", PROTECTED_ACTION, "no", "Who may send DEBUG.")
        .at_start()
        .implemented(),
    Declaration::choice("enable-module-command", PROTECTED_ACTION, "no", "Who may send MODULE.").at_start(),
];
