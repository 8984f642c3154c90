//! Which query parameters are credentials or tracking, and never choose content.
//!
//! Names that can mean nothing else are always dropped. Names that might (`se` ends an Azure signature, or names a season) are
//! dropped only beside the names that prove a signed URL of that kind. Parameters of object stores that do choose content
//! (`versionId`, `generation`, `x-oss-process`, `response-content-*`) are in no list.

use super::Pair;

/// Parameters of one way of signing URLs.
struct Pack {
    /// All of these must be there; none means always.
    when: &'static [&'static str],
    /// Names, in lower case.
    names: &'static [&'static str],
}

/// Dropped by prefix: whole families of signature parameters, and tracking.
const PREFIXES: [&str; 7] = ["x-amz-", "x-goog-", "x-obs-", "x-tos-", "q-sign-", "utm_", "hdnt"];

const PACKS: [Pack; 13] = [
    // Generic tokens, signatures, sessions.
    Pack {
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
    // AWS version 2.
    Pack { when: &["awsaccesskeyid"], names: &["awsaccesskeyid"] },
    Pack { when: &["x-amz-signature"], names: &["x-id"] },
    // Google Cloud Storage version 2, Cloud CDN, Media CDN.
    Pack { when: &["googleaccessid"], names: &["googleaccessid"] },
    Pack { when: &["keyname", "signature"], names: &["keyname", "urlprefix"] },
    Pack { when: &[], names: &["edge-cache-token"] },
    // Azure SAS.
    Pack {
        when: &["sig", "sv"],
        names: &[
            "sv", "ss", "srt", "sp", "se", "st", "spr", "sip", "sr", "si", "sdd", "skoid", "sktid", "skt",
            "ske", "sks", "skv", "saoid", "suoid", "scid", "ses",
        ],
    },
    // Alibaba OSS; its x-oss-process chooses content.
    Pack {
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
    Pack { when: &["accesskeyid", "signature"], names: &["accesskeyid"] },
    // Tencent COS and CDN, Wangsu.
    Pack {
        when: &[],
        names: &[
            "q-ak",
            "q-key-time",
            "q-header-list",
            "q-url-param-list",
            "q-signature",
            "x-cos-security-token",
            "txsecret",
            "txtime",
            "wssecret",
            "wstime",
            "wsabstime",
        ],
    },
    // CloudFront.
    Pack { when: &["key-pair-id"], names: &["key-pair-id", "policy", "hash-algorithm"] },
    // Akamai, and token schemes of smaller CDNs.
    Pack { when: &[], names: &["hdnea", "__token__", "__gda__", "bcdn_token", "token_path", "verify_token"] },
    // Marks of advertising and mail tools.
    Pack {
        when: &[],
        names: &["fbclid", "gclid", "dclid", "msclkid", "yclid", "mc_cid", "mc_eid", "igshid", "_ga", "_gl"],
    },
];

/// Names under which signers write the time; anybody may use them for something else.
const TIMES: [&str; 5] = ["e", "t", "ts", "time", "timestamp"];
/// Beside one of these, a time is a signature's.
const SIGNED: [&str; 4] = ["token", "sign", "sig", "signature"];

/// The packs that a query's names call for.
pub(super) struct Credentials {
    packs: Vec<&'static Pack>,
    signed: bool,
}

impl Credentials {
    pub(super) fn of(pairs: &[Pair<'_>]) -> Self {
        let there = |name: &&str| pairs.iter().any(|pair| pair.name == *name);
        let packs = PACKS.iter().filter(|pack| pack.when.iter().all(&there)).collect();
        Self { packs, signed: SIGNED.iter().any(there) }
    }

    pub(super) fn covers(&self, pair: &Pair<'_>) -> bool {
        let name = pair.name.as_str();
        let timed = self.signed && TIMES.contains(&name) && is_unix_time(pair.value());
        timed
            || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || self.packs.iter().any(|pack| pack.names.contains(&name))
    }
}

/// Ten digits (seconds) or thirteen (milliseconds): years 2001 to 2286, and no number of an episode.
fn is_unix_time(value: &str) -> bool {
    matches!(value.len(), 10 | 13) && value.bytes().all(|b| b.is_ascii_digit())
}
