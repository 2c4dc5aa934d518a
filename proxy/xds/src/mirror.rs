//! What the control service said, and the route table that follows from it.
//!
//! Pure: time is passed in, and swapping tables is the caller's affair. A [`Batch`] collects the changes of any number
//! of responses, so that one table is built for all of them.

use std::sync::Arc;

use spurline_api::envoy::service::discovery::v3::Resource;
use spurline_route::{RouteTable, RouteTableBuilder, TableError};

use crate::{
    Known, Record, ResourceType, Scope,
    decode::{Content, Fault, Subject, read_body, read_name},
    known::VERSION_BYTES_MAX,
    snapshot::FILE_BYTES_MAX,
};

/// The most resources that are kept, of all types; one more is rejected.
pub const RESOURCES_MAX: usize = 500_000;

/// The most bytes of resources that are kept, of all types; what does not fit is rejected. A snapshot of them can be
/// read again.
pub const RESOURCES_BYTES_MAX: usize = 512 * 1024 * 1024;

const _: () = assert!(RESOURCES_BYTES_MAX as u64 <= FILE_BYTES_MAX / 2);

/// The resources that were taken and the table they give.
#[derive(Debug)]
pub struct Mirror {
    scope: Scope,
    known: Known,
    table: Arc<RouteTable>,
    /// The earliest time at which an override or a key of the table ends.
    next_expiry: Option<u64>,
    /// The time of the table: what had ended by then is not in it.
    as_of_unix_s: u64,
    resources_max: usize,
    bytes_max: usize,
}

/// Changes under way. Dropping it without [`Batch::finish`] loses the changes of the table but not those of what is
/// known, so finish it.
#[derive(Debug)]
#[must_use = "the changes are lost unless the batch is finished"]
pub struct Batch<'m> {
    mirror: &'m mut Mirror,
    builder: RouteTableBuilder,
    now_unix_s: u64,
    tally: Tally,
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Resources that were new or changed and taken.
    pub applied: usize,
    /// Resources that are gone.
    pub removed: usize,
    /// Overrides and keys that ended.
    pub expired: usize,
    /// Whether there is a new table.
    pub changed: bool,
}

// === impl Mirror ===

impl Mirror {
    /// Begins with nothing; `table` is followed by tables of later generations.
    #[must_use]
    pub fn new(scope: Scope, table: Arc<RouteTable>) -> Self {
        Self {
            scope,
            known: Known::default(),
            table,
            next_expiry: None,
            as_of_unix_s: 0,
            resources_max: RESOURCES_MAX,
            bytes_max: RESOURCES_BYTES_MAX,
        }
    }

    /// Lowers the most resources that are kept, for tests.
    #[must_use]
    pub fn with_resources_max(self, resources_max: usize) -> Self {
        Self { resources_max: resources_max.min(RESOURCES_MAX), ..self }
    }

    /// Lowers the most bytes of resources that are kept, for tests.
    #[must_use]
    pub fn with_bytes_max(self, bytes_max: usize) -> Self {
        Self { bytes_max: bytes_max.min(RESOURCES_BYTES_MAX), ..self }
    }

    /// What is wanted.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// What was taken.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The table of the last batch.
    #[must_use]
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }

    /// Whether an empty batch at this time has something to do: something has ended, or the clock was set back and it has
    /// not yet.
    #[must_use]
    pub fn is_due(&self, now_unix_s: u64) -> bool {
        now_unix_s < self.as_of_unix_s || self.next_expiry.is_some_and(|next| next <= now_unix_s)
    }

    /// When something ends next.
    #[must_use]
    pub fn next_expiry(&self) -> Option<u64> {
        self.next_expiry
    }

    /// Begins a batch at this time.
    pub fn batch(&mut self, now_unix_s: u64) -> Batch<'_> {
        let generation = self.table.generation().saturating_add(1);
        let builder = RouteTableBuilder::from_table(&self.table, generation);
        Batch { mirror: self, builder, now_unix_s, tally: Tally::default() }
    }

    fn note_expiry(&mut self, expires: Option<u64>) {
        self.next_expiry = self.next_expiry.into_iter().chain(expires).min();
    }

    fn admits(&self, subject: &Subject) -> bool {
        match subject {
            Subject::KeyOwner(_) => true,
            Subject::Baseline(workload) => self.scope.has_baseline(workload),
            Subject::Override(workload, _) => self.scope.forks(workload),
        }
    }
}

// === impl Batch ===

