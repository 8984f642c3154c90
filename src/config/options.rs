//! The table of options: key, long option, and the words that explain it. Help, man page, commented file and the checks for
//! unknown keys are made from it; a test holds it equal to the fields of [`Config`](super::Config).

use super::nearest;

/// One option.
#[derive(Debug)]
pub struct Opt {
    /// Its key in a file: `section.name`.
    pub key: &'static str,
    /// Its long option, without the dashes.
    pub long: &'static str,
    /// What stands for its value in help; for [`Kind::Switch`] nothing does.
    pub value: &'static str,
    /// How its text is read.
    pub kind: Kind,
    /// What it does: the first sentence stands alone in short help.
    pub doc: &'static str,
    /// Verbs that have it.
    pub verbs: &'static [&'static str],
}

/// How an option's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One value, a text in a file.
    Text,
    /// One number.
    Number,
    /// Repeatable on the command line, separated by commas in the environment, an array in a file.
    List,
    /// On when named; `true` or `false` elsewhere.
    Switch,
}

impl Opt {
    /// `PCDN_GATEWAY__LISTEN` for `gateway.listen`.
    pub fn env(&self) -> String {
        format!("PCDN_{}", self.key.replace('.', "__").to_uppercase())
    }

    /// The option of a key.
    pub fn of_key(key: &str) -> Option<&'static Opt> {
        OPTIONS.iter().find(|opt| opt.key == key)
    }

    /// The option of an environment variable.
    pub fn of_env(name: &str) -> Option<&'static Opt> {
        OPTIONS.iter().find(|opt| opt.env() == name)
    }

    /// The known key nearest to a mistyped one: by the whole key, else by its last part.
    pub fn nearest_key(key: &str) -> Option<&'static str> {
        let sections = OPTIONS.iter().filter_map(|opt| Some(opt.key.split_once('.')?.0));
        nearest(key, OPTIONS.iter().map(|opt| opt.key)).or_else(|| nearest(key, sections)).or_else(|| {
            let last = key.rsplit('.').next()?;
            let lasts = OPTIONS.iter().filter_map(|opt| opt.key.rsplit('.').next());
            let meant = nearest(last, lasts)?;
            OPTIONS.iter().map(|opt| opt.key).find(|known| known.rsplit('.').next() == Some(meant))
        })
    }
}

const NODE: &[&str] = &["get", "peer", "play", "push", "doctor"];
const GATEWAY: &[&str] = &["peer", "play"];
const ORIGIN: &[&str] = &["get", "peer", "play", "push", "inspect", "sign"];
/// Who fetches from origins, and what of it is set alike for all of them.
const FETCHER: &[&str] = &["get", "peer", "play", "push", "inspect", "sign", "mapping"];
const MAPPING: &[&str] = &["mapping"];
const MAPPER: &[&str] = &["get", "peer", "play", "push", "map", "inspect"];
/// Who keeps something between runs; `map` reads the rules of a mapping node there.
const DATA: &[&str] = &["get", "peer", "play", "push", "cache", "map", "doctor"];
const STORE: &[&str] = &["get", "peer", "play", "push", "cache", "doctor"];
/// Every verb has it.
pub const ALL: &[&str] = &["*"];

const fn opt(
    key: &'static str,
    long: &'static str,
    value: &'static str,
    kind: Kind,
    verbs: &'static [&'static str],
    doc: &'static str,
) -> Opt {
    Opt { key, long, value, kind, doc, verbs }
}

use Kind::{List, Number, Switch, Text};

