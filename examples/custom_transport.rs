//! Learn: bring your own links. Two nodes of one machine share a film over a Unix socket; `StreamSession` turns any byte
//! stream into a session, so what is left to write is connecting and proving who is who.
//!
//! Run: `cargo run --example custom_transport`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pcdn::core::async_trait;
use pcdn::core::id::{Identity, PeerId};
use pcdn::core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn::core::transport::{Provider, Session, Transport, TransportError};
use pcdn::transport::channel::StreamSession;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio_util::sync::CancellationToken;

/// Links over Unix sockets in one directory. A peer's address is a number there, written as a port: `other://127.0.0.1:7`.
#[derive(Debug)]
struct Unix {
    shared: Arc<Shared>,
    number: u16,
    accepted: AsyncMutex<mpsc::Receiver<Arc<StreamSession>>>,
}

#[derive(Debug)]
struct Shared {
    me: Identity,
    provider: Arc<dyn Provider>,
    dir: PathBuf,
    sessions: Mutex<Vec<Weak<StreamSession>>>,
    stop: CancellationToken,
}

/// Sessions waiting to be accepted: a burst of dialling neighbours; more wait in the socket's own queue.
const ACCEPTED_MAX: usize = 16;
/// Longest a handshake may take on one machine.
const HANDSHAKE: Duration = Duration::from_secs(2);

impl Unix {
    fn bind(dir: &Path, number: u16, me: &Identity, provider: Arc<dyn Provider>) -> io::Result<Self> {
        let listener = UnixListener::bind(path_of(dir, number))?;
        let (sessions, stop) = (Mutex::default(), CancellationToken::new());
        let shared = Arc::new(Shared { me: me.clone(), provider, dir: dir.to_owned(), sessions, stop });
        let (to, accepted) = mpsc::channel(ACCEPTED_MAX);
        let listening = shared.clone();
        tokio::spawn(async move { listening.stop.run_until_cancelled(listening.listen(listener, to)).await });
        Ok(Self { shared, number, accepted: accepted.into() })
    }
}

fn path_of(dir: &Path, number: u16) -> PathBuf {
    dir.join(format!("{number}.sock"))
}

#[async_trait]
impl Transport for Unix {
    fn scheme(&self) -> Scheme {
        Scheme::Other
    }

    fn local(&self) -> Vec<PeerAddr> {
        vec![PeerAddr { scheme: Scheme::Other, addr: ([127, 0, 0, 1], self.number).into() }]
    }

    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        let addr = peer.addrs.iter().find(|addr| addr.scheme == Scheme::Other);
        let addr = *addr.ok_or(TransportError::NoAddress(Scheme::Other))?;
        let dial = async {
            let mut stream = UnixStream::connect(path_of(&self.shared.dir, addr.addr.port())).await.ok()?;
            Some(prove_to(&mut stream, &self.shared.me, &peer.id).await.map(|()| stream))
        };
        match tokio::time::timeout(HANDSHAKE, dial).await {
            Ok(Some(Ok(stream))) => Ok(self.shared.session(peer.id, stream)),
            Ok(Some(Err(_))) => Err(TransportError::Impostor(addr)),
            Ok(None) | Err(_) => Err(TransportError::Silent(addr)),
        }
    }

    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        let mut accepted = self.accepted.lock().await;
        accepted.recv().await.map(|session| session as Arc<dyn Session>).ok_or(TransportError::Closed)
    }

    async fn close(&self, _grace: Duration) {
        self.shared.stop.cancel();
        let sessions =
            std::mem::take(&mut *self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner));
        sessions.iter().filter_map(Weak::upgrade).for_each(|session| session.close());
    }
}

impl Shared {
    /// Takes in whoever dials and proves who it is; one at a time, as a handshake on one machine takes no time.
    async fn listen(self: &Arc<Self>, listener: UnixListener, to: mpsc::Sender<Arc<StreamSession>>) {
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Ok(Ok(peer)) = tokio::time::timeout(HANDSHAKE, be_proven_to(&mut stream, &self.me)).await
                && to.send(self.session(peer, stream)).await.is_err()
            {
                return;
            }
        }
    }

    fn session(&self, peer: PeerId, stream: UnixStream) -> Arc<StreamSession> {
        let session = StreamSession::new(peer, stream, self.provider.clone());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(&session));
        session
    }
}

