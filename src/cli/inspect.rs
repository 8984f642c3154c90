//! `pcdn inspect`: how a resource is cut.

mod follow;
mod table;

use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use pcdn_core::fragment::{Fit, Fragmenter, Need};
use pcdn_core::mapping::Mapper;
use pcdn_core::origin::{Origin as _, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHead, ResourceHint, Url};
use pcdn_transport::origin::Http;
use tokio_util::io::StreamReader;

use super::compose::{mapper, origin, wall_clock};
use super::{Exit, Failure, tell};
use crate::config::Config;
use crate::node::OpenError;
use crate::publish::{self, Inspection, Inspector, PublishError, Source, inspect, inspect_file};

/// First bytes of a resource that is of no known kind by name and type: enough to know a playlist.
const PROBE: u64 = 1024;

/// Runs the verb.
pub(crate) async fn run(what: &str, config: &Config) -> Result<Exit, Failure> {
    let is_url = what.starts_with("http://") || what.starts_with("https://");
    let subject = if is_url { of_url(what, config).await? } else { of_file(what, config).await? };
    if let Some(span) = config.inspect.follow {
        return follow::run(subject, span.0, config).await;
    }
    let report = report(subject, config).await?;
    if config.json { tell::json(&report) } else { tell::out(table::of(&report).trim_end()) }
}

/// What is inspected, and how it is read.
enum Subject {
    /// A playlist or manifest.
    Document(Inspector, Url),
    /// A continuous stream.
    Stream(Http, Arc<dyn Fragmenter>, Resource),
    /// Anything with a length, at its origin.
    Whole(Http, Arc<dyn Fragmenter>, Resource),
    /// A file on this machine.
    File(std::path::PathBuf, Arc<dyn Fragmenter>, Url, Option<pcdn_core::id::Rid>),
}

async fn report(subject: Subject, config: &Config) -> Result<Inspection, Failure> {
    let hash = config.inspect.hash;
    match subject {
        Subject::Document(inspector, url) => {
            inspector.inspect(&url, config.inspect.rendition).await.map_err(failure)
        }
        Subject::Stream(http, fragmenter, resource) => {
            follow::glance(&http, &*fragmenter, &resource, hash).await
        }
        Subject::Whole(_, fragmenter, resource) if !hash => {
            Ok(inspect(&*fragmenter, &resource, true, None::<&mut tokio::io::Empty>).await?)
        }
        Subject::Whole(http, fragmenter, resource) => {
            let body = http.get(&OriginGet::whole(resource.url.clone())).await;
            let body = body.map_err(|error| Failure::of_open(&resource.url, &OpenError::Origin(error)))?;
            let mut body = StreamReader::new(body.bytes.map_err(std::io::Error::other));
            Ok(inspect(&*fragmenter, &resource, true, Some(&mut body)).await?)
        }
        Subject::File(path, fragmenter, url, rid) => {
            Ok(inspect_file(&path, &*fragmenter, url, rid, hash).await?)
        }
    }
}

async fn of_url(text: &str, config: &Config) -> Result<Subject, Failure> {
    let url: Url = text.parse().map_err(|e| Failure::new(Exit::Usage, format!("{text}: {e}")))?;
    let failed = |error| Failure::of_open(&url, &OpenError::Origin(error));
    let http = origin(&config.node)?;
    let mapper: Arc<dyn Mapper> = Arc::new(mapper(&config.node)?);
    let mut hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    let named = choose(config, &hint)?;
    if is_document(&*named) {
        // Its name says so, or --as: it need not be asked for its head.
        let inspector = Inspector::new(Source::http(http), named, Some(mapper), config.inspect.hash);
        return Ok(Subject::Document(inspector, url));
    }
    let head = crate::node::head_of(&http, &url).await.map_err(failed)?;
    hint.content_type = head.content_type.clone();
    if head.ranges && choose(config, &hint)?.name() == "file" {
        hint.first_bytes = probe(&http, &url, &head).await.map_err(failed)?;
    }
    let fragmenter = choose(config, &hint)?;
    if is_document(&*fragmenter) {
        let inspector = Inspector::new(Source::http(http), fragmenter, Some(mapper), config.inspect.hash);
        return Ok(Subject::Document(inspector, url));
    }
    let mapping = mapper.map(&url).await.map_err(|e| Failure::other(format!("{text}: {e}")))?;
    let resource = Resource { url, rid: mapping.rid, head: Some(head) };
    let is_stream = fragmenter.open(&resource).is_ok_and(|slicing| matches!(slicing.need(), Need::Stream(_)));
    if is_stream {
        return Ok(Subject::Stream(http, fragmenter, resource));
    }
    let rid = resource.head.as_ref().map_or(mapping.rid, |head| mapping.rid_of(head));
    Ok(Subject::Whole(http, fragmenter, Resource { rid, ..resource }))
}

