//! The sockets of the control service: TCP or Unix, TLS with reloadable certificates, who may listen without authentication.
