//! Query parameters and conditional headers, checked as strictly as documents: what is not understood is not ignored.

use std::{str::FromStr, time::Duration};

use axum::{
    extract::{FromRequestParts, Query},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts},
};
use spurline_core::document::Labels;

use super::clipped;
use crate::{
    problem::Problem,
    writer::{Condition, Tags},
};

/// How long a request may wait for proxies.
const WAIT_MAX: Duration = Duration::from_secs(60);
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
const REQUIREMENTS_MAX: usize = 64;
/// The most entity tags that one condition may list.
const TAGS_MAX: usize = 64;
const SELECTOR_ALLOWED: &str = "at most 64 of key=value, key!=value, key, !key, separated by commas";

/// The query, each parameter once.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

/// What the labels of a document have to be.
#[derive(Debug, Default)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

// === impl Parameters ===

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::parameter("query", error.body_text(), "name=value&…"))?;
        Ok(Self(pairs))
    }

    /// Refuses parameters that stand twice or are not among `known`.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), Problem> {
        for (index, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::parameter(&clipped(name), "unknown parameter", allowed));
            }
            if self.0.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(Problem::parameter(name, "stands twice", "one value"));
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::parameter(name, format!("{:?}", clipped(other)), "true or false")),
        }
    }

    pub(super) fn number<N: FromStr + PartialOrd>(
        &self,
        name: &str,
        (default, min, max): (N, N, N),
        allowed: &str,
    ) -> Result<N, Problem> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| *number >= min && *number <= max);
        number.ok_or_else(|| Problem::parameter(name, format!("{:?}", clipped(text)), allowed))
    }

    /// `wait=programmed` and `timeout`: how long to wait, if at all.
    pub(super) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let timeout = self.get("timeout").map(|text| {
            duration(text).filter(|timeout| *timeout <= WAIT_MAX).ok_or_else(|| {
                let what = format!("{:?}", clipped(text));
                Problem::parameter("timeout", what, "a number with ms, s or m, at most 60s")
            })
        });
        match (self.get("wait"), timeout.transpose()?) {
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Problem::parameter("timeout", "nothing to wait for", "wait=programmed with it"))
            }
            (Some("programmed"), timeout) => Ok(Some(timeout.unwrap_or(WAIT_DEFAULT))),
            (Some(other), _) => {
                Err(Problem::parameter("wait", format!("{:?}", clipped(other)), "programmed"))
            }
        }
    }

    pub(super) fn selector(&self) -> Result<Selector, Problem> {
        let Some(text) = self.get("labelSelector") else { return Ok(Selector::default()) };
        let requirements: Option<Vec<Requirement>> = text.split(',').map(requirement).collect();
        requirements.filter(|requirements| requirements.len() <= REQUIREMENTS_MAX).map(Selector).ok_or_else(
            || Problem::parameter("labelSelector", format!("{:?}", clipped(text)), SELECTOR_ALLOWED),
        )
    }
}

// === impl Selector ===

impl Selector {
    pub(super) fn matches(&self, labels: &Labels) -> bool {
        let value =
            |key: &str| labels.iter().find(|(known, _)| **known == *key).map(|(_, value)| value.as_ref());
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, wanted) => value(key) == Some(wanted.as_str()),
            Requirement::IsNot(key, unwanted) => value(key) != Some(unwanted.as_str()),
            Requirement::Has(key) => value(key).is_some(),
            Requirement::HasNot(key) => value(key).is_none(),
        })
    }
}

fn requirement(text: &str) -> Option<Requirement> {
    let text = text.trim();
    let owned = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
    let is_key = |key: &str| !key.is_empty() && !key.contains(['=', '!', ' ']);
    if let Some((key, value)) = text.split_once("!=").map(owned) {
        (is_key(&key) && !value.contains('=')).then_some(Requirement::IsNot(key, value))
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')).map(owned) {
        (is_key(&key) && !value.contains('=')).then_some(Requirement::Is(key, value))
    } else if let Some(key) = text.strip_prefix('!') {
        is_key(key).then(|| Requirement::HasNot(key.to_owned()))
    } else {
        is_key(text).then(|| Requirement::Has(text.to_owned()))
    }
}

