//! Trust: whose routing keys count.

/// Whose routing keys count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Every carrier counts: peers inside the mesh.
    All,
    /// Only signed keys count, anything else is stripped: an edge with known clients.
    Signed,
    /// No key counts and every carrier is stripped: an edge towards the world.
    #[default]
    None,
}
