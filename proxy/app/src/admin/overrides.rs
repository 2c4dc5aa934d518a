//! The page of overrides: a part of the table at a time, so that its size never depends on the table's.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use spurline_route::{Endpoint, OnUnavailable, Override, PortMatch, RouteTable, RoutingKey, Workload};

/// Overrides on a page when the request names no limit.
const LIMIT_DEFAULT: usize = 100;
/// The most overrides on a page.
const LIMIT_MAX: usize = 1000;

/// Which overrides are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    /// Only this routing key.
    key: Option<String>,
    /// Only this workload.
    workload: Option<String>,
    /// At most this many.
    limit: Option<usize>,
    /// Only what comes after this: `next` of the page before.
    after: Option<String>,
}

/// Overrides in the order of workload and key. Pages of one generation fit together; when it changes between two
/// pages, overrides that stay are still neither lost nor repeated.
#[derive(Debug, Serialize)]
pub(super) struct Page<'t> {
    generation: u64,
    /// Overrides in the whole table.
    total: usize,
    overrides: Vec<Row<'t>>,
    /// What to ask for as `after` to see more; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'t> {
    workload: &'t str,
    key: &'t str,
    sandbox: &'t str,
    fork: &'t str,
    on_unavailable: &'static str,
    ports: BTreeMap<String, Vec<SocketAddr>>,
}

// === impl Page ===

impl<'t> Page<'t> {
    /// Reads one page: time grows with the table, memory with the page.
    ///
    /// # Errors
    /// When the filter makes no sense; the text says what is allowed.
    pub(super) fn read(table: &'t RouteTable, filter: &Filter) -> Result<Self, String> {
        let limit = filter.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(format!("limit {limit}; allowed: 1 to {LIMIT_MAX}"));
        }
        let after = filter.after.as_deref().map(position).transpose()?;
        let mut page = BTreeMap::new();
        let mut more = false;
        for (workload, key, rule) in table.overrides() {
            let position = (workload.as_str(), key.as_str());
            let wanted = filter.workload.as_deref().is_none_or(|wanted| wanted == position.0)
                && filter.key.as_deref().is_none_or(|wanted| wanted == position.1)
                && after.is_none_or(|after| position > after);
            if wanted {
                page.insert(position, (workload, key, rule));
            }
            if page.len() > limit {
                page.pop_last();
                more = true;
            }
        }
        let next =
            page.last_key_value().filter(|_| more).map(|((workload, key), _)| format!("{workload}@{key}"));
        let overrides =
            page.into_values().map(|(workload, key, rule)| Row::new(workload, key, rule)).collect();
        Ok(Self { generation: table.generation(), total: table.len(), overrides, next })
    }
}

/// Neither a workload nor a key holds the sign between them.
fn position(text: &str) -> Result<(&str, &str), String> {
    text.split_once('@').ok_or_else(|| format!("after \"{text}\"; allowed: next of the page before"))
}

// === impl Row ===

impl<'t> Row<'t> {
    fn new(workload: &'t Workload, key: &'t RoutingKey, rule: &'t Override) -> Self {
        let Override { fork, sandbox, on_unavailable, ports } = rule;
        let addrs = |(port, endpoints): &(PortMatch, Arc<[Endpoint]>)| {
            (port.to_string(), endpoints.iter().map(|endpoint| endpoint.addr).collect())
        };
        Self {
            workload: workload.as_str(),
            key: key.as_str(),
            sandbox,
            fork,
            on_unavailable: match on_unavailable {
                OnUnavailable::Reject => "Reject",
                OnUnavailable::Baseline => "Baseline",
            },
            ports: ports.iter().map(addrs).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use spurline_route::RouteTableBuilder;

    use super::*;

    fn table(workloads: usize, keys: usize) -> RouteTable {
        let mut builder = RouteTableBuilder::new(7);
        for key in 0..keys {
            builder.add_sandbox(format!("s{key}"), format!("k{key}").parse().unwrap()).unwrap();
            for workload in 0..workloads {
                let workload = format!("shop/Deployment/w{workload}").parse().unwrap();
                let endpoints: Arc<[Endpoint]> = Arc::new([Endpoint { addr: ([127, 0, 0, 1], 80).into() }]);
                let rule = Override {
                    fork: "fork".into(),
                    sandbox: format!("s{key}").into(),
                    on_unavailable: OnUnavailable::Reject,
                    ports: vec![(PortMatch::Any, endpoints)],
                };
                builder.add_override(&workload, format!("k{key}").parse().unwrap(), rule).unwrap();
            }
        }
        builder.build().unwrap()
    }

    fn positions(page: &Page<'_>) -> Vec<String> {
        page.overrides.iter().map(|row| format!("{}@{}", row.workload, row.key)).collect()
    }

    #[test]
    fn the_pages_hold_every_override_once_and_in_order() {
        let table = table(5, 9);
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let filter = Filter { limit: Some(7), after: after.take(), ..Filter::default() };
            let page = Page::read(&table, &filter).unwrap();
            assert!(page.overrides.len() <= 7);
            seen.extend(positions(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let mut all: Vec<_> =
            table.overrides().map(|(workload, key, _)| format!("{workload}@{key}")).collect();
        all.sort_unstable();
        assert_eq!(seen, all);
    }

    #[test]
    fn filters_narrow_the_page() {
        let table = table(3, 3);
        let filter = Filter { key: Some("k1".into()), ..Filter::default() };
        assert_eq!(Page::read(&table, &filter).unwrap().overrides.len(), 3);
        let workload = Some("shop/Deployment/w2".into());
        let filter = Filter { key: Some("k1".into()), workload, ..Filter::default() };
        let page = Page::read(&table, &filter).unwrap();
        assert_eq!(positions(&page), ["shop/Deployment/w2@k1"]);
        assert_eq!((page.generation, page.total, page.next), (7, 9, None));
    }

    #[test]
    fn a_full_last_page_names_no_next() {
        let page_of = |limit| Filter { limit: Some(limit), ..Filter::default() };
        let table = table(2, 2);
        assert_eq!(Page::read(&table, &page_of(4)).unwrap().next, None);
        assert_eq!(Page::read(&table, &page_of(3)).unwrap().next.as_deref(), Some("shop/Deployment/w1@k0"));
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        for limit in [0, LIMIT_MAX + 1] {
            let filter = Filter { limit: Some(limit), ..Filter::default() };
            let error = Page::read(&table(1, 1), &filter).unwrap_err();
            assert!(error.ends_with("allowed: 1 to 1000"), "{error}");
        }
    }
}
