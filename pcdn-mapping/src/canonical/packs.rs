//! Which query parameters are credentials or tracking, and never choose content.
//!
//! Names that can mean nothing else are always dropped. Names that might (`se` ends an Azure signature, or names a season) are
//! dropped only beside the names that prove a signed URL of that kind. Parameters of object stores that do choose content
//! (`versionId`, `generation`, `x-oss-process`, `response-content-*`) are in no list.

use super::Pair;

/// Parameters of one way of signing URLs.
struct Pack {
    /// Which, as rules name it.
    name: &'static str,
    /// All of these must be there; none means always.
    when: &'static [&'static str],
    /// Names, in lower case.
    names: &'static [&'static str],
}

/// Dropped by prefix: whole families of signature parameters, and tracking. Each with its pack.
const PREFIXES: [(&str, &str); 8] = [
    ("aws", "x-amz-"),
    ("gcs", "x-goog-"),
    ("obs", "x-obs-"),
    ("tos", "x-tos-"),
    ("cos", "q-sign-"),
    ("akamai", "hdnt"),
    ("wowza", "wowzatoken"),
    (TRACKING, "utm_"),
];

/// No credential: always dropped.
const TRACKING: &str = "tracking";

/// Every pack's name, for rules that choose.
pub(crate) const NAMES: &[&str] = &[
    "generic",
    "aws",
    "gcs",
    "azure",
    "oss",
    "obs",
    "tos",
    "cos",
    "tencent",
    "wangsu",
    "huawei",
    "cloudfront",
    "cloudflare",
    "akamai",
    "fastly",
    "bunny",
    "wowza",
];

/// Which ways of signing are known to a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Packs(Option<Vec<String>>);

impl Packs {
    /// Those, and no other.
    pub(super) fn only<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        Self(Some(names.map(str::to_owned).collect()))
    }

    fn has(&self, name: &str) -> bool {
        name == TRACKING || self.0.as_ref().is_none_or(|names| names.iter().any(|own| own == name))
    }
}

const PACKS: [Pack; 20] = [
    Pack {
        name: "generic",
        when: &[],
        names: &[
            "token",
            "access_token",
            "accesstoken",
            "auth_token",
            "authtoken",
            "jwt",
            "auth",
            "authorization",
            "auth_key",
            "sig",
            "signature",
            "sign",
            "hmac",
            "expires",
            "expire",
            "expiry",
            "exp",
            "session",
            "sessionid",
            "session_id",
            "phpsessid",
            "jsessionid",
            "apikey",
            "api_key",
            "security-token",
            "security_token",
            "nonce",
        ],
    },
    // AWS version 2, and version 4 as its tools write it.
    Pack { name: "aws", when: &["awsaccesskeyid"], names: &["awsaccesskeyid"] },
    Pack { name: "aws", when: &["x-amz-signature"], names: &["x-id"] },
    // Google Cloud Storage version 2, Cloud CDN, Media CDN.
    Pack { name: "gcs", when: &["googleaccessid"], names: &["googleaccessid"] },
    Pack { name: "gcs", when: &["keyname", "signature"], names: &["keyname", "urlprefix"] },
    Pack { name: "gcs", when: &[], names: &["edge-cache-token"] },
    // Azure SAS.
    Pack {
        name: "azure",
        when: &["sig", "sv"],
        names: &[
            "sv", "ss", "srt", "sp", "se", "st", "spr", "sip", "sr", "si", "sdd", "skoid", "sktid", "skt",
            "ske", "sks", "skv", "saoid", "suoid", "scid", "ses",
        ],
    },
    // Alibaba OSS; its x-oss-process chooses content.
    Pack {
        name: "oss",
        when: &[],
        names: &[
            "ossaccesskeyid",
            "x-oss-signature",
            "x-oss-signature-version",
            "x-oss-credential",
            "x-oss-date",
            "x-oss-expires",
            "x-oss-security-token",
            "x-oss-additional-headers",
        ],
    },
    // Huawei OBS version 2.
    Pack { name: "obs", when: &["accesskeyid", "signature"], names: &["accesskeyid"] },
    // Tencent COS, and its CDN.
    Pack {
        name: "cos",
        when: &[],
        names: &[
            "q-ak",
            "q-key-time",
            "q-header-list",
            "q-url-param-list",
            "q-signature",
            "x-cos-security-token",
        ],
    },
    Pack { name: "tencent", when: &[], names: &["txsecret", "txtime"] },
    Pack { name: "wangsu", when: &[], names: &["wssecret", "wstime", "wsabstime"] },
    Pack { name: "huawei", when: &[], names: &["hwsecret", "hwtime"] },
    Pack { name: "cloudfront", when: &["key-pair-id"], names: &["key-pair-id", "policy", "hash-algorithm"] },
    Pack { name: "akamai", when: &[], names: &["hdnea", "__token__", "__gda__"] },
    Pack {
        name: "bunny",
        when: &[],
        names: &["bcdn_token", "token_path", "token_countries", "verify_token"],
    },
    Pack { name: "fastly", when: &[], names: &["fastly_token", "fastly-token"] },
    Pack { name: "cloudflare", when: &[], names: &["__cf_chl_tk"] },
    Pack { name: "wowza", when: &[], names: &["wmsauthsign"] },
    // Marks of advertising and mail tools, and what players tell of themselves in every request (CTA-5004).
    Pack {
        name: TRACKING,
        when: &[],
        names: &[
            "cmcd", "fbclid", "gclid", "dclid", "msclkid", "yclid", "mc_cid", "mc_eid", "igshid", "_ga",
            "_gl",
        ],
    },
];

/// Names under which signers write the time; anybody may use them for something else.
const TIMES: [&str; 5] = ["e", "t", "ts", "time", "timestamp"];
/// Beside one of these, a time is a signature's.
const SIGNED: [&str; 4] = ["token", "sign", "sig", "signature"];

/// The packs that a query's names call for.
pub(super) struct Credentials<'p> {
    chosen: &'p Packs,
    packs: Vec<&'static Pack>,
    signed: bool,
}

impl<'p> Credentials<'p> {
    pub(super) fn of(chosen: &'p Packs, pairs: &[Pair<'_>]) -> Self {
        let there = |name: &&str| pairs.iter().any(|pair| pair.name == *name);
        let called = |pack: &&Pack| chosen.has(pack.name) && pack.when.iter().all(&there);
        let signed = chosen.has("generic") && SIGNED.iter().any(there);
        Self { chosen, packs: PACKS.iter().filter(called).collect(), signed }
    }

    pub(super) fn covers(&self, pair: &Pair<'_>) -> bool {
        let name = pair.name.as_str();
        let timed = self.signed && TIMES.contains(&name) && is_unix_time(pair.value());
        let family = |(pack, prefix): &(&str, &str)| name.starts_with(prefix) && self.chosen.has(pack);
        let stamped = name == "verify" && self.chosen.has("cloudflare") && is_stamped(pair.value());
        timed
            || stamped
            || PREFIXES.iter().any(family)
            || self.packs.iter().any(|pack| pack.names.contains(&name))
    }
}

/// A time and a code, as Cloudflare's token rules read them: `1700000000-c2lnbmF0dXJl`. The code is that of 16 bytes or more.
fn is_stamped(value: &str) -> bool {
    value.split_once('-').is_some_and(|(time, code)| is_unix_time(time) && code.len() >= 22)
}

/// Ten digits (seconds) or thirteen (milliseconds): years 2001 to 2286, and no number of an episode.
fn is_unix_time(value: &str) -> bool {
    matches!(value.len(), 10 | 13) && value.bytes().all(|b| b.is_ascii_digit())
}
