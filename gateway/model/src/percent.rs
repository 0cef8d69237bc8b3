//! `%XX` in URLs.

/// The text without its percent-escapes. The error is for people.
pub fn percent_decode(text: &str) -> Result<String, String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        // `from_str_radix` would take a sign as well.
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("a % is followed by two hexadecimal digits, and is itself written %25")?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).map_err(|_| "its percent-escapes are no UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_bytes_of_utf_8() {
        assert_eq!(percent_decode("sec%3Are%40t%2F%C3%BC+"), Ok("sec:re@t/ü+".into()));
        assert_eq!(percent_decode(""), Ok(String::new()));
        for wrong in ["%", "a%4", "%+1", "%ü", "%FF"] {
            assert!(percent_decode(wrong).is_err(), "{wrong}");
        }
    }
}
