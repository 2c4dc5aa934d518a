//! The REST API: sandboxes and route groups kept in a local store, watched as server-sent events; the Routes API over HTTP.
