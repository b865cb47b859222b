//! `review`: one AdmissionReview, answered here or by a running webhook.

mod diff;
mod patch;
mod remote;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use serde_json::Value;

use super::output::{Color, Format, Outcome, refusal_words, say, write};
use super::{CatalogArgs, input};
use crate::api::GROUP;
use crate::{review, yaml};

/// Answers one AdmissionReview, as the webhook would, or asks a running webhook for the answer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  llmisvc-webhook review request.json --objects services/ --diff
  llmisvc-webhook review request.json --url https://localhost:9443/mutate --ca-file ca.crt

Exit codes: 0 allowed; 1 denied; 2 the review cannot be read or the webhook cannot be asked.")]
pub(super) struct Args {
    /// File with the AdmissionReview, as JSON or YAML; `-` for standard input
    #[arg(value_name = "FILE|-")]
    file: PathBuf,

    /// How to print the answer; the default is JSON on one line, as the webhook sends it
    #[arg(short, long, value_enum)]
    output: Option<Format>,

    /// Print what the answer changes in the object, and say the decision on standard error
    #[arg(long, conflicts_with = "output")]
    diff: bool,

    /// When to colour the difference
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    color: Color,

    /// Address of a running webhook to ask instead, with its path, /mutate or /validate
    #[arg(long, requires = "ca_file", conflicts_with_all = ["objects", "presets"])]
    url: Option<Uri>,

    /// Certificates, in PEM, of the authority that signed the webhook's
    #[arg(long, value_name = "FILE", requires = "url")]
    ca_file: Option<PathBuf>,

    /// Name that the webhook's certificate must be made out to, when it is not the one in the
    /// address
    #[arg(long, value_name = "NAME", requires = "url")]
    server_name: Option<String>,

    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, output, diff, color, url, ca_file, server_name, catalog } = args;
    let body = body(&input::text(&file)?)?;
    let answer = match (&url, &ca_file) {
        (Some(url), Some(ca_file)) => remote::ask(url, server_name.as_deref(), ca_file, &body)?,
        _ => here(&body, &catalog)?,
    };
    let value: Value = serde_json::from_slice(&answer).context("the answer is not JSON")?;
    let response = value.get("response").context("the answer has no response")?;
    let allowed = response.get("allowed").and_then(Value::as_bool);
    let allowed = allowed.context("the answer does not say whether the object is allowed")?;
    if diff {
        show(&body, response, allowed, color)?;
    } else {
        write(&match output {
            None => format!("{value}\n"),
            Some(Format::Json) => format!("{value:#}\n"),
            Some(Format::Yaml) => yaml::to_string(&value),
        })?;
    }
    Ok(if allowed { Outcome::Fine } else { Outcome::Findings }.into())
}

/// The review as JSON. JSON is passed on byte for byte, as an API server would send it.
fn body(text: &str) -> anyhow::Result<Vec<u8>> {
    if text.trim_start().starts_with('{') {
        return Ok(text.as_bytes().to_vec());
    }
    let mut documents = yaml::documents(text).into_iter();
    match (documents.next(), documents.next()) {
        (Some(document), None) => {
            let value = document.value.context("the review cannot be read")?;
            Ok(value.to_string().into_bytes())
        }
        (None, _) => bail!("there is no AdmissionReview in it"),
        (Some(_), Some(second)) => {
            bail!("one AdmissionReview at a time; another starts on line {}", second.line)
        }
    }
}

/// The answer of this program: pods are completed, objects of our own kinds are checked.
fn here(body: &[u8], catalog: &CatalogArgs) -> anyhow::Result<Vec<u8>> {
    let snapshot = catalog.load()?;
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let group = request.pointer("/request/kind/group").and_then(Value::as_str);
    let answer = if group == Some(GROUP) {
        review::validate(body, &snapshot)
    } else {
        review::mutate(body, &snapshot)
    };
    Ok(answer?.body)
}

/// Prints the difference, and says the decision before it and the warnings behind it.
fn show(body: &[u8], response: &Value, allowed: bool, color: Color) -> anyhow::Result<()> {
    say(&decision(response, allowed));
    let review: Value = serde_json::from_slice(body).context("the review cannot be read")?;
    let before = review.pointer("/request/object").unwrap_or(&Value::Null);
    if let Some(encoded) = response.get("patch").and_then(Value::as_str) {
        let operations = STANDARD.decode(encoded).context("the answer's patch is not base64")?;
        let operations: Vec<patch::Operation> =
            serde_json::from_slice(&operations).context("the answer's patch cannot be read")?;
        let after = patch::apply(before, &operations).context("the answer's patch does not fit")?;
        write(&diff::unified(before, &after, color.on_stdout()))?;
    }
    let warnings = response.get("warnings").and_then(Value::as_array);
    for warning in warnings.into_iter().flatten().filter_map(Value::as_str) {
        say(&format!("warning: {warning}"));
    }
    Ok(())
}

fn decision(response: &Value, allowed: bool) -> String {
    let text = |pointer: &str| response.pointer(pointer).and_then(Value::as_str);
    let code = text("/auditAnnotations/decision").unwrap_or("no code");
    if allowed {
        let configs = text("/auditAnnotations/configs").filter(|it| !it.is_empty());
        let configs = configs.map(|it| format!(" (configs: {})", it.replace(',', ", ")));
        return format!("allowed: {code}{}", configs.unwrap_or_default());
    }
    let causes = response.pointer("/status/details/causes").and_then(Value::as_array);
    // The code is said once.
    let (before, behind) = (format!("{code}: "), format!(" ({code})"));
    let causes = causes.into_iter().flatten().map(|cause| {
        let text = |key: &str| cause.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = text("message");
        (text("field"), message.strip_suffix(&behind).unwrap_or(message))
    });
    let message = text("/status/message").unwrap_or("no message");
    let message = message.strip_prefix(&before).unwrap_or(message);
    format!("denied: {}", refusal_words(message, code, causes))
}