/// A number with its unit, as in `500ms`, `5s`, `1m`, `2h`. What documents say is in other units: their times are long.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// `If-Match` and `If-None-Match` of a request (RFC 9110 section 13.1).
pub(super) fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    Ok(Condition {
        matches: tags(headers, &header::IF_MATCH, Weak::Differ)?,
        none_matches: tags(headers, &header::IF_NONE_MATCH, Weak::Match)?,
    })
}

/// How weak tags compare: `If-Match` takes strong ones only (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weak {
    Match,
    Differ,
}

fn tags(headers: &HeaderMap, name: &HeaderName, weak: Weak) -> Result<Option<Tags>, Problem> {
    let mut found: Option<Vec<u64>> = None;
    let mut count = 0;
    let fault =
        |what: &str| Problem::parameter(name.as_str(), what, "* or at most 64 entity tags, quotes included");
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| fault("not readable"))?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        let versions = found.get_or_insert_default();
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            count += 1;
            let (is_weak, strong) = tag.strip_prefix("W/").map_or((false, tag), |strong| (true, strong));
            let inner = strong.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            let inner = inner.filter(|inner| !inner.contains('"') && count <= TAGS_MAX);
            let inner = inner.ok_or_else(|| fault("no entity tags"))?;
            if !is_weak || weak == Weak::Match {
                versions.extend(
                    u64::from_str_radix(inner, 16).ok().filter(|version| etag_text(*version) == strong),
                );
            }
        }
        if count == 0 {
            return Err(fault("no entity tags"));
        }
    }
    Ok(found.map(Tags::Versions))
}

fn etag_text(version: u64) -> String {
    format!("\"{version:016x}\"")
}

/// The entity tag of a version.
pub(super) fn etag(version: u64) -> HeaderValue {
    // Hexadecimal digits in quotes are a valid value.
    HeaderValue::try_from(etag_text(version)).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use spurline_core::document::{self, Kind};

    use super::*;

    #[test]
    fn durations_have_units_and_nothing_else_is_one() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("1m"), Some(Duration::from_secs(60)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for text in ["", "5", "s", "-5s", "5 s", "5d", "1.5s", "99999999999999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn selectors_compare_labels() {
        let json = serde_json::json!({
            "metadata": {"name": "a", "labels": {"team": "checkout", "tier": "1"}}, "spec": {"forks": []}
        });
        let document = document::read(&json, Some(Kind::Sandbox)).unwrap();
        for (text, matches) in [
            ("team=checkout", true),
            ("team==checkout,tier", true),
            ("team!=checkout", false),
            ("owner!=me,!owner", true),
            ("owner", false),
        ] {
            let selector = parameters(text).selector().unwrap();
            assert_eq!(selector.matches(document.labels()), matches, "{text}");
        }
        for text in ["", "a=b=c", "=b", "a,,b", "!", "!=b", "a b"] {
            assert!(parameters(text).selector().is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_compare_weak_tags_for_if_none_match_only() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::IF_MATCH,
            r#"W/"0000000000000001", "0000000000000002", "foreign""#.parse().unwrap(),
        );
        headers.insert(header::IF_NONE_MATCH, r#"W/"0000000000000003""#.parse().unwrap());
        let condition = condition(&headers).unwrap();
        assert_eq!(condition.matches, Some(Tags::Versions(vec![2])));
        assert_eq!(condition.none_matches, Some(Tags::Versions(vec![3])));
    }

    #[test]
    fn conditions_that_are_none_are_refused() {
        for text in ["", "1", "\"a", "a\"", "\"a\" \"b\"", ","] {
            let headers = HeaderMap::from_iter([(header::IF_MATCH, text.parse().unwrap())]);
            assert!(condition(&headers).is_err(), "{text}");
        }
    }

    fn parameters(selector: &str) -> Parameters {
        Parameters(vec![("labelSelector".to_owned(), selector.to_owned())])
    }
}
