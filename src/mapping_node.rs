//! The mapping node as a server, and a mapper that asks one. What they do is in [`pcdn_mapping::node`] and
//! [`pcdn_mapping::remote`]; this gives them sockets, fetching and cutting.

mod ask;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::resource::{Resource, Url};
use pcdn_mapping::node::http::router;
use pcdn_mapping::node::{Cutter, Desk, ListError, Lister, MapStore, NodeConfig, Parts, Tokens};
use pcdn_mapping::remote::{Remote, RemoteConfig, WellKnown};
use pcdn_transport::origin::{Http, HttpConfig, OriginPattern};

use crate::http::{self, Limits, Listening};
use crate::node::SystemClock;
use crate::publish::{PublishError, Source, cut_as_viewers_do, list_as_viewers_do};

pub use ask::Asking;

/// Connections at a time. Answers are small and mostly cached elsewhere; each connection costs about 20 KiB.
const CONNECTIONS_MAX: usize = 1_024;

/// How a mapping node is set up.
#[derive(Debug)]
pub struct MappingConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its choices.
    pub node: NodeConfig,
    /// Who signs.
    pub key: Identity,
    /// Where it keeps its records.
    pub store: Arc<dyn MapStore>,
    /// Who may change what.
    pub tokens: Tokens,
    /// How it fetches. Its `allow` and `only_allowed` are set from [`NodeConfig::allow`]: whatever a redirect or DNS says, only
    /// those hosts are reached.
    pub http: HttpConfig,
}

/// A running mapping node.
#[derive(Debug)]
pub struct MappingNode {
    listening: Listening,
    desk: Desk,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MappingError {
    /// The address.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The records or the rules.
    #[error(transparent)]
    Desk(#[from] pcdn_mapping::node::DeskError),
    /// Fetching.
    #[error(transparent)]
    Http(#[from] pcdn_transport::origin::HttpConfigError),
    /// A host that is none.
    #[error(transparent)]
    Allow(#[from] pcdn_transport::origin::PatternError),
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Dice(std::io::Error),
}

impl MappingNode {
    /// Opens the records and serves. When this returns, it answers.
    pub async fn start(config: MappingConfig) -> Result<Self, MappingError> {
        let MappingConfig { listen, node, key, store, tokens, mut http } = config;
        http.allow = node.allow.iter().map(|host| host.parse::<OriginPattern>()).collect::<Result<_, _>>()?;
        http.only_allowed = true;
        let dice = crate::dice().map_err(MappingError::Dice)?;
        let origin = Arc::new(Http::new(http, dice)?);
        let clock = Arc::new(SystemClock::default());
        let list = lister(Source::http(origin.as_ref().clone()));
        let parts = Parts { key, store, origin, cut: cutter(), list, tokens, clock };
        let desk = Desk::open(parts, node).await?;
        let listeners = http::bind(listen).await.map_err(|error| MappingError::Listen(listen, error))?;
        let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::default() };
        let routes = TowerToHyperService::new(router(desk.clone()));
        let listening = http::serve(listeners, limits, move |request, _| {
            let answer = routes.call(request);
            async move {
                let response = answer.await.unwrap_or_else(|never| match never {});
                response.map(|body| body.map_err(Into::into).boxed_unsync())
            }
        });
        Ok(Self { listening, desk })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listening.local_addrs()
    }

    /// Its URL on this machine.
    pub fn url(&self) -> Url {
        let at = self.local_addrs().first().expect("a server has an address");
        Url::parse(&format!("http://{at}/")).expect("an address makes a URL")
    }

    /// Whose signature viewers pin.
    pub fn key(&self) -> PeerId {
        self.desk.key()
    }

    /// Takes no new connection and ends the open ones.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

/// Cuts as every node does that knows no more than the head.
fn cutter() -> Cutter {
    let kinds = pcdn_media::standard();
    Arc::new(move |url, head| {
        let rid = pcdn_core::id::Rid([0; 32]);
        cut_as_viewers_do(&kinds, &Resource { url: url.clone(), rid, head: Some(head.clone()) })
    })
}

/// Lists as every node does, what has ended.
fn lister(source: Source) -> Lister {
    let kinds = Arc::new(pcdn_media::standard());
    Arc::new(move |url| {
        let (source, kinds) = (source.clone(), kinds.clone());
        Box::pin(async move {
            let never = |why: &str| Err(ListError::Never(why.to_owned()));
            match list_as_viewers_do(&source, &kinds, &url).await {
                Ok((_, listings, _)) if listings.is_empty() => never("it lists no segment"),
                Ok((rule, listings, true)) => Ok((rule, listings)),
                Ok(_) => never("it goes on: its publisher signs beside the packager (pcdn sign --follow)"),
                Err(PublishError::Origin { source, .. }) => Err(ListError::Origin(source)),
                Err(error) => Err(ListError::Never(error.to_string())),
            }
        })
    })
}

/// A mapper by the mapping node at `node`, whose rules are kept in `file`. `key` is whose signature counts; `None` believes
/// whoever answers there. Only that host is asked, whatever it redirects to, and without any credential.
///
/// # Errors
/// If the client cannot be made.
pub fn mapper(
    node: &Url,
    key: Option<PeerId>,
    file: Option<PathBuf>,
    http: HttpConfig,
) -> Result<Remote, MappingError> {
    let allow = vec![place(node).parse()?];
    // A question is worth a second; it is not asked twice.
    let http = HttpConfig { allow, only_allowed: true, headers: Vec::new(), attempts: 1, ..http };
    let http = Http::new(http, crate::dice().map_err(MappingError::Dice)?)?;
    let config = RemoteConfig { node: node.clone(), key, file, unasked: false };
    Ok(Remote::new(config, Asking::new(http), Arc::new(SystemClock::default())))
}

/// A mapper by what each origin says of itself, asked with `http` as its content is: the same guard and connections, no credentials.
pub fn well_known(http: &Http) -> WellKnown {
    WellKnown::new(Asking::new(http.attempts(1)), Arc::new(SystemClock::default()))
}

/// `HOST:PORT` of a URL.
pub(crate) fn place(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
