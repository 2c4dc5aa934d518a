//! HTTP/2 connections and their streams, of clients and to upstreams.
//!
//! A connection is a [`Session`], which its streams share, and a [`Driver`], which moves the bytes of its socket. Every
//! stream is served by a task of its own through a [`Stream`], which the relay treats as it treats an HTTP/1
//! connection. All of a session is on one thread; nothing is awaited while it is borrowed.

mod driver;
mod inboxes;
mod output;
mod serve;
mod session;
mod stream;
pub(crate) mod upstream;
mod windows;

pub(crate) use driver::Driver;
pub(crate) use serve::{Job, serve};
pub(crate) use session::{Loss, Opened, Readiness, Session};
pub(crate) use stream::{Held, Response, Stream};
pub(crate) use windows::Windows;