async fn of_file(text: &str, config: &Config) -> Result<Subject, Failure> {
    let path = std::path::absolute(text).map_err(|e| Failure::disk(text, &e))?;
    let own =
        || Url::from_file_path(&path).map_err(|()| Failure::new(Exit::Usage, format!("{text} is no path")));
    let mut url = config.inspect.base_url.clone().map_or_else(own, Ok)?;
    let mut hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    if publish::is_playlist(Path::new(text)).map_err(|e| Failure::disk(text, &e))? {
        hint.first_bytes = std::fs::read(text).map_err(|e| Failure::disk(text, &e))?;
    }
    let fragmenter = choose(config, &hint)?;
    let mapper = config.inspect.base_url.as_ref().map(|_| mapper(&config.node)).transpose()?;
    if is_document(&*fragmenter) {
        if mapper.is_none() {
            // Segments are known by http URLs only; any will do, for no name is told.
            url = Url::parse("http://localhost/")
                .and_then(|base| base.join(url.path()))
                .map_err(Failure::other)?;
        }
        let mapper = mapper.map(|mapper| Arc::new(mapper) as Arc<dyn Mapper>);
        let source = Source::local(&path, &url)?;
        return Ok(Subject::Document(Inspector::new(source, fragmenter, mapper, config.inspect.hash), url));
    }
    let rid = match mapper {
        Some(mapper) => mapper.map(&url).await.ok().map(|mapping| mapping.rid),
        None => None,
    };
    Ok(Subject::File(path, fragmenter, url, rid))
}

async fn probe(
    http: &Http,
    url: &Url,
    head: &ResourceHead,
) -> Result<Vec<u8>, pcdn_core::origin::OriginError> {
    let range = ByteRange::new(0, head.len.map_or(PROBE, |len| len.min(PROBE)));
    let Some(range) = range else { return Ok(Vec::new()) };
    let body = http.get(&OriginGet { range: Some(range), ..OriginGet::whole(url.clone()) }).await?;
    let chunks: Vec<bytes::Bytes> = body.bytes.try_collect().await?;
    Ok(chunks.concat())
}

/// The fragmenter that was asked for, else the one that a node would take.
fn choose(config: &Config, hint: &ResourceHint) -> Result<Arc<dyn Fragmenter>, Failure> {
    let all = pcdn_media::standard_at(wall_clock());
    if let Some(kind) = &config.inspect.kind {
        let names: Vec<_> = all.iter().map(|f| f.name()).collect();
        let found = all.iter().find(|f| f.name() == kind).cloned();
        return found.ok_or_else(|| {
            Failure::new(Exit::Usage, format!("--as {kind}: known kinds are {}", names.join(", ")))
        });
    }
    let with = |fit: Fit| all.iter().find(|f| f.fit(hint) == fit).cloned();
    with(Fit::Sure)
        .or_else(|| with(Fit::Maybe))
        .ok_or_else(|| Failure::other("no fragmenter knows this kind; give --as KIND"))
}

fn is_document(fragmenter: &dyn Fragmenter) -> bool {
    matches!(fragmenter.name(), "hls" | "dash")
}

/// What the origin said, with its own exit status.
fn failure(error: PublishError) -> Failure {
    match error {
        PublishError::Origin { url, source } => Failure::of_open(&url, &OpenError::Origin(source)),
        error @ PublishError::NoRendition { .. } => Failure::new(Exit::Usage, error),
        error => error.into(),
    }
}
