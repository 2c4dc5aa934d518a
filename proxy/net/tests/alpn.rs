//! What a TLS handshake agrees on, with peers that are not ours on the other side.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use spurline_net::{
    ConnectError, Transport, connect_tls,
    tls::{
        Alpn, CertificateFiles, ClientFiles, ClientTls, HandshakeFault, Hello, MinVersion, ServerFiles,
        ServerTls, Speech,
    },
};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const NAME: &str = "a.example";
const PATIENCE: Duration = Duration::from_secs(20);
const SPEECHES: [Speech; 4] = [Speech::Http, Speech::Http1, Speech::Http2, Speech::Opaque];
/// What a peer names, the preferred one first.
const OFFERS: [&[&str]; 6] =
    [&["h2", "http/1.1"], &["http/1.1", "h2"], &["h2"], &["http/1.1"], &["spdy/3"], &[]];

/// A certificate that signs itself, as files for us and in memory for the other side.
struct Identity {
    folder: TempDir,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { folder, certificate: made.cert.der().clone(), key: made.signing_key.into() }
    }

    fn our_server(&self) -> ServerTls {
        let (cert, key) = (self.folder.path().join("cert.pem"), self.folder.path().join("key.pem"));
        let certificates = vec![CertificateFiles { names: Vec::new(), cert, key }];
        let min_version = MinVersion::Tls12;
        ServerTls::load(ServerFiles { certificates, client_ca: None, min_version }).unwrap()
    }

    fn our_client(&self) -> ClientTls {
        let ca = self.folder.path().join("cert.pem");
        let server_name = Some(NAME.to_owned());
        ClientTls::load(ClientFiles { ca, identity: None, server_name, min_version: MinVersion::Tls12 })
            .unwrap()
    }

    fn their_client(&self, offer: &[&str]) -> TlsConnector {
        self.their_client_of(rustls::crypto::ring::default_provider(), offer)
    }

    fn their_client_of(&self, provider: CryptoProvider, offer: &[&str]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let mut config = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = names(offer);
        Arc::new(config).into()
    }

    fn their_server(&self, offer: &[&str]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = builder
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        config.alpn_protocols = names(offer);
        Arc::new(config).into()
    }
}

