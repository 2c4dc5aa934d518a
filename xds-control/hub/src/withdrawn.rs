//! What documents no longer give, until every proxy knows.
//!
//! A resource that is gone belongs to no document any more, yet whoever changed the document wants to know when it is
//! in force nowhere. So it is kept here for the document whose edit took it away, be it a resource of its own or one of
//! a group that counted it.

use std::collections::{HashMap, VecDeque};

use spurline_core::{
    catalog::{Catalog, ResourceName, Revision},
    document::Id,
};

/// Names that are kept, of all documents together. Beyond, the oldest are forgotten, as if all proxies knew.
const WITHDRAWN_MAX: usize = 65_536;

/// Resources by the document whose edit took them away, with the revision at which they were gone.
#[derive(Debug, Default)]
pub(crate) struct Withdrawn {
    names: HashMap<Id, HashMap<ResourceName, Revision>>,
    /// In the order in which they went. What has been forgotten meanwhile stands in it still.
    order: VecDeque<(Id, ResourceName, Revision)>,
}

impl Withdrawn {
    pub(crate) fn note(&mut self, id: Id, name: ResourceName, at: Revision) {
        self.names.entry(id.clone()).or_default().insert(name.clone(), at);
        self.order.push_back((id, name, at));
        if self.order.len() > WITHDRAWN_MAX
            && let Some((id, name, at)) = self.order.pop_front()
            && let Some(names) = self.names.get_mut(&id)
            && names.get(&name) == Some(&at)
        {
            names.remove(&name);
            if names.is_empty() {
                self.names.remove(&id);
            }
        }
    }

    /// What is gone still.
    pub(crate) fn of(&self, id: &Id, catalog: &Catalog) -> Vec<(ResourceName, Revision)> {
        let names = self.names.get(id).into_iter().flatten();
        let names = names.filter(|(name, _)| catalog.get(name.ty, &name.name).is_none());
        names.map(|(name, at)| (name.clone(), *at)).collect()
    }

    /// Forgets what is not newer than what was found acknowledged.
    pub(crate) fn forget(&mut self, id: &Id, acknowledged: &[(ResourceName, Revision)]) {
        let Some(names) = self.names.get_mut(id) else { return };
        for (name, at) in acknowledged {
            if names.get(name) == Some(at) {
                names.remove(name);
            }
        }
        if names.is_empty() {
            self.names.remove(id);
        }
    }
}
