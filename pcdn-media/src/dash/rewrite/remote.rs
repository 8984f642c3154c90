//! Elements that a manifest has elsewhere: players fetch them by themselves, and must stay inside the gateway with what those say.

use pcdn_core::fragment::FragmentError;
use pcdn_core::resource::Url;

use super::{RewriteOptions, Sites, What, is_http, splice};
use crate::dash::track::resolve;
use crate::dash::xml::Walker;

/// As [`rewrite`](super::rewrite), for what a manifest has elsewhere ([`remotes`]): elements that are fetched by themselves, one or several. `base` is what
/// they are relative to: the manifest's, not where they came from. Base URLs of what is around them in the manifest count for nothing
/// here: only the host of a reference that begins with a slash could be another by them.
///
/// # Errors
/// If it is no XML, or larger than the bounds of this module.
pub fn rewrite_remote(
    text: &[u8],
    base: &Url,
    to: &mut dyn FnMut(&Url) -> String,
) -> Result<Vec<u8>, FragmentError> {
    let edits = Sites::of(Walker::remote(text)?)?.edits(base, to, &RewriteOptions::default());
    Ok(splice(text, edits))
}

/// What a manifest has elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remotes {
    /// Elements of it (`@xlink:href`).
    pub urls: Vec<Url>,
    /// What those are relative to.
    pub base: Url,
    /// Servers that say which base URL to take (`ContentSteering`). Their answers are for one player.
    pub steering: Vec<Url>,
}

/// What the manifest `text`, which came from `document`, has elsewhere.
///
/// # Errors
/// If it is no manifest, or larger than the bounds of this module.
pub fn remotes(text: &[u8], document: &Url) -> Result<Remotes, FragmentError> {
    let found = Sites::of(Walker::new(text)?)?;
    let base = found.levels.first().and_then(|root| resolve(document, root.base.as_ref()?.trim()));
    let base = base.unwrap_or_else(|| document.clone());
    let all = |what: What, base: &Url| {
        let sites = found.sites.iter().filter(|site| site.what == what);
        sites.filter_map(|site| resolve(base, &site.value)).filter(is_http).collect()
    };
    Ok(Remotes { urls: all(What::Remote, &base), steering: all(What::Steering, document), base })
}
