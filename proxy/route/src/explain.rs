//! The decision about one request, in one line for the person who asked with `x-spurline-explain: 1`.
//!
//! It names forks, keys and addresses: only trusted peers may see it, which is for the caller to ensure.

use std::{fmt, net::SocketAddr};

use crate::{Carrier, RoutingKey, Selection, Workload};

/// The value of the response header `x-spurline-explain`:
///
/// ```text
/// workload=shop/Deployment/cart; key=k3v9; carrier=baggage; override=cart-alice; endpoint=10.0.0.7:80; generation=12
/// workload=shop/Deployment/cart; key=-; carrier=-; baseline=no-routing-key; endpoint=127.0.0.1:80; generation=12
/// ```
///
/// Always the same six parts; `-` stands for what there is not. The fourth is named after the selection and holds the
/// fork, or the reason why it is none.
#[derive(Clone, Copy, Debug)]
pub struct Explain<'a> {
    /// The workload the request was meant for.
    pub workload: &'a Workload,
    /// Its key.
    pub key: Option<&'a RoutingKey>,
    /// Where the key was read.
    pub carrier: Option<Carrier>,
    /// What was decided.
    pub selection: Selection<'a>,
    /// The endpoint that was used in the end.
    pub endpoint: Option<SocketAddr>,
    /// The generation of the route table that decided.
    pub generation: u64,
}

// === impl Explain ===

impl fmt::Display for Explain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, key, carrier, selection, endpoint, generation } = self;
        let key = key.map_or("-", RoutingKey::as_str);
        let carrier = carrier.map_or("-", Carrier::label);
        write!(f, "workload={workload}; key={key}; carrier={carrier}; {}=", selection.label())?;
        match selection {
            // A fork's name may come from a file or another system: nothing in it may break the header.
            Selection::Override(rule, _) => write_visible(f, &rule.fork)?,
            other => f.write_str(other.reason().unwrap_or("-"))?,
        }
        match endpoint {
            Some(endpoint) => write!(f, "; endpoint={endpoint}")?,
            None => f.write_str("; endpoint=-")?,
        }
        write!(f, "; generation={generation}")
    }
}

/// Writes visible ASCII as it is and `?` for anything else, separators included.
fn write_visible(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|char| match char {
        ';' | '=' => fmt::Write::write_char(f, '?'),
        char if char.is_ascii_graphic() => fmt::Write::write_char(f, char),
        _ => fmt::Write::write_char(f, '?'),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{BaselineReason, Endpoint, OnUnavailable, Override};

    #[test]
    fn an_override_names_the_fork_and_the_endpoint() {
        let workload = "shop/Deployment/cart".parse().unwrap();
        let key = "k3v9".parse().unwrap();
        let rule = Override {
            fork: "cart\r\nx: y;z".into(),
            sandbox: "alice".into(),
            on_unavailable: OnUnavailable::Reject,
            ports: vec![],
        };
        let endpoints: Arc<[Endpoint]> = Arc::new([]);
        let explain = Explain {
            workload: &workload,
            key: Some(&key),
            carrier: Some(Carrier::Baggage),
            selection: Selection::Override(&rule, &endpoints),
            endpoint: Some(([10, 0, 0, 7], 80).into()),
            generation: 12,
        };
        assert_eq!(
            explain.to_string(),
            "workload=shop/Deployment/cart; key=k3v9; carrier=baggage; override=cart??x:?y?z; \
             endpoint=10.0.0.7:80; generation=12"
        );
    }

    #[test]
    fn what_there_is_not_is_a_dash() {
        let explain = Explain {
            workload: &"shop/Deployment/cart".parse().unwrap(),
            key: None,
            carrier: None,
            selection: Selection::Baseline(BaselineReason::NoKey),
            endpoint: None,
            generation: 0,
        };
        assert_eq!(
            explain.to_string(),
            "workload=shop/Deployment/cart; key=-; carrier=-; baseline=no-routing-key; endpoint=-; generation=0"
        );
    }
}