impl Batch<'_> {
    /// Takes a resource as it came in a response of this type.
    ///
    /// # Errors
    /// What is wrong with it; then nothing has changed.
    pub fn put(&mut self, ty: ResourceType, resource: &Resource) -> Result<(), Fault> {
        let Some(body) = &resource.resource else {
            // A heartbeat only extends how long a resource counts, and ours count until they are removed.
            return if resource.ttl.is_some() { Ok(()) } else { Err(Fault::NoBody) };
        };
        if body.type_url != ty.type_url() {
            return Err(Fault::OtherType);
        }
        if !(1..=VERSION_BYTES_MAX).contains(&resource.version.len()) {
            return Err(Fault::Version);
        }
        self.put_body(ty, &resource.name, &resource.version, &body.value)
    }

    /// Takes a record of a snapshot. One that has ended is left out altogether.
    ///
    /// # Errors
    /// What is wrong with it; then nothing has changed.
    pub fn restore(&mut self, ty: ResourceType, record: &Record) -> Result<(), Fault> {
        if self.has_ended(record.expires_unix_s()) {
            self.tally.expired += 1;
            return Ok(());
        }
        self.put_body(ty, record.name(), record.version(), record.body())
    }

    fn put_body(&mut self, ty: ResourceType, name: &str, version: &str, body: &[u8]) -> Result<(), Fault> {
        let subject = read_name(ty, name)?;
        if !self.mirror.admits(&subject) {
            return Err(Fault::NotSubscribed);
        }
        let known = self.mirror.known.get(ty, name);
        if known.is_some_and(|known| known.version() == version && known.body() == body) {
            return Ok(());
        }
        if known.is_none() && self.mirror.known.len() >= self.mirror.resources_max {
            return Err(Fault::TooMany(self.mirror.resources_max));
        }
        let content = read_body(ty, body)?;
        let expires = match &content {
            Content::Override(_, expires) | Content::KeyOwner(_, expires) => *expires,
            Content::Baseline(_) => None,
        };
        let too_long = || Fault::Name("it is too long".to_owned());
        let record = Record::new(name, version, body, expires).ok_or_else(too_long)?;
        let rest = self.mirror.known.bytes() - known.map_or(0, Record::bytes);
        if record.bytes() > self.mirror.bytes_max.saturating_sub(rest) {
            return Err(Fault::TooLarge(self.mirror.bytes_max));
        }
        self.edit(subject, content)?;
        self.mirror.known.put(ty, record);
        self.tally.applied += 1;
        Ok(())
    }

    fn edit(&mut self, subject: Subject, content: Content) -> Result<(), Fault> {
        match (subject, content) {
            // What has ended may have done so on its way, or this machine's clock is ahead.
            (Subject::KeyOwner(key), Content::KeyOwner(_, expires)) if self.has_ended(expires) => {
                self.builder.remove_owner(&key);
            }
            (Subject::KeyOwner(key), Content::KeyOwner(name, expires)) => {
                self.builder.put_owner(key, name);
                self.mirror.note_expiry(expires);
            }
            (Subject::Baseline(workload), Content::Baseline(ports)) => {
                self.builder.put_baseline(&workload, ports).map_err(|error| contradiction(&error))?;
            }
            (Subject::Override(workload, key), Content::Override(_, expires)) if self.has_ended(expires) => {
                self.builder.remove_override(&workload, &key);
            }
            (Subject::Override(workload, key), Content::Override(rule, expires)) => {
                self.builder.put_override(&workload, key, rule).map_err(|error| contradiction(&error))?;
                self.mirror.note_expiry(expires);
            }
            _ => return Err(Fault::OtherType),
        }
        self.tally.changed = true;
        Ok(())
    }

    /// Forgets a resource; one that is not known needs no forgetting.
    pub fn remove(&mut self, ty: ResourceType, name: &str) {
        if !self.mirror.known.remove(ty, name) {
            return;
        }
        self.tally.removed += 1;
        self.tally.changed = true;
        match read_name(ty, name) {
            Ok(Subject::KeyOwner(key)) => {
                self.builder.remove_owner(&key);
            }
            Ok(Subject::Baseline(workload)) => self.builder.remove_baseline(&workload),
            Ok(Subject::Override(workload, key)) => {
                self.builder.remove_override(&workload, &key);
            }
            // What is known has a good name.
            Err(_) => {}
        }
    }

    /// Takes out of the table what has ended. It stays known, for the server has not removed it, and is put back when the
    /// clock is: the table follows from what is known and from the time, whatever the time was before.
    ///
    /// A key ends in the same table as its overrides: known without them, it would send strict requests to the baseline.
    fn keep_time(&mut self) {
        let before = std::mem::replace(&mut self.mirror.as_of_unix_s, self.now_unix_s);
        let set_back = self.now_unix_s < before;
        if !set_back && self.mirror.next_expiry.is_none_or(|next| next > self.now_unix_s) {
            return;
        }
        let mut next = None;
        let mut put_back = Vec::new();
        for ty in [ResourceType::KeyOwner, ResourceType::Override] {
            for record in self.mirror.known.iter(ty) {
                let Some(expires) = record.expires_unix_s() else { continue };
                if expires > self.now_unix_s {
                    next = next.into_iter().chain([expires]).min();
                    if set_back && expires <= before {
                        put_back
                            .extend(read_name(ty, record.name()).ok().zip(read_body(ty, record.body()).ok()));
                    }
                    continue;
                }
                let was_there = match read_name(ty, record.name()) {
                    Ok(Subject::KeyOwner(key)) => self.builder.remove_owner(&key),
                    Ok(Subject::Override(workload, key)) => self.builder.remove_override(&workload, &key),
                    Ok(Subject::Baseline(_)) | Err(_) => false,
                };
                self.tally.expired += usize::from(was_there);
                self.tally.changed |= was_there;
            }
        }
        self.mirror.next_expiry = next;
        for (subject, content) in put_back {
            // What is known was taken once, and is taken again.
            let _ = self.edit(subject, content);
        }
    }

    fn has_ended(&self, expires: Option<u64>) -> bool {
        expires.is_some_and(|expires| expires <= self.now_unix_s)
    }

    /// What is known, with the changes so far.
    #[must_use]
    pub fn known(&self) -> &Known {
        &self.mirror.known
    }

    /// Builds the table, if anything changed. What has ended by the batch's time is not in it.
    pub fn finish(mut self) -> Tally {
        self.keep_time();
        let Self { mirror, builder, tally, .. } = self;
        if tally.changed {
            mirror.table = Arc::new(builder.finish());
        }
        tally
    }
}

/// What [`read_body`] checked cannot contradict itself any more.
fn contradiction(error: &TableError) -> Fault {
    Fault::Encoding(error.to_string())
}
