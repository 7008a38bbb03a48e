//! MONITOR: every command that runs, as a line.

use std::io::Write;

/// `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`, with what is not printable escaped.
pub fn monitor_line<'a>(
    unix_us: u64,
    db: usize,
    address: &str,
    arguments: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut line = Vec::with_capacity(64);
    let (seconds, micros) = (unix_us / 1_000_000, unix_us % 1_000_000);
    write!(line, "+{seconds}.{micros:06} [{db} {address}]").expect("a Vec takes every write");
    for argument in arguments {
        line.push(b' ');
        quote(argument, &mut line);
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// As Redis quotes arguments for people: `"` around, `\n`, `\xHH` and the like inside.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => write!(out, "\\x{byte:02x}").expect("a Vec takes every write"),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_where_who_and_what() {
        let arguments: [&[u8]; 2] = [b"set", b"a\"b\n\x01\xff"];
        let line = monitor_line(1_700_000_000_000_042, 9, "127.0.0.1:1", arguments.into_iter());
        let text = String::from_utf8(line).expect("printable");
        assert_eq!(text, "+1700000000.000042 [9 127.0.0.1:1] \"set\" \"a\\\"b\\n\\x01\\xff\"\r\n");
    }
}
