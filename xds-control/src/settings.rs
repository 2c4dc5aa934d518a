//! The settings of `serve`: from words to what is meant, with everything that is wrong at once.

use std::{path::PathBuf, time::Duration};

use clap::{ArgMatches, parser::ValueSource};
use spurline_hub::Debounce;
use spurline_rest::{Preconditions, duration};
use spurline_serve::{Listen, TlsFiles, Tokens, must_authenticate};

use crate::{args, outcome::Failure};

/// What `serve` runs with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) grpc: Side,
    pub(crate) rest: Side,
    pub(crate) admin: Vec<Listen>,
    pub(crate) tokens_file: Option<PathBuf>,
    pub(crate) preconditions: Preconditions,
    pub(crate) store: Option<PathBuf>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) directory_poll_interval: Duration,
    pub(crate) debounce: Debounce,
    pub(crate) connections_max: usize,
    pub(crate) stream_age_max: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) identity: String,
    pub(crate) workers: usize,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
}

/// Where one of the APIs is served.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) listen: Vec<Listen>,
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Reads values and collects what is wrong.
struct Reader<'m> {
    matches: &'m ArgMatches,
    faults: Vec<String>,
}

// === impl Settings ===

impl Settings {
    /// # Errors
    /// Every setting that is wrong, one a line.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let mut reader = Reader { matches, faults: Vec::new() };
        let settings = reader.settings();
        reader.check(&settings);
        match reader.faults.is_empty() {
            true => Ok(settings),
            false => Err(Failure::usage(reader.faults.join("\n"))),
        }
    }
}

// === impl Reader ===

impl<'m> Reader<'m> {
    /// What is wrong is noted and stands in the result as something harmless.
    fn settings(&mut self) -> Settings {
        let ms = Duration::from_millis;
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let debounce = Debounce {
            idle: self.time("debounce-idle", ms(0), ms(60_000)),
            quiet: self.time("debounce-quiet", ms(0), ms(60_000)),
            max: self.time("debounce-max", ms(0), ms(60_000)),
        };
        Settings {
            grpc: self.side("grpc"),
            rest: self.side("rest"),
            admin: self.listen("admin-listen"),
            tokens_file: self.path("tokens-file"),
            preconditions: self.word("preconditions", &PRECONDITIONS, Preconditions::Optional),
            store: self.path("store"),
            directory: self.path("directory"),
            directory_poll_interval: self.time("directory-poll-interval", ms(10), hours(1)),
            debounce,
            connections_max: self.number("connections-max", 1, 1_000_000),
            stream_age_max: self.time("stream-age-max", Duration::from_secs(1), hours(24 * 7)),
            drain_timeout: self.time("drain-timeout", ms(0), hours(1)),
            identity: self.identity(),
            workers: self.number("workers", 1, 64),
            log_level: self.word("log-level", &LEVELS.map(|level| (level, level)), "info").to_owned(),
            log_format: self.word("log-format", &LOG_FORMATS, LogFormat::Text),
        }
    }

    /// What only shows when settings are seen together.
    fn check(&mut self, settings: &Settings) {
        let tokens = if settings.tokens_file.is_some() { Tokens::Required } else { Tokens::None };
        for (flag, side, tokens) in
            [("grpc-listen", &settings.grpc, Tokens::None), ("rest-listen", &settings.rest, tokens)]
        {
            for listen in &side.listen {
                if let Err(error) = must_authenticate(listen, side.tls.as_ref(), tokens) {
                    self.faults.push(format!("--{flag}={listen}: {error}"));
                }
            }
        }
        let Debounce { quiet, max, idle: _ } = settings.debounce;
        if quiet > max {
            self.faults.push(format!(
                "--debounce-quiet={quiet:?}: longer than --debounce-max={max:?}; allowed: at most that"
            ));
        }
    }

    fn side(&mut self, name: &str) -> Side {
        let [cert, key, client_ca] =
            ["cert", "key", "client-ca"].map(|file| self.path(&format!("{name}-{file}-file")));
        let tls = match (cert, key, client_ca) {
            (Some(cert), Some(key), client_ca) => Some(TlsFiles { cert, key, client_ca }),
            (None, None, None) => None,
            _ => {
                self.faults.push(format!(
                    "--{name}-cert-file, --{name}-key-file, --{name}-client-ca-file: one without the others; \
                     allowed: certificate and key, a client CA only beside them"
                ));
                None
            }
        };
        Side { listen: self.listen(&format!("{name}-listen")), tls }
    }

    fn listen(&mut self, flag: &str) -> Vec<Listen> {
        let Some(text) = self.text(flag) else { return Vec::new() };
        let mut found = Vec::new();
        for part in text.split(',') {
            match part.trim().parse::<Listen>() {
                Ok(listen) => found.push(listen),
                Err(error) => self.fault(flag, &error.to_string()),
            }
        }
        found
    }

    fn path(&mut self, flag: &str) -> Option<PathBuf> {
        let text = self.text(flag)?;
        if text.is_empty() {
            self.fault(flag, "empty; allowed: a path");
            return None;
        }
        Some(text.into())
    }

    fn time(&mut self, flag: &str, least: Duration, most: Duration) -> Duration {
        let Some(text) = self.text(flag) else { return least };
        match duration(text).filter(|time| (least..=most).contains(time)) {
            Some(time) => time,
            None => {
                let least_shown = if least.is_zero() { "0s".to_owned() } else { format!("{least:?}") };
                let allowed = format!(
                    "not a time in range; allowed: a number with ms, s, m or h, from {least_shown} to {most:?}"
                );
                self.fault(flag, &allowed);
                least
            }
        }
    }

    fn number(&mut self, flag: &str, least: usize, most: usize) -> usize {
        let Some(text) = self.text(flag) else { return least };
        match text.parse().ok().filter(|number| (least..=most).contains(number)) {
            Some(number) => number,
            None => {
                self.fault(flag, &format!("not a number in range; allowed: {least} to {most}"));
                least
            }
        }
    }

    /// `fallback` stands in for a wrong word.
    fn word<T: Copy>(&mut self, flag: &str, words: &[(&str, T)], fallback: T) -> T {
        let text = self.text(flag).unwrap_or_default();
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *value,
            None => {
                let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                self.fault(flag, &format!("no such word; allowed: {}", allowed.join(", ")));
                fallback
            }
        }
    }

    fn identity(&mut self) -> String {
        let text = self.text("identity").unwrap_or_default().to_owned();
        if !(1..=100).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.fault("identity", "not a name; allowed: 1 to 100 visible ASCII characters");
        }
        text
    }

    fn text(&self, flag: &str) -> Option<&'m str> {
        self.matches.get_one::<String>(flag).map(String::as_str)
    }

    fn fault(&mut self, flag: &str, what: &str) {
        let text = self.text(flag).unwrap_or_default();
        let from = match self.matches.value_source(flag) {
            Some(ValueSource::EnvVariable) => args::variable(flag),
            _ => format!("--{flag}"),
        };
        self.faults.push(format!("{from}={text}: {what}"));
    }
}

const PRECONDITIONS: [(&str, Preconditions); 2] =
    [("optional", Preconditions::Optional), ("required", Preconditions::Required)];
const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests;
