//! The types of resources.

/// A type of resource that this client subscribes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// What a routing key stands for.
    KeyOwner,
    /// Endpoints of a workload that is not forked.
    Baseline,
    /// Endpoints of a fork.
    Override,
}

// === impl ResourceType ===

impl ResourceType {
    /// Every type, in the order in which they are subscribed to: a server that answers at once tells the overrides of a
    /// key before the key.
    pub const ALL: [Self; 3] = [Self::Override, Self::Baseline, Self::KeyOwner];

    /// The type on the wire.
    #[must_use]
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::KeyOwner => spurline_api::KEY_OWNER_TYPE_URL,
            Self::Baseline => spurline_api::BASELINE_TYPE_URL,
            Self::Override => spurline_api::OVERRIDE_TYPE_URL,
        }
    }

    /// The type of this URL, if it is one of ours.
    #[must_use]
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.type_url() == url)
    }

    /// The number of the type in a snapshot; never changes its meaning.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::KeyOwner => 1,
            Self::Baseline => 2,
            Self::Override => 3,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.number() == number)
    }
}
