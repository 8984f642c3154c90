//! The push node's API, described for machines.

use serde_json::{Value, json};

/// The OpenAPI document.
pub(super) fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "pcdn push node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Has contents held by peers before they are released. Operators order with a bearer token; peers sign \
                            their calls with the key of their node.",
        },
        "paths": {
            "/v1/pushes": {
                "get": operator("All jobs, those that ended within the hour too", &[], None, ok("array of Status")),
                "post": operator("Begins a job", &[], Some("Push"), json!({
                    "202": answer("The job was begun", "Pushed"), "400": problem("The order makes no sense"),
                    "502": problem("The origin does not say what it is"), "429": problem("Too many jobs"),
                })),
            },
            "/v1/pushes/{id}": {
                "get": operator("How a job goes: copies by region, who holds what, bytes", &["id"], None, ok("Status")),
                "delete": operator("Cancels a job: whoever holds for it is told to drop", &["id"], None, ok("Status")),
            },
            "/v1/leases": {
                "post": peer("A peer asks for work", &[], "Offer", "Leases"),
            },
            "/v1/leases/{id}": {
                "post": peer("A peer tells how a lease goes, and answers the last challenge", &["id"], "Progress", "Next"),
            },
            "/v1/openapi.json": { "get": { "summary": "This description", "responses": { "200": { "description": "OpenAPI 3.1" } } } },
            "/healthz": { "get": { "summary": "Alive", "responses": { "200": { "description": "ok" } } } },
            "/readyz": { "get": { "summary": "Ready", "responses": { "200": { "description": "ok" } } } },
        },
        "components": { "securitySchemes": schemes(), "schemas": schemas() },
    })
}

fn schemes() -> Value {
    json!({
        "token": { "type": "http", "scheme": "bearer", "description": "The operator's; not needed on loopback when none is set" },
        "signature": {
            "type": "apiKey", "in": "header", "name": "X-Pcdn-Signature",
            "description": "Hex Ed25519 signature of the body's node over pcdn-push-1, a zero byte, the path, a zero byte, the body",
        },
    })
}

fn schemas() -> Value {
    let (text, whole, yes) = (
        json!({ "type": "string" }),
        json!({ "type": "integer", "minimum": 0 }),
        json!({ "type": "boolean" }),
    );
    let id = json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" });
    let list = |of: &Value| json!({ "type": "array", "items": of });
    json!({
        "Push": object(&[
            ("urls", list(&text)), ("renditions", list(&whole)),
            ("target", json!({ "oneOf": [
                object(&[("copies", whole.clone())]), object(&[("percent", json!({ "type": "number" }))]),
                object(&[("viewers", object(&[("arrivals", whole.clone()), ("bitrate", text.clone()), ("from_peers", json!({ "type": "number" }))]))]),
            ] })),
            ("regions", list(&text)), ("by_s", whole.clone()), ("hold_s", whole.clone()),
            ("budget", object(&[("cdn_bytes", text.clone()), ("peer_rate", text.clone())])), ("forecast", whole.clone()),
        ]),
        "Pushed": object(&[("id", whole.clone())]),
        "Status": object(&[
            ("id", whole.clone()), ("urls", list(&text)), ("wave", whole.clone()),
            ("regions", list(&object(&[("region", text.clone()), ("planned", whole.clone()), ("placed", whole.clone()), ("proven", whole.clone())]))),
            ("holders", list(&object(&[("peer", id.clone()), ("url", text.clone()), ("rendition", whole.clone()), ("stage", json!({ "enum": ["granted", "placed", "proven"] })), ("held", whole.clone())]))),
            ("from_cdn", whole.clone()), ("from_peers", whole.clone()), ("cancelled", yes.clone()), ("over", yes.clone()), ("eta_s", whole.clone()),
        ]),
        "Offer": object(&[
            ("node", id.clone()), ("time", whole.clone()), ("free", whole.clone()), ("spare", whole.clone()),
            ("idle", yes.clone()), ("busy", yes.clone()),
        ]),
        "Leases": object(&[
            ("ask_ms", whole.clone()), ("report_ms", whole.clone()),
            ("tasks", list(&object(&[
                ("lease", whole.clone()), ("url", text.clone()), ("rendition", whole.clone()), ("len", whole.clone()), ("hold_ms", whole.clone()),
                ("class", json!({ "const": "background" })), ("cdn_bytes", whole.clone()), ("rate", whole.clone()),
            ]))),
        ]),
        "Progress": object(&[
            ("node", id.clone()), ("time", whole.clone()), ("held", whole.clone()), ("from_cdn", whole.clone()),
            ("from_peers", whole.clone()), ("answer", id), ("given_up", yes.clone()),
        ]),
        "Next": object(&[
            ("drop", yes), ("hold_ms", whole.clone()),
            ("challenge", object(&[("nonce", text.clone()), ("start", whole.clone()), ("end", whole)])),
        ]),
        "Problem": object(&[("error", text)]),
    })
}

fn object(fields: &[(&str, Value)]) -> Value {
    let properties: serde_json::Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "properties": properties })
}

fn operator(summary: &str, path: &[&str], body: Option<&str>, responses: Value) -> Value {
    let mut call = call(summary, path, body, responses);
    call["security"] = json!([{ "token": [] }]);
    call["responses"]["401"] = problem("The token is missing or wrong");
    call
}

fn peer(summary: &str, path: &[&str], body: &str, answers: &str) -> Value {
    let mut call = call(summary, path, Some(body), ok(answers));
    call["security"] = json!([{ "signature": [] }]);
    call["responses"]["401"] = problem("The signature is missing or wrong, or the clock is");
    call
}

fn call(summary: &str, path: &[&str], body: Option<&str>, responses: Value) -> Value {
    let mut call = json!({ "summary": summary, "responses": responses });
    let parameter = |name: &&str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "integer" } });
    if !path.is_empty() {
        call["parameters"] = path.iter().map(parameter).collect();
        call["responses"]["404"] = problem("No such job");
    }
    if let Some(body) = body {
        call["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema(body) } } });
    }
    call
}

fn ok(of: &str) -> Value {
    json!({ "200": answer("Done", of) })
}

fn answer(description: &str, of: &str) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema(of) } } })
}

fn problem(description: &str) -> Value {
    answer(description, "Problem")
}

fn schema(of: &str) -> Value {
    match of.strip_prefix("array of ") {
        Some(item) => json!({ "type": "array", "items": schema(item) }),
        None => json!({ "$ref": format!("#/components/schemas/{of}") }),
    }
}
