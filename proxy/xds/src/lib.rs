//! Delta-ADS client: resources into a route table, a last-known-good snapshot on disk.
