//! Names of workloads.
//!
//! Names only: whether a workload exists is what a [`RouteTable`](crate::RouteTable) knows.

use std::{fmt, str::FromStr, sync::Arc};

/// `namespace/Kind/name` of what runs in the pods, as in `shop/Deployment/cart`. Cloning is cheap.
///
/// `namespace` is a DNS label and `name` a DNS subdomain (RFC 1123), both in lower case; `Kind` starts with a letter
/// and goes on with letters and digits. All three compare byte for byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload(Arc<str>);

/// Why some text is not a workload's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkloadError {
    /// Not three parts.
    #[error("a workload is written namespace/Kind/name")]
    Shape,
    /// The first part is not a DNS label.
    #[error("the namespace is 1 to 63 of a-z 0-9 -, and neither starts nor ends with -")]
    Namespace,
    /// The second part is not a kind.
    #[error("the kind is 1 to 63 letters and digits, and starts with a letter")]
    Kind,
    /// The third part is not a DNS subdomain.
    #[error("the name is 1 to 253 of a-z 0-9 - and ., and starts and ends with a letter or digit")]
    Name,
}

// === impl Workload ===

impl Workload {
    /// Reads `namespace/Kind/name`.
    ///
    /// # Errors
    /// When a part is missing or breaks its grammar.
    pub fn parse(text: &str) -> Result<Self, WorkloadError> {
        let mut parts = text.split('/');
        let (Some(namespace), Some(kind), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(WorkloadError::Shape);
        };
        if !is_dns_name(namespace, 63) || namespace.contains('.') {
            return Err(WorkloadError::Namespace);
        }
        if !is_kind(kind) {
            return Err(WorkloadError::Kind);
        }
        if !is_dns_name(name, 253) {
            return Err(WorkloadError::Name);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The whole name, `namespace/Kind/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first part.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.part(0)
    }

    /// The second part.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.part(1)
    }

    /// The third part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.part(2)
    }

    fn part(&self, index: usize) -> &str {
        self.0.split('/').nth(index).unwrap_or_default()
    }
}

impl FromStr for Workload {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        Self::parse(text)
    }
}

impl AsRef<str> for Workload {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn is_kind(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_dns_name(text: &str, len_max: usize) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= len_max
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(|byte| edge(Some(byte)) || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_has_three_parts() {
        let workload: Workload = "shop/Deployment/cart.v2".parse().unwrap();
        assert_eq!(
            (workload.namespace(), workload.kind(), workload.name()),
            ("shop", "Deployment", "cart.v2")
        );
        assert_eq!(workload.to_string(), "shop/Deployment/cart.v2");
    }

    #[test]
    fn anything_else_is_refused_with_the_part_that_is_wrong() {
        for (text, error) in [
            ("", WorkloadError::Shape),
            ("shop/cart", WorkloadError::Shape),
            ("shop/Deployment/cart/x", WorkloadError::Shape),
            ("Shop/Deployment/cart", WorkloadError::Namespace),
            ("a.b/Deployment/cart", WorkloadError::Namespace),
            ("/Deployment/cart", WorkloadError::Namespace),
            ("shop//cart", WorkloadError::Kind),
            ("shop/9p/cart", WorkloadError::Kind),
            ("shop/Deployment/", WorkloadError::Name),
            ("shop/Deployment/-cart", WorkloadError::Name),
            ("shop/Deployment/cart\n", WorkloadError::Name),
        ] {
            assert_eq!(Workload::parse(text), Err(error), "{text:?}");
        }
    }
}
