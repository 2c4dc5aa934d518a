//! Messages on the wire: ours go out as the bytes they are given, theirs come in decoded.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// The largest message that is taken. A peer may be more careful than we are.
pub(super) const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The path of the one method.
pub(super) const PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Sends bytes and receives messages.
pub(super) struct Frames<T>(PhantomData<fn() -> T>);

pub(super) struct Raw;
pub(super) struct Typed<T>(PhantomData<fn() -> T>);

impl<T> Frames<T> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Default + 'static> Codec for Frames<T> {
    type Encode = Bytes;
    type Decode = T;
    type Encoder = Raw;
    type Decoder = Typed<T>;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Typed<T> {
        Typed(PhantomData)
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl<T: Message + Default + 'static> Decoder for Typed<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        T::decode(bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("the peer sent no message: {error}")))
    }
}

/// The runtime of all peers of this process.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(new_runtime);

pub(super) fn new_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime")
}

pub(super) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// Runs a future to its end, or for as long as `deadline`.
pub(super) fn within<T>(deadline: Duration, future: impl Future<Output = T>) -> Option<T> {
    runtime().block_on(async { tokio::time::timeout(deadline, future).await.ok() })
}
