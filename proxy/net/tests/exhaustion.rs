//! The accept loop without descriptors. Alone in its file, hence in its process: it lowers the process's limit.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spurline_net::{AcceptFault, Acceptor, ConnectError, ListenOptions, connect, listen};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// Takes descriptors until there is none left.
fn take_all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn the_accept_loop_survives_a_lack_of_descriptors_and_recovers() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).unwrap();
    let listener = listen("127.0.0.1:0".parse().unwrap(), ListenOptions::default()).unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&faults);
    let mut acceptor = Acceptor::new(vec![listener], move |fault| {
        assert_eq!(fault, AcceptFault::Descriptors);
        counted.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();

    for round in 1..=3 {
        let mut ballast = take_all_descriptors();
        assert!(matches!(connect(addr, PATIENCE).await, Err(ConnectError::DescriptorLimit)));
        // The client gets the last descriptor; its connection waits in the backlog.
        drop(ballast.pop());
        let client = TcpStream::connect(addr).unwrap();
        // Twice as often if a busy machine has not let it try again within the first 200 ms.
        while faults.load(Ordering::Relaxed) < 2 {
            let starved = timeout(Duration::from_millis(200), acceptor.accept()).await;
            assert!(starved.is_err(), "round {round}: accepted without a descriptor");
        }
        let attempts = faults.swap(0, Ordering::Relaxed);
        assert!(attempts <= 10, "round {round}: {attempts} attempts are not backing off");

        drop(ballast);
        let accepted = timeout(PATIENCE, acceptor.accept()).await.expect("accepting recovers");
        assert_eq!(accepted.peer, client.local_addr().unwrap());
    }
}