/// What each side signs: the other's challenge and both names, so that a signature is good for this link only.
fn claim(challenge: &[u8; 32], from: &PeerId, to: &PeerId) -> Vec<u8> {
    [b"unix link v1".as_slice(), challenge, &from.0, &to.0].concat()
}

fn challenge() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

async fn array<const N: usize>(stream: &mut UnixStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The dialling side: "to `peer`, from me, prove this" — "proof, prove this" — "proof".
async fn prove_to(stream: &mut UnixStream, me: &Identity, peer: &PeerId) -> io::Result<()> {
    let (mine, my_id) = (challenge()?, me.peer_id());
    stream.write_all(&[peer.0, my_id.0, mine].concat()).await?;
    let (proof, theirs) = (array::<64>(stream).await?, array::<32>(stream).await?);
    if !peer.verify(&claim(&mine, peer, &my_id), &proof) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    stream.write_all(&me.sign(&claim(&theirs, &my_id, peer))).await
}

/// The dialled side; says who dialled.
async fn be_proven_to(stream: &mut UnixStream, me: &Identity) -> io::Result<PeerId> {
    let (to, from, theirs) =
        (PeerId(array(stream).await?), PeerId(array(stream).await?), array::<32>(stream).await?);
    let (mine, my_id) = (challenge()?, me.peer_id());
    if to != my_id {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    stream.write_all(&me.sign(&claim(&theirs, &my_id, &from))).await?;
    stream.write_all(&mine).await?;
    match from.verify(&claim(&mine, &from, &my_id), &array::<64>(stream).await?) {
        true => Ok(from),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Two nodes and a film; the share of the second that came through the socket.
async fn share() -> Result<f64, Box<dyn std::error::Error>> {
    use pcdn::core::fragment::Fragmenter;
    use pcdn::core::schedule::Policy;
    use pcdn::node::{ManifestFrom, Settings};
    use pcdn::testing::{ScriptedOrigin, content, manifest_of};

    let dir = tempfile::tempdir()?;
    let (film, url) = (content(6_000_000, 1), "http://cdn.example/film".parse()?);
    let rule = pcdn::media::File::default().rule();
    let manifest =
        manifest_of(&film, rule, pcdn::media::file::SEGMENT_BYTES, 16, &Identity::from_secret([9; 32]));
    let origin =
        ScriptedOrigin::new().with(&url, film).with(&"http://cdn.example/film.pcdn".parse()?, manifest);
    let node = |number: u16, peers| -> Result<pcdn::Node, Box<dyn std::error::Error>> {
        let me = Identity::from_secret([number as u8; 32]);
        let settings =
            Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() };
        let builder = pcdn::Node::builder(me.clone()).settings(settings);
        let link = Unix::bind(dir.path(), number, &me, builder.provider())?;
        let parts = builder.transport(link).discovery(pcdn::discovery::Fixed::new(peers));
        let parts = parts.mapper(pcdn::mapping::UrlHash::default()).fragmenters(pcdn::media::standard());
        let store = pcdn::store::Memory::of(pcdn::core::unit::ByteSize::mib(16));
        Ok(parts.store(store).origin(origin.clone()).build()?)
    };
    let first = node(1, Vec::new())?;
    first.open(&url).await?.complete().await?;
    let second = node(2, vec![first.record()])?;
    let asset = second.open(&url).await?;
    // The origin is in memory and would win every race: wait until the first has said what it holds.
    while asset.status().await.is_some_and(|status| status.peers.iter().all(|peer| peer.holds == 0)) {
        tokio::task::yield_now().await;
    }
    asset.complete().await?;
    let share = asset.report().await.p2p_ratio;
    for node in [first, second] {
        node.shutdown(Duration::from_secs(2)).await;
    }
    Ok(share)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("through the socket came {:.0} % of the film", share().await? * 100.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract_of_the_seam() {
        let dir = tempfile::tempdir().unwrap();
        let number = std::sync::atomic::AtomicU16::new(1);
        let make = async |me: &Identity, provider| {
            let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Unix::bind(dir.path(), number, me, provider).unwrap()
        };
        pcdn::conformance::transport::transport(make).await;
    }

    #[tokio::test]
    async fn nodes_share_over_it() {
        assert!(share().await.unwrap() > 0.5);
    }
}
