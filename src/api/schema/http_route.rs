//! The spec of an HTTPRoute, as in Gateway API 1.5, the release that KServe 0.20 embeds.

use schemars::JsonSchema;

/// An HTTPRoute's spec.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct HttpRouteSpec {
    hostnames: Option<Vec<String>>,
    parent_refs: Option<Vec<ParentRef>>,
    rules: Option<Vec<Rule>>,
    #[schemars(extend("enum" = ["All", "None"]))]
    use_default_gateways: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct ParentRef {
    group: Option<String>,
    kind: Option<String>,
    name: String,
    namespace: Option<String>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<i32>,
    section_name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Rule {
    name: Option<String>,
    matches: Option<Vec<Match>>,
    filters: Option<Vec<Filter>>,
    backend_refs: Option<Vec<RuleBackend>>,
    timeouts: Option<Timeouts>,
    retry: Option<Retry>,
    session_persistence: Option<SessionPersistence>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Match {
    headers: Option<Vec<ValueMatch>>,
    #[schemars(extend("enum" = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]))]
    method: Option<String>,
    path: Option<PathMatch>,
    query_params: Option<Vec<ValueMatch>>,
}

#[derive(JsonSchema)]
struct ValueMatch {
    name: String,
    value: String,
    #[schemars(rename = "type", extend("enum" = ["Exact", "RegularExpression"]))]
    kind: Option<String>,
}

#[derive(JsonSchema)]
struct PathMatch {
    #[schemars(rename = "type", extend("enum" = ["Exact", "PathPrefix", "RegularExpression"]))]
    kind: Option<String>,
    value: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Filter {
    #[schemars(rename = "type", extend("enum" = ["RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect", "URLRewrite", "ExtensionRef", "CORS"]))]
    kind: String,
    request_header_modifier: Option<HeaderModifier>,
    response_header_modifier: Option<HeaderModifier>,
    request_mirror: Option<Mirror>,
    request_redirect: Option<Redirect>,
    url_rewrite: Option<Rewrite>,
    extension_ref: Option<LocalRef>,
    cors: Option<Cors>,
    external_auth: Option<ExternalAuth>,
}

#[derive(JsonSchema)]
struct HeaderModifier {
    set: Option<Vec<Header>>,
    add: Option<Vec<Header>>,
    remove: Option<Vec<String>>,
}

#[derive(JsonSchema)]
struct Header {
    name: String,
    value: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Mirror {
    backend_ref: Backend,
    fraction: Option<Fraction>,
    #[schemars(range(min = 0, max = 100))]
    percent: Option<i32>,
}

#[derive(JsonSchema)]
struct Fraction {
    #[schemars(range(min = 0))]
    numerator: i32,
    #[schemars(range(min = 1))]
    denominator: Option<i32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Redirect {
    #[schemars(extend("enum" = ["http", "https"]))]
    scheme: Option<String>,
    hostname: Option<String>,
    path: Option<PathModifier>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<i32>,
    #[schemars(extend("enum" = [301, 302, 303, 307, 308]))]
    status_code: Option<i64>,
}

#[derive(JsonSchema)]
struct Rewrite {
    hostname: Option<String>,
    path: Option<PathModifier>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct PathModifier {
    #[schemars(rename = "type", extend("enum" = ["ReplaceFullPath", "ReplacePrefixMatch"]))]
    kind: String,
    replace_full_path: Option<String>,
    replace_prefix_match: Option<String>,
}

#[derive(JsonSchema)]
struct LocalRef {
    group: String,
    kind: String,
    name: String,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Cors {
    allow_credentials: Option<bool>,
    allow_headers: Option<Vec<String>>,
    allow_methods: Option<Vec<CorsMethod>>,
    allow_origins: Option<Vec<String>>,
    expose_headers: Option<Vec<String>>,
    #[schemars(range(min = 1))]
    max_age: Option<i32>,
}

#[derive(JsonSchema)]
#[schemars(extend("enum" = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]))]
struct CorsMethod(String);

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct ExternalAuth {
    #[schemars(extend("enum" = ["HTTP", "GRPC"]))]
    protocol: String,
    backend_ref: Backend,
    forward_body: Option<ForwardBody>,
    grpc: Option<GrpcAuth>,
    http: Option<HttpAuth>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct ForwardBody {
    max_size: Option<i64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct GrpcAuth {
    allowed_headers: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct HttpAuth {
    path: Option<String>,
    allowed_headers: Option<Vec<String>>,
    allowed_response_headers: Option<Vec<String>>,
}

#[derive(JsonSchema)]
struct RuleBackend {
    #[schemars(flatten)]
    backend: Backend,
    #[schemars(range(min = 0, max = 1_000_000))]
    weight: Option<i32>,
    filters: Option<Vec<Filter>>,
}

#[derive(JsonSchema)]
struct Backend {
    group: Option<String>,
    kind: Option<String>,
    name: String,
    namespace: Option<String>,
    #[schemars(range(min = 1, max = 65535))]
    port: Option<i32>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Timeouts {
    request: Option<String>,
    backend_request: Option<String>,
}

#[derive(JsonSchema)]
struct Retry {
    attempts: Option<i64>,
    backoff: Option<String>,
    codes: Option<Vec<RetryCode>>,
}

#[derive(JsonSchema)]
struct RetryCode(#[schemars(range(min = 400, max = 599))] i64);

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct SessionPersistence {
    session_name: Option<String>,
    #[schemars(rename = "type", extend("enum" = ["Cookie", "Header"]))]
    kind: Option<String>,
    absolute_timeout: Option<String>,
    idle_timeout: Option<String>,
    cookie_config: Option<CookieConfig>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct CookieConfig {
    #[schemars(extend("enum" = ["Permanent", "Session"]))]
    lifetime_type: Option<String>,
}