fn names(offer: &[&str]) -> Vec<Vec<u8>> {
    offer.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn name_of(alpn: Alpn) -> &'static [u8] {
    match alpn {
        Alpn::Http1 => b"http/1.1",
        Alpn::Http2 => b"h2",
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Our side of one connection that arrives.
async fn accept(
    server: &ServerTls,
    listener: TcpListener,
    speech: Speech,
) -> Result<Transport, HandshakeFault> {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut hello, mut received) = (Hello::default(), Vec::new());
    let heard = loop {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
        if let Some(heard) = hello.read(&received).unwrap() {
            break heard;
        }
    };
    server.offer().accept(heard, stream, speech).await.map_err(|failure| failure.error.fault)
}

/// What a server of `speech` and a client with `offer` are to agree on; the error: the client is refused.
fn agreed(speech: Speech, offer: &[&str]) -> Result<Option<Alpn>, HandshakeFault> {
    let has = |name| offer.contains(&name);
    match speech {
        Speech::Opaque => Ok(None),
        _ if offer.is_empty() => Ok(None),
        Speech::Http | Speech::Http2 if has("h2") => Ok(Some(Alpn::Http2)),
        Speech::Http | Speech::Http1 if has("http/1.1") => Ok(Some(Alpn::Http1)),
        _ => Err(HandshakeFault::Incompatible),
    }
}

#[tokio::test]
async fn aes_128_is_preferred_unless_the_client_has_no_aes_in_hardware() {
    let (aes_256, chacha20) =
        (CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let identity = Identity::new();
    let server = identity.our_server();
    for (first, agreed) in [
        (aes_256, CipherSuite::TLS13_AES_128_GCM_SHA256),
        (chacha20, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ] {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != first);
        let (listener, addr) = listener().await;
        let stream = TcpStream::connect(addr).await.unwrap();
        let client = identity.their_client_of(provider, &[]);
        let theirs = client.connect(ServerName::try_from(NAME).unwrap(), stream);
        let (ours, theirs) = tokio::join!(accept(&server, listener, Speech::Http1), theirs);
        assert!(ours.is_ok());
        let suite = theirs.unwrap().get_ref().1.negotiated_cipher_suite().unwrap();
        assert_eq!(suite.suite(), agreed);
    }
}

#[tokio::test]
async fn a_client_gets_what_we_prefer_of_its_offer_and_is_refused_without_any_of_ours() {
    let identity = Identity::new();
    let server = identity.our_server();
    for speech in SPEECHES {
        for offer in OFFERS {
            let (listener, addr) = listener().await;
            let stream = TcpStream::connect(addr).await.unwrap();
            let theirs = identity.their_client(offer).connect(ServerName::try_from(NAME).unwrap(), stream);
            let (ours, theirs) = tokio::join!(accept(&server, listener, speech), theirs);
            let ours = ours.map(|transport| transport.session().unwrap().alpn);
            assert_eq!(ours, agreed(speech, offer), "{speech:?} {offer:?}");
            match ours {
                Ok(alpn) => {
                    let theirs = theirs.unwrap();
                    assert_eq!(theirs.get_ref().1.alpn_protocol(), alpn.map(name_of), "{speech:?} {offer:?}");
                }
                Err(_) => {
                    let told = theirs.unwrap_err().to_string();
                    assert!(told.contains("NoApplicationProtocol"), "{speech:?} {offer:?}: {told}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_chooses_of_our_offer_and_may_choose_nothing() {
    let identity = Identity::new();
    let client = identity.our_client();
    for speech in SPEECHES {
        for offer in OFFERS {
            let (listener, addr) = listener().await;
            let acceptor = identity.their_server(offer);
            let theirs = async { acceptor.accept(listener.accept().await.unwrap().0).await };
            let (ours, _theirs) = tokio::join!(connect_tls(addr, PATIENCE, &client, speech), theirs);
            // The server's order decides.
            let chosen = match (speech, offer) {
                (Speech::Http, ["http/1.1", "h2"]) => Ok(Some(Alpn::Http1)),
                _ => agreed(speech, offer).map_err(|_| HandshakeFault::Refused),
            };
            let ours = match ours {
                Ok(transport) => Ok(transport.session().unwrap().alpn),
                Err(ConnectError::Tls(error)) => Err(error.fault),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(ours, chosen, "{speech:?} {offer:?}");
        }
    }
}

#[tokio::test]
async fn what_was_agreed_on_before_binds_no_later_connection() {
    let identity = Identity::new();
    let (server, client) = (identity.our_server(), identity.our_client());
    let both = [Speech::Http1, Speech::Http2, Speech::Http, Speech::Opaque, Speech::Http2];
    let expected = [Some(Alpn::Http1), Some(Alpn::Http2), Some(Alpn::Http2), None, Some(Alpn::Http2)];
    for (at, (speech, expected)) in both.into_iter().zip(expected).enumerate() {
        let (listener, addr) = listener().await;
        let connecting = connect_tls(addr, PATIENCE, &client, speech);
        let (accepted, connected) = tokio::join!(accept(&server, listener, speech), connecting);
        let (accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
        let (ours, theirs) = (accepted.session().unwrap(), connected.session().unwrap());
        assert_eq!((ours.alpn, theirs.alpn), (expected, expected), "{speech:?}");
        assert_eq!(ours.resumed, at > 0, "sessions are gone on from");
        drop(accepted);
        // Takes in the session tickets, and then the end.
        assert_eq!(connected.read(&mut [0]).await.unwrap(), 0);
    }
}
