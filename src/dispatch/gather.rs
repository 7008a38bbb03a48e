//! Partial replies become one.

use super::message::ReturnTo;
use crate::base::slots::Slots;
use crate::client::ClientKey;
use crate::command_table::{Command, Contribution, Merge};
use crate::resp::{ArgvBuf, Reply};
use crate::session::Census;

/// One request about the cores themselves (CLIENT LIST, INFO) that waits for their contributions.
pub struct Gather {
    pub client: ClientKey,
    pub slot: u64,
    pub command: Command,
    pub argv: ArgvBuf,
    pub started_ns: u64,
    pub missing: usize,
    /// Until then no client moves.
    pub _census: Option<Census>,
    /// By core.
    pub contributions: Vec<Option<Contribution>>,
}

/// The gatherings of one core.
#[derive(Default)]
pub struct Gathers(Slots<Gather>);

impl Gathers {
    pub fn insert(&mut self, gather: Gather) -> usize {
        self.0.insert(gather)
    }

    /// Takes in one part; gives the gathering out when nothing is missing any more.
    pub fn contribution(&mut self, to: ReturnTo, contribution: Contribution) -> Option<Gather> {
        let waiting = self.0.get_mut(to.gather);
        waiting.contributions[to.part] = Some(contribution);
        waiting.missing -= 1;
        if waiting.missing > 0 {
            return None;
        }
        Some(self.0.remove(to.gather))
    }
}

/// Writes the one reply that the partial replies make. An empty one says nothing; `order` names each element's part.
pub fn merge<R: AsRef<[u8]>>(merge: Merge, replies: &[R], order: &[u16], out: &mut Reply<'_>) {
    let given = || replies.iter().map(R::as_ref).filter(|reply| !reply.is_empty());
    if let Some(error) = given().find(|reply| reply[0] == b'-') {
        out.raw(error);
        return;
    }
    match merge {
        Merge::Sum => out.integer(given().map(integer_of).sum()),
        Merge::Same => out.raw(given().next().expect("somebody was asked")),
        Merge::Interleave => {
            let rest = |reply: &'_ R| if reply.as_ref().is_empty() { 0 } else { header_len(reply.as_ref()) };
            let mut rests: Vec<&[u8]> = replies.iter().map(|reply| &reply.as_ref()[rest(reply)..]).collect();
            out.array(order.len());
            for part in order {
                let rest = &mut rests[usize::from(*part)];
                let (element, tail) = rest.split_at(bulk_len(rest));
                out.raw(element);
                *rest = tail;
            }
        }
    }
}

fn header_len(reply: &[u8]) -> usize {
    memchr::memchr(b'\n', reply).expect("a reply is terminated") + 1
}

fn integer_of(reply: &[u8]) -> i64 {
    let digits = &reply[1..reply.len() - 2];
    crate::base::number::parse_i64(digits).expect("an integer reply")
}

/// The length of the bulk string or null at the beginning.
fn bulk_len(bytes: &[u8]) -> usize {
    let header = memchr::memchr(b'\n', bytes).expect("an element is terminated") + 1;
    match crate::base::number::parse_i64(&bytes[1..header - 2]) {
        Some(len) if len >= 0 => header + len as usize + 2,
        _ => header, // $-1 and _
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::Protocol;

    fn merged(how: Merge, replies: &[&[u8]], order: &[u16]) -> Vec<u8> {
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| reply.to_vec()).collect();
        let mut bytes = Vec::new();
        merge(how, &replies, order, &mut Reply::new(&mut bytes, Protocol::Resp2));
        bytes
    }

    #[test]
    fn values_come_back_in_the_order_of_the_keys() {
        let replies: &[&[u8]] = &[b"*2\r\n$1\r\na\r\n$-1\r\n", b"*2\r\n$2\r\n\r\n\r\n$0\r\n\r\n"];
        let all = merged(Merge::Interleave, replies, &[1, 0, 0, 1]);
        assert_eq!(all, b"*4\r\n$2\r\n\r\n\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n");
    }

    #[test]
    fn integers_are_added_and_an_error_wins() {
        assert_eq!(merged(Merge::Sum, &[b":2\r\n", b":40\r\n"], &[]), b":42\r\n");
        assert_eq!(merged(Merge::Sum, &[b":2\r\n", b"-ERR no\r\n"], &[]), b"-ERR no\r\n");
        assert_eq!(merged(Merge::Same, &[b"+OK\r\n", b"+OK\r\n"], &[]), b"+OK\r\n");
    }
}
