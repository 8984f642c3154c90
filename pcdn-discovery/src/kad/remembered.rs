//! Nodes that were reached, kept on disk: a restart then needs no bootstrap node.
//!
//! A file of lines, one [`Contact`] each, newest first. Whoever can write it could as well replace the bootstrap list; lines
//! that are no contacts are passed over.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::contact::Contact;

/// Nodes kept. With half of them gone after a week, a hundred are left to try.
pub(super) const KEPT_MAX: usize = 200;
/// A file longer than this is not ours: 200 lines of 150 bytes are half of it.
const FILE_MAX: u64 = 64 << 10;

/// The list, newest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    contacts: Vec<Contact>,
}

impl Remembered {
    /// What `file` holds; nothing if it does not exist or cannot be read.
    pub(super) fn load(file: &Path) -> Self {
        let mut text = Vec::new();
        let read = std::fs::File::open(file).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
        match read {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = %file.display(), %error, "remembered DHT nodes cannot be read");
            }
            _ => {}
        }
        let lines = String::from_utf8_lossy(&text);
        let known = |contact: &Contact| contact.peer().is_some() && contact.addr().is_some();
        let contacts = lines.lines().filter_map(|line| line.parse().ok()).filter(known).take(KEPT_MAX);
        Self { contacts: contacts.collect() }
    }

    /// Writes the list beside `file` and puts it in its place.
    pub(super) fn save(&self, file: &Path) -> io::Result<()> {
        let beside = file.with_extension("new");
        let mut out = std::fs::File::create(&beside)?;
        for contact in &self.contacts {
            writeln!(out, "{contact}")?;
        }
        out.sync_all()?;
        std::fs::rename(&beside, file)
    }

    /// A node was reached. True if that is news.
    pub(super) fn reached(&mut self, contact: Contact) -> bool {
        if self.contacts.first() == Some(&contact) {
            return false;
        }
        let peer = contact.peer();
        let before = self.contacts.len();
        self.contacts.retain(|known| known.peer() != peer);
        let news = self.contacts.len() == before;
        self.contacts.insert(0, contact);
        self.contacts.truncate(KEPT_MAX);
        news
    }

    /// All, newest first.
    pub(super) fn all(&self) -> &[Contact] {
        &self.contacts
    }
}

#[cfg(test)]
mod tests {
    use pcdn_core::id::PeerId;

    use super::*;

    fn contact(n: u16) -> Contact {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        Contact::new(([192, 0, 2, 1], n + 1).into(), PeerId(id))
    }

    #[test]
    fn the_last_200_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dht.peers");
        assert!(Remembered::load(&file).all().is_empty());
        let mut list = Remembered::default();
        (0..300).for_each(|n| assert!(list.reached(contact(n))));
        assert!(!list.reached(contact(250)), "one that comes again moves to the front");
        list.save(&file).unwrap();
        let loaded = Remembered::load(&file);
        assert_eq!(loaded.all().len(), KEPT_MAX);
        assert_eq!(loaded.all()[..2], [contact(250), contact(299)]);
    }

    #[test]
    fn a_file_of_rubbish_is_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dht.peers");
        let lines =
            [b"\xff\xfe/ip4/\n".to_vec(), format!("{}\n", contact(1)).into_bytes(), vec![b'a'; 1 << 20]];
        std::fs::write(&file, lines.concat()).unwrap();
        assert_eq!(Remembered::load(&file).all(), [contact(1)]);
    }
}
