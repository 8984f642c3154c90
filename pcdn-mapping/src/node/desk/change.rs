//! What publishers change.

use pcdn_core::resource::Url;

use super::{Called, Desk, DeskError, Published};
use crate::answer::{MapAnswer, PLACES_MAX, PublishBody};
use crate::canonical::host_of;
use crate::node::entry::{Entry, Named};
use crate::node::queue::Look;

impl Desk {
    /// Publishes rules.
    pub(in crate::node) async fn put_rules(&self, token: &str, text: String) -> Result<u64, DeskError> {
        if !self.inner.parts.tokens.cover_all(token) {
            return Err(DeskError::Token("everybody's rules".into()));
        }
        let have = self.rules().await?.rules.version();
        let new = Published::new(text, &self.inner.parts)?;
        let version = new.rules.version();
        if version <= have {
            return Err(DeskError::Old { have });
        }
        self.inner.catalog.put_rules(&new.text).await?;
        self.hold(new);
        Ok(version)
    }

    /// These URLs are one content, says its publisher.
    pub(in crate::node) async fn publish(
        &self,
        token: &str,
        body: PublishBody,
    ) -> Result<MapAnswer, DeskError> {
        if body.urls.is_empty() || body.urls.len() > PLACES_MAX || body.trackers.len() > PLACES_MAX {
            return Err(DeskError::Bounds(format!("1 to {PLACES_MAX} URLs and at most as many trackers")));
        }
        let mut texts = Vec::new();
        for url in &body.urls {
            self.covered(token, url)?;
            texts.push(crate::canonical(url)?.text);
        }
        let first = &body.urls[0];
        let Called { rid, named, .. } = self.name(first).await?;
        let rid = body.rid.unwrap_or(rid);
        let old = self.inner.catalog.entry(&rid).await?;
        let mut entry = old.unwrap_or_else(|| Entry::new(rid, first.clone(), named.clone()));
        (entry.urls, entry.trackers, entry.published) = (body.urls.clone(), body.trackers, true);
        entry.by = "its publisher".into();
        self.inner.catalog.put_entry(&entry).await?;
        for text in texts {
            self.inner.catalog.publish(&text, &rid).await?;
        }
        self.look_again(&entry, named);
        Ok(self.answer(&entry, None))
    }

    /// The URL has another content now, says its publisher.
    pub(in crate::node) async fn purge(&self, token: &str, urls: &[Url]) -> Result<usize, DeskError> {
        for url in urls {
            self.covered(token, url)?;
        }
        let mut purged = 0;
        for url in urls {
            let Called { rid, named, .. } = self.name(url).await?;
            let Some(mut entry) = self.inner.catalog.entry(&rid).await? else { continue };
            let before = entry.current.take();
            (entry.unreadable, entry.looked_ms) = (None, 0);
            self.inner.catalog.put_entry(&entry).await?;
            if let Some(before) = before {
                self.inner.catalog.drop_manifest(&rid, &before.id).await?;
            }
            self.look_again(&entry, named);
            purged += 1;
        }
        Ok(purged)
    }

    fn covered(&self, token: &str, url: &Url) -> Result<(), DeskError> {
        let host = host_of(url);
        let covered = self.inner.parts.tokens.cover(token, &host);
        covered.then_some(()).ok_or(DeskError::Token(host))
    }

    fn look_again(&self, entry: &Entry, named: Named) {
        if let Some(url) = entry.urls.iter().find(|url| self.may_read(url)) {
            self.queue().pardon(url);
            self.want(Look { rid: entry.rid, url: url.clone(), named });
        }
    }
}
