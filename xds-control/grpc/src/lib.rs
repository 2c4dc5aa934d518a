//! Delta ADS for our resource types, and the Routes API over gRPC.
