//! Which clients CLIENT KILL and CLIENT LIST are about.

use super::{Client, ClientClass, DEFAULT_USER};
use crate::base::UnixMillis;

/// All that is given has to match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientFilter {
    pub id: Option<u64>,
    pub class: Option<ClientClass>,
    pub address: Option<Vec<u8>>,
    pub local_address: Option<Vec<u8>>,
    pub user: Option<Vec<u8>>,
    /// At least so many seconds old.
    pub age_min_s: Option<u64>,
    /// Everybody but this client.
    pub except: Option<u64>,
}

impl ClientFilter {
    pub fn matches(&self, client: &Client, now: UnixMillis) -> bool {
        let age_s = (now.0 / 1000).saturating_sub(client.created_at.0 / 1000);
        let same =
            |wanted: &Option<Vec<u8>>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is.as_bytes());
        self.id.is_none_or(|id| id == client.id)
            && self.class.is_none_or(|class| class == client.class())
            && same(&self.address, &client.address)
            && same(&self.local_address, &client.local_address)
            && same(&self.user, DEFAULT_USER)
            && self.age_min_s.is_none_or(|least| age_s >= least)
            && self.except != Some(client.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_excludes_on_its_own() {
        let mut client = Client::new(3, UnixMillis(10_000));
        client.address = "1.2.3.4:5".into();
        client.local_address = "[::1]:6379".into();
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let matching = ClientFilter {
            id: Some(3),
            class: Some(ClientClass::Normal),
            address: text("1.2.3.4:5"),
            local_address: text("[::1]:6379"),
            user: text("default"),
            age_min_s: Some(5),
            except: Some(4),
        };
        let now = UnixMillis(15_000);
        assert!(matching.matches(&client, now));
        assert!(ClientFilter::default().matches(&client, now), "no condition: everybody");
        let others = [
            ClientFilter { id: Some(4), ..matching.clone() },
            ClientFilter { class: Some(ClientClass::PubSub), ..matching.clone() },
            ClientFilter { address: text("1.2.3.4:6"), ..matching.clone() },
            ClientFilter { local_address: text("1.2.3.4:5"), ..matching.clone() },
            ClientFilter { user: text("Default"), ..matching.clone() },
            ClientFilter { age_min_s: Some(6), ..matching.clone() },
            ClientFilter { except: Some(3), ..matching },
        ];
        for other in others {
            assert!(!other.matches(&client, now), "{other:?}");
        }
    }
}
