//! A request's head as the deciding functions see it: borrowed text and a way to look headers up.
//! HTTP/1, HTTP/2 and HTTP/3 each have their own head types, and none of them belongs in here.

/// Header lookup over whatever type a protocol keeps its headers in.
pub trait HeaderLookup {
    /// The `n`-th value, from 0, of the header with this lower-case name.
    fn nth(&self, name: &str, n: usize) -> Option<&[u8]>;
}

/// Headers as a plain list, names in any case.
impl HeaderLookup for &[(&str, &[u8])] {
    fn nth(&self, name: &str, n: usize) -> Option<&[u8]> {
        let mut named = self.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.nth(n).map(|(_, value)| *value)
    }
}

/// A plain view of a request's head.
#[derive(Clone, Copy)]
pub struct HeadView<'a> {
    /// As sent: `GET`.
    pub method: &'a str,
    /// Host header or `:authority`, with the port if one was sent; empty if there was none.
    pub host: &'a str,
    /// Path as sent, not decoded, without the query.
    pub path: &'a str,
    /// What follows `?`, not decoded, without it.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a dyn HeaderLookup,
}

impl<'a> HeadView<'a> {
    /// The only value of a header; `None` if it is absent or sent more than once, for then nobody
    /// knows which one the application believes.
    #[must_use]
    pub fn single_header(&self, name: &str) -> Option<&'a [u8]> {
        match self.headers.nth(name, 1) {
            Some(_) => None,
            None => self.headers.nth(name, 0),
        }
    }

    /// Every value sent for a cookie of this name, over all `Cookie` headers, in order.
    ///
    /// More than one is legal: a cookie set for a parent domain is sent beside the host's own.
    pub fn cookies<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let headers = self.headers;
        (0..)
            .map_while(move |n| headers.nth("cookie", n))
            .flat_map(|line| line.split(|byte| *byte == b';'))
            .filter_map(move |pair| {
                let (known, value) = split_once(pair, b'=')?;
                (known.trim_ascii() == name.as_bytes()).then(|| unquote(value.trim_ascii()))
            })
    }

    /// The path segment at an index, from 0, not decoded; `None` if there is none or it is empty.
    #[must_use]
    pub fn path_segment(&self, index: u8) -> Option<&'a str> {
        let path = self.path.strip_prefix('/').unwrap_or(self.path);
        path.split('/').nth(index.into()).filter(|segment| !segment.is_empty())
    }

    /// The first value of a query parameter of this exact name, not decoded; `None` if it is
    /// absent or empty.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.query?.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value).filter(|v| !v.is_empty())
    }
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..index], &bytes[index + 1..]))
}

/// A cookie's value may be sent in quotes, which are not part of it.
fn unquote(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_headers<R>(headers: &[(&str, &[u8])], test: impl Fn(HeadView<'_>) -> R) -> R {
        test(HeadView {
            method: "GET",
            host: "a.example",
            path: "/users/42/cart",
            query: Some("a=1&user=7&user=8&empty=&flag"),
            headers: &headers,
        })
    }

    #[test]
    fn a_header_sent_twice_is_no_single_header() {
        let headers: &[(&str, &[u8])] = &[("X-User", b"a"), ("x-user", b"b"), ("Other", b"c")];
        with_headers(headers, |head| {
            assert_eq!(head.single_header("x-user"), None);
            assert_eq!(head.single_header("other"), Some(&b"c"[..]));
            assert_eq!(head.single_header("absent"), None);
        });
    }

    #[test]
    fn cookies_are_found_over_all_lines_and_never_by_part_of_a_name() {
        let headers: &[(&str, &[u8])] = &[
            ("cookie", b"xhoming=no; homing=one;homing = \"two\" ; junk; =; homing2=no"),
            ("cookie", b"homing=\xff="),
        ];
        with_headers(headers, |head| {
            let found: Vec<_> = head.cookies("homing").collect();
            assert_eq!(found, [&b"one"[..], b"two", b"\xff="]);
            assert_eq!(head.cookies("absent").count(), 0);
        });
    }

    #[test]
    fn segments_and_parameters_are_exact() {
        with_headers(&[], |head| {
            assert_eq!(head.path_segment(0), Some("users"));
            assert_eq!(head.path_segment(1), Some("42"));
            assert_eq!(head.path_segment(3), None);
            assert_eq!(head.query_value("user"), Some("7"));
            assert_eq!(head.query_value("use"), None);
            assert_eq!(head.query_value("empty"), None);
            assert_eq!(head.query_value("flag"), None);
        });
    }
}