/// All options, in the order of the file and of the help.
pub const OPTIONS: &[Opt] = &[
    opt(
        "json",
        "json",
        "",
        Switch,
        ALL,
        "Standard output is JSON and nothing else. Logs and progress stay on standard error.",
    ),
    opt(
        "log.level",
        "log-level",
        "LEVEL",
        Text,
        ALL,
        "What is logged: off, error, warn, info, debug, trace. A filter such as pcdn_transport=debug,info works as well. -v and -q move it a step.",
    ),
    opt(
        "log.format",
        "log-format",
        "text|json",
        Text,
        ALL,
        "How log lines look: text for people, json for machines.",
    ),
    opt(
        "node.listen",
        "listen",
        "udp://IP:PORT|quic://IP:PORT",
        List,
        NODE,
        "Where peers reach this node. Repeatable, and both kinds may be used at once: udp costs less, quic passes where other UDP does not; where they name one IP:PORT they share its socket. A bare IP:PORT means udp; port 0 is any free port.",
    ),
    opt(
        "node.tracker",
        "tracker",
        "HOST:PORT",
        List,
        NODE,
        "A tracker to announce to and to ask for peers. Repeatable; udp://HOST:PORT and http://HOST:PORT work as well. Of several each swarm uses two, the same ones at every node with the same list. Without one, and without --dht, peers are not looked for.",
    ),
    opt(
        "node.tracker_token",
        "tracker-token",
        "FILE",
        Text,
        NODE,
        "The file with the token that the trackers' application gave this node. For trackers with --token-key.",
    ),
    opt(
        "node.dht",
        "dht",
        "MULTIADDR|none",
        List,
        NODE,
        "A node of the DHT to join by, as it prints it when it is ready: /ip4/IP/udp/PORT/quic-v1/p2p/ID; /ip6 and /dns work as well. Repeatable. none starts a network. With trackers, the DHT is asked when they find too little.",
    ),
    opt(
        "node.dht_listen",
        "dht-listen",
        "IP:PORT",
        Text,
        NODE,
        "UDP address of this node's part of the DHT, for nodes that others join by. Default: the hosts of --listen, any free port.",
    ),
    opt(
        "node.mapper",
        "mapper",
        "url|well-known|template:FILE|http(s)://NODE[#KEY]",
        List,
        MAPPER,
        "Names the content of a URL. Repeatable, the first that answers decides: url hashes the URL without its query tokens, template:FILE applies a site's rules, http(s)://NODE those of a mapping node, which is asked where they say so; #KEY pins its public key; well-known asks each origin for its own word (/.well-known/pcdn.json). While nobody answers, url decides.",
    ),
    opt(
        "node.mapping_trackers",
        "mapping-trackers",
        "on|off",
        Text,
        NODE,
        "Whether the trackers that mappers name for a content are used beside those of --tracker. Only at public addresses, or at hosts that --origin or --mapper names; never in a private swarm.",
    ),
    opt(
        "node.data_dir",
        "data-dir",
        "DIR",
        Text,
        DATA,
        "Where pieces and the identity are kept between runs. Without one, get keeps them beside its output until it is done, and a peer keeps them in memory (256 MiB at most).",
    ),
    opt(
        "node.cache_size",
        "cache-size",
        "SIZE",
        Text,
        STORE,
        "Room for pieces; the longest unused ones leave first.",
    ),
    opt(
        "node.upload_limit",
        "upload-limit",
        "RATE",
        Text,
        NODE,
        "Bytes a second given to peers, all together. Without a limit uploads still yield to whatever else uses the line.",
    ),
    opt(
        "node.upload_limit_swarm",
        "upload-limit-swarm",
        "RATE",
        Text,
        NODE,
        "Bytes a second given to the peers of each swarm.",
    ),
    opt(
        "node.upload_limit_peer",
        "upload-limit-peer",
        "RATE",
        Text,
        NODE,
        "Bytes a second given to each peer.",
    ),
    opt(
        "node.download_limit",
        "download-limit",
        "RATE",
        Text,
        NODE,
        "Bytes a second taken in, all together.",
    ),
    opt(
        "node.download_limit_swarm",
        "download-limit-swarm",
        "RATE",
        Text,
        NODE,
        "Bytes a second taken in for each swarm, from peers and origin.",
    ),
    opt(
        "node.download_limit_peer",
        "download-limit-peer",
        "RATE",
        Text,
        NODE,
        "Bytes a second taken from each peer.",
    ),
    opt(
        "node.metered",
        "metered",
        "",
        Switch,
        NODE,
        "Spares a connection whose bytes cost money. Takes from peers and gives nothing, and reads no more than 20 s ahead of a player.",
    ),
    opt(
        "node.port_mapping",
        "port-mapping",
        "on|off",
        Text,
        NODE,
        "Whether the home's router is asked to open this node's UDP ports (PCP, NAT-PMP, UPnP), so that peers reach it at once. Only where this machine has a private address.",
    ),
    opt(
        "node.lan_discovery",
        "lan-discovery",
        "on|off",
        Text,
        NODE,
        "Whether peers in the same local network are looked for there, by multicast, so that they need no tracker to meet and no router to talk. Only in networks with private addresses.",
    ),
    opt(
        "node.p2p",
        "p2p",
        "on|off|download-only",
        Text,
        NODE,
        "Whether peers are used. off: everything comes from the origin, exactly as without pcdn; download-only: takes and gives nothing.",
    ),
    opt(
        "node.policy",
        "policy",
        "cost|balanced|speed",
        Text,
        NODE,
        "What is bought. cost reads the origin as little as possible, speed takes whatever is fastest, balanced prefers peers where that costs no time. Under cost a player's first bytes may come from peers; else the origin is asked for them at once.",
    ),
    opt(
        "node.integrity",
        "integrity",
        "signed|witnessed|sampled",
        Text,
        NODE,
        "The least proof accepted for bytes from peers. signed by the publisher, witnessed by independent readers of the origin, or sampled (closed swarms only).",
    ),
    opt(
        "node.manifest",
        "manifest",
        "sidecar|URL|FILE|off",
        Text,
        NODE,
        "Where the publisher's signed piece list is. sidecar is the content's own URL with .pcdn added.",
    ),
    opt(
        "node.live_start",
        "live-start",
        "N",
        Number,
        NODE,
        "Segments behind the live edge where players of live streams start. 1 is the newest: least delay, least from peers; 5 is the other way round.",
    ),
    opt(
        "node.trust",
        "trust",
        "KEY",
        Text,
        NODE,
        "The publisher's public key, 64 hex digits. Manifests signed by any other are refused.",
    ),
    opt(
        "node.identity",
        "identity",
        "FILE",
        Text,
        NODE,
        "The file with this node's secret key, made if it does not exist. Without one it is kept in the data directory, else made anew for each run.",
    ),
    opt(
        "node.swarm_secret",
        "swarm-secret",
        "FILE",
        Text,
        NODE,
        "The file with the secret of a private swarm. Nodes without it find and hear nothing.",
    ),
    opt(
        "node.origin",
        "origin",
        "HOST[:PORT]",
        List,
        ORIGIN,
        "An origin this node may fetch from. Repeatable, * matches within a name. Private and loopback addresses are refused unless named here; once any is named, all others are refused.",
    ),
    opt(
        "node.header",
        "header",
        "'NAME: VALUE'",
        List,
        FETCHER,
        "A header sent to origins only. Repeatable; peers, trackers and logs never see it. Separated by newlines in the environment.",
    ),
    opt("node.origin_bind", "origin-bind", "IP", Text, FETCHER, "Local address of requests to origins."),
    opt(
        "node.origin_ca",
        "origin-ca",
        "FILE",
        Text,
        FETCHER,
        "A PEM file of further certificate authorities to trust for origins.",
    ),
    opt(
        "node.origin_http",
        "origin-http",
        "auto|1.1|2|3",
        Text,
        FETCHER,
        "Which version of HTTP is spoken to https origins. auto: 2 or 1.1 as the server prefers, and 3 where it offers that (Alt-Svc) and UDP gets through; 3: at once, without waiting for an offer.",
    ),
    opt(
        "gateway.listen",
        "gateway",
        "IP:PORT|off",
        Text,
        GATEWAY,
        "Where players connect. 127.0.0.1 means ::1 as well; port 0 is any free port.",
    ),
    opt(
        "gateway.upstream",
        "upstream",
        "URL",
        Text,
        GATEWAY,
        "Reverse proxy for one origin: a player only changes the base URL.",
    ),
    opt(
        "gateway.cors",
        "gateway-cors",
        "ORIGIN",
        List,
        GATEWAY,
        "A page origin that may read answers, such as https://player.example. Repeatable; none by default, and never * or null.",
    ),
    opt(
        "gateway.hosts",
        "gateway-host",
        "NAME",
        List,
        GATEWAY,
        "A further name the gateway may be called by. Requests with another Host are refused, so that no web page reaches it by a name of its own.",
    ),
    opt(
        "gateway.connections_max",
        "gateway-connections",
        "N",
        Number,
        GATEWAY,
        "Connections at a time; further ones wait.",
    ),
    opt(
        "gateway.write_stall",
        "gateway-stall",
        "TIME",
        Text,
        GATEWAY,
        "A client that does not take a byte for so long is dropped.",
    ),
    opt(
        "admin.listen",
        "admin",
        "IP:PORT|off",
        Text,
        &["get", "peer", "play", "push", "healthcheck"],
        "Where the dashboard, /metrics, /healthz and the API are served. Off for get unless asked for.",
    ),
    opt(
        "admin.token",
        "admin-token",
        "FILE",
        Text,
        NODE,
        "The file with the bearer token of changing calls. Needed for them when the address is not a loopback one.",
    ),
    opt("admin.hosts", "admin-host", "NAME", List, NODE, "A further name the admin server may be called by."),
    opt(
        "tracker.listen",
        "listen",
        "IP:PORT",
        Text,
        &["tracker"],
        "UDP address of the tracker. Its HTTP API is on the same number over TCP; [::]:PORT takes IPv6 and IPv4.",
    ),
    opt(
        "tracker.secret",
        "secret",
        "FILE",
        Text,
        &["tracker"],
        "The file with the secret that makes the tracker private.",
    ),
    opt(
        "tracker.store",
        "store",
        "memory|redis://HOST:PORT",
        Text,
        &["tracker"],
        "Where the table lives. memory: lost on a restart, and full again within one announce interval. redis://HOST:PORT/DB shares it with other trackers, each of which then answers for all; Valkey works as well.",
    ),
    opt(
        "tracker.token_key",
        "token-key",
        "KEY",
        Text,
        &["tracker"],
        "The public key of the application whose users alone are served. They show a token that its backend signed: a JWT with alg EdDSA.",
    ),
    opt(
        "tracker.second_address",
        "second-address",
        "IP",
        Text,
        &["tracker"],
        "A second address of this host, from which nodes are answered so that they learn what their NATs let in. Another address of the host is found by itself where the tracker listens on all; name one where it listens on one.",
    ),
    opt(
        "tracker.networks",
        "networks",
        "FILE",
        Text,
        &["tracker"],
        "The table of networks: peers of one network, then of one region, are told of each other first. Lines of CIDR NETWORK [REGION].",
    ),
    opt(
        "tracker.data_dir",
        "data-dir",
        "DIR",
        Text,
        &["tracker"],
        "Where its key, and what it knows of how good peers are, survive a restart. Made if there is none. Default: nowhere.",
    ),
    opt(
        "tracker.key",
        "key",
        "FILE",
        Text,
        &["tracker"],
        "The file with the key that signs who is a superpeer, made if it does not exist. Default: tracker.key in --data-dir, a new one at each start without.",
    ),
    opt(
        "tracker.ledger",
        "ledger",
        "FILE|http(s)://…",
        Text,
        &["tracker"],
        "Where it tells what peers have earned, once a minute, and asks what they have at stake: a file of JSON lines, or a service of your own.",
    ),
    opt(
        "tracker.ledger_token",
        "ledger-token",
        "FILE",
        Text,
        &["tracker"],
        "The file with the bearer token of a ledger behind HTTP.",
    ),
    opt(
        "tracker.stake",
        "stake",
        "N",
        Number,
        &["tracker"],
        "What a superpeer must have at stake, in the ledger's unit. 0: nothing.",
    ),
    opt(
        "tracker.auditor",
        "auditor",
        "KEY",
        List,
        &["tracker"],
        "The id of a push node whose audits count (its --identity). Repeatable. Without one nobody becomes a superpeer: nothing else shows what a peer holds.",
    ),
    opt(
        "tracker.earned",
        "earned",
        "",
        Switch,
        &["tracker"],
        "Shows what peers have earned this week at the tracker that runs at --listen, and ends. With --json: [{peer, week, bytes, credit, superpeer}].",
    ),
    opt("mapping.listen", "listen", "IP:PORT", Text, MAPPING, "Address of the HTTP API."),
    opt(
        "mapping.store",
        "store",
        "DIR|postgres://…|redis://…|memory",
        Text,
        MAPPING,
        "Where records and manifests are kept. A directory, made if there is none; a PostgreSQL, Redis or Valkey server for several nodes, which then need one --key; memory forgets them when it stops.",
    ),
    opt(
        "mapping.allow",
        "allow",
        "HOST-GLOB",
        List,
        MAPPING,
        "A host whose contents are read and signed, HOST[:PORT]. Repeatable, * matches within a name. No other host is fetched from, also after redirects; private addresses only if they are named here.",
    ),
    opt(
        "mapping.key",
        "key",
        "FILE",
        Text,
        MAPPING,
        "The file with the key that signs, made if it does not exist. Viewers pin its public half. Default: mapping.key in the store's directory, a new one at each start in memory.",
    ),
    opt(
        "mapping.rules",
        "rules",
        "FILE",
        Text,
        MAPPING,
        "The rule file served to viewers. Rules that publishers put there since with a higher version win. Default: viewers ask about every content of the hosts of --allow.",
    ),
    opt(
        "mapping.tokens",
        "tokens",
        "FILE",
        Text,
        MAPPING,
        "The file with publishers' tokens, TOKEN HOST-GLOB… a line. Without one nobody may change anything.",
    ),
    opt(
        "mapping.trackers",
        "tracker",
        "HOST:PORT",
        List,
        MAPPING,
        "A tracker told with every answer. Repeatable.",
    ),
    opt(
        "mapping.size_max",
        "size-max",
        "SIZE",
        Text,
        MAPPING,
        "The longest content that is read; longer ones are named only.",
    ),
    opt(
        "mapping.rate",
        "rate",
        "RATE",
        Text,
        MAPPING,
        "Bytes a second read of one content; four are read at a time, of different hosts.",
    ),
    opt(
        "mapping.ttl",
        "ttl",
        "TIME",
        Text,
        MAPPING,
        "How long an answer is believed. A content that is asked for is looked at anew when its answer is that old.",
    ),
    opt(
        "get.out",
        "out",
        "FILE",
        Text,
        &["get"],
        "The file written, - for standard output. Until it is whole and checked it is called FILE.part. Default: the last part of the URL's path.",
    ),
    opt("get.seed", "seed", "", Switch, &["get"], "Goes on serving peers until stopped."),
    opt(
        "get.range",
        "range",
        "A-B",
        Text,
        &["get"],
        "Only bytes A to B, both included and counted from 0; A- is to the end.",
    ),
    opt(
        "get.sha256",
        "sha256",
        "HEX",
        Text,
        &["get"],
        "The hash the file must have; anything else is status 6.",
    ),
    opt(
        "peer.seed_only",
        "seed-only",
        "",
        Switch,
        &["peer"],
        "No gateway: only serves what it holds and what --seed names.",
    ),
    opt("peer.seed", "seed", "URL", List, &["peer"], "A content to fetch whole and to serve. Repeatable."),
    opt(
        "peer.push",
        "push",
        "URL",
        List,
        &["peer"],
        "A push node that is asked for contents to hold before their release. Repeatable. What is held leaves when its time is over.",
    ),
    opt(
        "peer.push_disk",
        "push-disk",
        "SIZE",
        Text,
        &["peer"],
        "Room lent to push nodes, of that for pieces; half of that at most.",
    ),
    opt(
        "peer.push_rate",
        "push-rate",
        "RATE",
        Text,
        &["peer"],
        "Bytes a second taken in for push nodes while nobody watches here. A tenth of it while somebody does.",
    ),
    opt(
        "play.player",
        "player",
        "mpv|vlc|ffplay",
        Text,
        &["play"],
        "The player to open. Without one, the local URL is printed.",
    ),
    opt(
        "push.api",
        "api",
        "IP:PORT",
        Text,
        &["push"],
        "Where the push node's HTTP API is: peers ask there for work. Port 0 is any free port.",
    ),
    opt(
        "push.node",
        "node",
        "URL",
        Text,
        &["push"],
        "A running push node that is told, instead of being one. The command ends when all copies are proven, or with status 7 when the deadline is over. --status and --cancel ask the one at --api if none is named.",
    ),
    opt(
        "push.copies",
        "copies",
        "N",
        Number,
        &["push"],
        "Peers that shall hold each content, in each region.",
    ),
    opt(
        "push.deadline",
        "deadline",
        "TIME",
        Text,
        &["push"],
        "From now to the release: by then the copies shall be there.",
    ),
    opt(
        "push.hold",
        "hold",
        "TIME",
        Text,
        &["push"],
        "How long the copies are held beyond the release, a day at most.",
    ),
    opt(
        "push.region",
        "region",
        "NAME[=ADDRESS/BITS]",
        List,
        &["push"],
        "NAME=ADDRESS/BITS says which addresses are a region, NAME alone that copies shall be there. Repeatable; without a NAME alone copies are anywhere.",
    ),
    opt(
        "push.rendition",
        "rendition",
        "N",
        List,
        &["push"],
        "A rendition of a playlist that is held, as `pcdn inspect` numbers them. Repeatable. Default: all.",
    ),
    opt(
        "push.cdn_budget",
        "cdn-budget",
        "SIZE",
        Text,
        &["push"],
        "Bytes that peers may read from the CDN, all together. Default: two and a half times the contents.",
    ),
    opt(
        "push.peer_rate",
        "peer-rate",
        "RATE",
        Text,
        &["push"],
        "Bytes a second one peer may take in for it.",
    ),
    opt(
        "push.status",
        "status",
        "",
        Switch,
        &["push"],
        "Shows the jobs of a running push node: copies, who holds what, bytes.",
    ),
    opt(
        "push.cancel",
        "cancel",
        "",
        Switch,
        &["push"],
        "Cancels the jobs of URL… at a running push node, or all.",
    ),
    opt("push.ask_every", "ask-every", "TIME", Text, &["push"], "Idle peers ask for work so often."),
    opt(
        "push.report_every",
        "report-every",
        "TIME",
        Text,
        &["push"],
        "Peers that hold tell how it goes so often.",
    ),
    opt(
        "push.token",
        "push-token",
        "FILE",
        Text,
        &["push"],
        "The file with the operator's token. Needed for orders from other machines.",
    ),
    opt("push.hosts", "push-host", "NAME", List, &["push"], "A further name the push node may be called by."),
    opt("demo.peers", "peers", "N", Number, &["demo"], "Viewers."),
    opt("demo.size", "size", "SIZE", Text, &["demo"], "Length of the generated content."),
    opt("demo.media", "media", "file", Text, &["demo"], "What is generated."),
    opt("demo.transport", "transport", "udp|quic", Text, &["demo"], "What peers speak."),
    opt("demo.discovery", "discovery", "tracker|dht", Text, &["demo"], "How viewers find one another."),
    opt(
        "demo.origin_rate",
        "origin-rate",
        "RATE",
        Text,
        &["demo"],
        "Bytes a second the origin gives, to all together.",
    ),
    opt("demo.peer_up", "peer-up", "RATE", Text, &["demo"], "Bytes a second each viewer gives."),
    opt(
        "demo.keep_running",
        "keep-running",
        "",
        Switch,
        &["demo"],
        "Goes on after the result, for a look at the dashboard.",
    ),
    opt(
        "sign.key",
        "key",
        "FILE",
        Text,
        &["sign"],
        "The file with the publisher's secret key, made if it does not exist. Default: pcdn/publisher.key in the user's configuration directory.",
    ),
    opt(
        "sign.out",
        "out",
        "FILE",
        Text,
        &["sign"],
        "The manifest written. Default: the input's name with .pcdn added.",
    ),
    opt(
        "sign.follow",
        "follow",
        "",
        Switch,
        &["sign"],
        "Stays beside the packager of a live stream and signs each segment as it is listed, until stopped. Of a directory, its playlists are followed; of a URL, a live HTTP-FLV stream.",
    ),
    opt(
        "sign.base_url",
        "base-url",
        "URL",
        Text,
        &["sign"],
        "The URL at which DIR, or the playlist FILE, is served. Needed only for playlists that name segments by absolute paths or whole URLs and do not lie where their path says; segments are known by their place beside the playlist.",
    ),
    opt(
        "inspect.as",
        "as",
        "KIND",
        Text,
        &["inspect"],
        "The kind it is cut as. Default: found out from name, type and first bytes.",
    ),
    opt(
        "inspect.hash",
        "hash",
        "",
        Switch,
        &["inspect"],
        "Reads the content and tells each segment's BLAKE3.",
    ),
    opt(
        "inspect.base_url",
        "base-url",
        "URL",
        Text,
        &["inspect"],
        "The URL a local file would have; decides its name (RID).",
    ),
    opt(
        "inspect.rendition",
        "rendition",
        "N",
        Text,
        &["inspect"],
        "The rendition whose segments are told, as numbered in the report. Default: none of a master playlist; the first of a DASH manifest, and of anything followed.",
    ),
    opt(
        "inspect.follow",
        "follow",
        "TIME",
        Text,
        &["inspect"],
        "Follows a live stream so long and prints each segment when it is cut, one JSON object a line with --json. Of a continuous stream only those that every viewer cuts alike.",
    ),
    opt("sim.peers", "peers", "N", Number, &["sim"], "Peers; 0 is the scenario's own number."),
    opt("sim.seed", "seed", "N", Number, &["sim"], "The seed of all dice: the same seed gives the same run."),
    opt("sim.duration", "duration", "TIME", Text, &["sim"], "Simulated time. Default: the scenario's own."),
    opt("sim.svg", "svg", "FILE", Text, &["sim"], "Draws the run into a file."),
    opt("sim.list", "list", "", Switch, &["sim"], "Lists the built-in scenarios."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn leaves(prefix: &str, table: &toml::Table, into: &mut Vec<String>) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                toml::Value::Table(table) => leaves(&key, table, into),
                _ => into.push(key),
            }
        }
    }

    #[test]
    fn table_and_config_have_the_same_keys() {
        let mut fields = Vec::new();
        leaves("", &toml::Table::try_from(Config::default()).unwrap(), &mut fields);
        let mut keys: Vec<_> = OPTIONS.iter().map(|opt| opt.key.to_owned()).collect();
        fields.sort();
        keys.sort();
        assert_eq!(fields, keys);
    }

    #[test]
    fn every_kind_is_its_fields() {
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        for opt in OPTIONS {
            let value = opt.key.split('.').fold(None, |at: Option<&toml::Value>, part| match at {
                None => defaults.get(part),
                Some(table) => table.get(part),
            });
            let kind = match value.unwrap() {
                toml::Value::Array(_) => List,
                toml::Value::Boolean(_) => Switch,
                toml::Value::Integer(_) => Number,
                _ => Text,
            };
            assert_eq!(opt.kind, kind, "{}", opt.key);
        }
    }

    #[test]
    fn a_verb_has_each_long_option_once() {
        for opt in OPTIONS {
            for verb in opt.verbs {
                let same = OPTIONS.iter().filter(|o| o.long == opt.long && o.verbs.contains(verb)).count();
                assert_eq!(same, 1, "{verb} --{}", opt.long);
            }
        }
    }

    #[test]
    fn names_of_variables_follow_the_key() {
        assert_eq!(Opt::of_key("gateway.listen").unwrap().env(), "PCDN_GATEWAY__LISTEN");
        assert_eq!(Opt::of_env("PCDN_NODE__UPLOAD_LIMIT").unwrap().key, "node.upload_limit");
    }

    #[test]
    fn a_key_without_its_section_finds_it() {
        assert_eq!(Opt::nearest_key("upload_limit"), Some("node.upload_limit"));
        assert_eq!(Opt::nearest_key("gatway.listen"), Some("gateway.listen"));
    }
}
