//! Who signs the slices beside the server: it reads the stream as any viewer does, and writes the manifest of the newest.

use pcdn::core::Bytes;
use pcdn::core::fragment::{Cut, Fragmenter as _, Part, Slicing};
use pcdn::core::id::{Identity, Rid};
use pcdn::core::resource::{Resource, ResourceHead};
use pcdn::core::unit::Time;
use pcdn::media::Flv;
use pcdn::publish::SliceSigner;

use super::server::{Server, Tag};
use super::viewer::url;

/// The signer, and where it is in the stream.
#[derive(Debug)]
pub(crate) struct Signer {
    slicing: Box<dyn Slicing>,
    signer: SliceSigner,
    next: Tag,
    manifest: Bytes,
}

impl Signer {
    /// It connects, and is sent `greeting` and then `next`.
    pub(crate) fn new(greeting: Vec<u8>, next: Tag) -> Self {
        let flv = Flv::default();
        let resource = Resource { url: url(), rid: Rid([0; 32]), head: Some(ResourceHead::default()) };
        let mut slicing = flv.open(&resource).unwrap();
        slicing.supply(Time::ZERO, Part::Bytes(greeting.into())).unwrap();
        let signer = SliceSigner::new(Identity::from_secret([77; 32]), flv.rule(), None, 0);
        Self { slicing, signer, next, manifest: Bytes::new() }
    }

    /// The manifest of what `server` has sent so far.
    pub(crate) fn manifest(&mut self, server: &Server) -> Bytes {
        let mut sent = Vec::new();
        self.next = server.send(&mut sent, self.next, 0);
        self.slicing.supply(Time::ZERO, Part::Bytes(sent.into())).unwrap();
        while let Some(cut) = self.slicing.cut() {
            if let Cut::Sliced(slice) = cut
                && let Some(manifest) = self.signer.take(&slice, server.now_ms()).unwrap()
            {
                self.manifest = manifest.into();
            }
        }
        self.manifest.clone()
    }
}
