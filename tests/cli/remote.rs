//! `review --url`, against a webhook that gives one answer over TLS.

use std::io::Read as _;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

struct Webhook {
    url: String,
    ca: TempDir,
    asked: std::thread::JoinHandle<String>,
}

/// Answers the first request with `answer` and hands out what it was asked.
fn webhook(answer: String) -> Webhook {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["webhook.test".to_owned(), "127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &ca)
        .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/mutate?timeout=10s", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut socket);
        let mut asked = Vec::new();
        let mut buffer = [0; 4096];
        while !complete(&asked) {
            match stream.read(&mut buffer) {
                Ok(read) if read > 0 => asked.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
        let _ = stream.write_all(answer.as_bytes());
        let _ = stream.flush();
        String::from_utf8(asked).unwrap()
    });
    Webhook { url, ca: folder(&[("ca.crt", ca.pem().as_bytes())]), asked }
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.to_lowercase().lines().find_map(|line| {
        line.strip_prefix("content-length:").and_then(|length| length.trim().parse().ok())
    });
    length.is_some_and(|length: usize| body.len() >= length)
}

fn ok(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn ask(webhook: &Webhook, more: &[&str]) -> Run {
    let ca = path(&webhook.ca, "ca.crt");
    let mut args = vec!["review", "-", "--url", &webhook.url, "--ca-file", &ca];
    args.extend(more);
    run_with(&args, &review(&json!({})).to_string())
}

fn denial() -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
        "uid": "0f0f", "allowed": false, "auditAnnotations": {"decision": "unknown-service"},
        "status": {"code": 403, "message": "no such service", "details": {"causes": [
            {"field": "metadata.labels[x]", "message": "write another"}]}}}})
}

#[test]
fn the_answer_is_that_of_the_webhook() {
    let webhook = webhook(ok(&denial()));
    assert_eq!(ask(&webhook, &[]).ends(1).json(), denial());
    let asked = webhook.asked.join().unwrap();
    assert!(asked.starts_with("POST /mutate?timeout=10s HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/json"), "{asked}");
    assert!(asked.ends_with(&review(&json!({})).to_string()), "{asked}");
}

#[test]
fn a_denial_is_said_in_full() {
    let webhook = webhook(ok(&denial()));
    let run = ask(&webhook, &["--diff"])
        .ends(1)
        .says("denied: no such service (unknown-service)\n  metadata.labels[x]: write another\n");
    assert_eq!(run.out, "");
}

fn patched() -> Value {
    // [{"op":"add","path":"/spec/hostNetwork","value":true}]
    let patch = "W3sib3AiOiJhZGQiLCJwYXRoIjoiL3NwZWMvaG9zdE5ldHdvcmsiLCJ2YWx1ZSI6dHJ1ZX1d";
    json!({"response": {"uid": "0f0f", "allowed": true, "patchType": "JSONPatch", "patch": patch,
        "auditAnnotations": {"decision": "injected", "configs": "a,b"}, "warnings": ["mind the gap"]}})
}

#[test]
fn a_diff_shows_what_the_patch_does() {
    let hook = webhook(ok(&patched()));
    let run = ask(&hook, &["--diff"]).ends(0);
    assert!(run.out.starts_with("--- before\n+++ after\n@@"), "{}", run.out);
    assert!(run.out.contains("\n+  hostNetwork: true\n"), "{}", run.out);
    assert_eq!(run.err, "allowed: injected (configs: a, b)\nwarning: mind the gap\n");
    let hook = webhook(ok(&patched()));
    let colored = ask(&hook, &["--diff", "--color=always"]).ends(0).out;
    assert!(colored.contains("\u{1b}[32m+  hostNetwork: true\u{1b}[0m\n"), "{colored:?}");
}

#[test]
fn the_certificate_must_fit_the_name() {
    let hook = webhook(ok(&patched()));
    ask(&hook, &["--server-name", "webhook.test"]).ends(0);
    let hook = webhook(ok(&patched()));
    ask(&hook, &["--server-name", "other.test"]).ends(2).says("certificate");
    let hook = webhook(ok(&patched()));
    let stranger = webhook(ok(&patched()));
    let ca = path(&stranger.ca, "ca.crt");
    run_with(
        &["review", "-", "--url", &hook.url, "--ca-file", &ca],
        &review(&json!({})).to_string(),
    )
    .ends(2)
    .says("certificate");
}

#[test]
fn an_answer_that_is_none_ends_with_two() {
    for (answer, said) in [
        ("HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nno: \n", "413"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "no response"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<>", "not JSON"),
        ("garbage\r\n\r\n", "cannot ask"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "cannot ask"),
    ] {
        let hook = webhook(answer.to_owned());
        let run = ask(&hook, &[]).ends(2).says(said);
        assert_eq!(run.out, "");
    }
    let folder = folder(&[("empty.crt", b""), ("broken.crt", b"-----BEGIN CERTIFICATE-----\n!\n")]);
    for file in ["empty.crt", "broken.crt", "missing.crt"] {
        let ca = path(&folder, file);
        run_with(
            &["review", "-", "--url", "https://localhost:1/x", "--ca-file", &ca],
            &review(&json!({})).to_string(),
        )
        .ends(2)
        .says(&ca);
    }
    run_with(&["review", "-", "--url", "http://localhost/x", "--ca-file", "x"], "{}")
        .ends(2)
        .says("https://");
}
