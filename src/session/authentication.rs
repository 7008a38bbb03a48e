//! Who the client is. There is one user, `default`; `requirepass` is its password.

use super::{CoreState, Session};
use crate::client::DEFAULT_USER;
use crate::config::parameter::REQUIREPASS;
use crate::shard::CommandError;
use sha2::{Digest, Sha256};

const WRONG: CommandError =
    CommandError::Text("WRONGPASS invalid username-password pair or user is disabled.");

impl Session<'_> {
    /// # Errors
    /// WRONGPASS, the same whether the user or the password is wrong. A client that was authenticated
    /// before stays so.
    pub fn authenticate(&mut self, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
        let known = user == DEFAULT_USER.as_bytes();
        let right = match self.core.config.get(REQUIREPASS) {
            None => true,
            Some(expected) => same_secret(expected, password),
        };
        if !(known && right) {
            return Err(WRONG);
        }
        self.client().authenticated = true;
        Ok(())
    }
}

impl CoreState {
    /// SHA-256 of the default user's password in hexadecimal, as the ACL commands show it.
    pub fn password_digest(&self) -> Option<String> {
        let password = self.config.get(REQUIREPASS)?;
        Some(Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Compares digests, and all of them: the time tells neither the length nor where the first difference is.
fn same_secret(expected: &[u8], given: &[u8]) -> bool {
    let (expected, given) = (Sha256::digest(expected), Sha256::digest(given));
    expected.iter().zip(&given).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_equal_or_not() {
        assert!(same_secret(b"", b"") && same_secret(b"sekret", b"sekret"));
        for other in [&b""[..], b"sekre", b"sekreT", b"sekret "] {
            assert!(!same_secret(b"sekret", other));
        }
    }
}
