//! What a command that runs on the client's own core may touch: the core, and the client itself.

mod acknowledge;
mod authentication;
mod core_state;
mod frozen;
mod listening;
mod moving;
mod partition;
mod settings;
mod shared;
mod waits;

pub use acknowledge::{Acknowledge, Positions, Waiting};
pub use core_state::{CoreState, Moment};
pub use frozen::{AtRest, Freezing, FrozenOrder, OnShard};
pub use listening::{ListeningChange, listen_options};
pub use moving::{Census, Departures, MoveOrder, Moving, WHOLE};
pub use partition::Partition;
pub use settings::Settings;
pub use shared::{PauseMode, Shared, ShutdownMode};
pub use waits::{Ask, Seat, Wait, Waits};

use crate::client::{Client, ClientKey};

pub struct Session<'a> {
    pub core: &'a mut CoreState,
    pub key: ClientKey,
}

impl Session<'_> {
    pub fn client(&mut self) -> &mut Client {
        self.core.clients.running(self.key)
    }
}
