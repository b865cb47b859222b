//! What a scalar means to kubectl, by `resolve` of go-yaml v2 as `sigs.k8s.io/yaml` 1.6 carries it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// A scalar, resolved.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Above `i64::MAX` only.
    Uint(u64),
    Float(f64),
    Text(String),
}

const CORE: &str = "tag:yaml.org,2002:";

/// Resolves a scalar by its tag, given in full, or by its looks.
///
/// # Errors
/// What is wrong with it, for a tag that contradicts the text.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Scalar, String> {
    let Some(tag) = tag else {
        return Ok(if plain { looks(text) } else { Scalar::Text(text.to_owned()) });
    };
    let found = match tag.strip_prefix(CORE) {
        Some("bool" | "int" | "float" | "null") => looks(text),
        Some("timestamp") if !is_dated(text) => Scalar::Null,
        Some("binary") => return binary(text),
        // `!!str`, and every tag that Kubernetes has no type for.
        _ => return Ok(Scalar::Text(text.to_owned())),
    };
    match (tag.strip_prefix(CORE), found) {
        (Some("float"), Scalar::Int(value)) => Ok(Scalar::Float(int_to_f64(value))),
        (Some("bool"), value @ Scalar::Bool(_))
        | (Some("int"), value @ (Scalar::Int(_) | Scalar::Uint(_)))
        | (Some("float"), value @ Scalar::Float(_))
        | (Some("null"), value @ Scalar::Null) => Ok(value),
        (kind, _) => {
            Err(format!("`{text}` is not a !!{}; write it without the tag", kind.unwrap_or(tag)))
        }
    }
}

impl Scalar {
    /// The JSON value.
    ///
    /// # Errors
    /// For infinity and "not a number", which JSON cannot carry.
    pub(super) fn into_value(self) -> Result<Value, String> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => value.into(),
            Self::Uint(value) => value.into(),
            Self::Float(value) => number(value)
                .map(Value::Number)
                .ok_or("infinite and undefined numbers cannot be sent as JSON; quote the value")?,
            Self::Text(value) => Value::String(value),
        })
    }

    /// The scalar as a key of a JSON object.
    ///
    /// # Errors
    /// For a null and for a number above `i64::MAX`, which kubectl refuses as keys.
    pub(super) fn into_key(self) -> Result<String, String> {
        match self {
            Self::Null => Err("a key is empty or null; quote it".to_owned()),
            Self::Uint(value) => Err(format!("{value} is too large for a key; quote it")),
            Self::Bool(value) => Ok(value.to_string()),
            Self::Int(value) => Ok(value.to_string()),
            Self::Float(value) => Ok(float_key(value)),
            Self::Text(value) => Ok(value),
        }
    }
}

impl From<&Value> for Scalar {
    /// Reads a value back; lists and maps come out null, as they are no keys either.
    fn from(value: &Value) -> Self {
        match value {
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::String(value) => Self::Text(value.clone()),
            Value::Number(value) => value
                .as_i64()
                .map(Self::Int)
                .or_else(|| value.as_u64().map(Self::Uint))
                .or_else(|| value.as_f64().map(Self::Float))
                .unwrap_or(Self::Null),
        }
    }
}

/// An untagged, unquoted scalar.
fn looks(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'.') => separated(text).and_then(|digits| decimal(&digits)),
        Some(b'0'..=b'9' | b'+' | b'-') => {
            let digits = text.replace('_', "");
            integer(&digits).or_else(|| decimal(&digits))
        }
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

/// Go's `ParseInt` and `ParseUint` with base 0, and go-yaml's own reading of `0b`.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let signed = unsigned.len() != text.len();
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, lower.get(2..)?),
        Some("0b") => (2, lower.get(2..)?),
        Some("0o") => (8, lower.get(2..)?),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    if digits.starts_with(['+', '-']) {
        // go-yaml strips a lower-case `0b` itself and leaves a sign behind it to the parser.
        return (!signed && unsigned.starts_with("0b"))
            .then(|| i64::from_str_radix(digits, 2).ok())
            .flatten()
            .map(Scalar::Int);
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Scalar::Int);
    }
    match i64::try_from(magnitude) {
        Ok(value) => Some(Scalar::Int(value)),
        // A sign in front of a number of this size makes Go read a float.
        Err(_) if signed => None,
        Err(_) => Some(Scalar::Uint(magnitude)),
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`. One too large for a float stays a
/// string.
fn decimal(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            (mantissa, Some(exponent))
        }
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let matches = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    let value: f64 = matches.then(|| text.parse().ok()).flatten()?;
    value.is_finite().then_some(Scalar::Float(value))
}

/// The text without its underscores, which Go takes in a float only between two digits.
fn separated(text: &str) -> Option<String> {
    let groups: Vec<&str> = text.split('_').collect();
    let digit = |c: char| c.is_ascii_digit();
    groups
        .windows(2)
        .all(|pair| match pair {
            [left, right] => left.ends_with(digit) && right.starts_with(digit),
            _ => false,
        })
        .then(|| groups.concat())
}

fn is_dated(text: &str) -> bool {
    text.len() > 5
        && text.bytes().take(4).all(|byte| byte.is_ascii_digit())
        && text.as_bytes().get(4) == Some(&b'-')
}

fn binary(text: &str) -> Result<Scalar, String> {
    let packed: String = text.chars().filter(|c| *c != '\n').collect();
    let bytes = STANDARD.decode(packed).map_err(|_| "!!binary does not hold base64".to_owned())?;
    String::from_utf8(bytes)
        .map(Scalar::Text)
        .map_err(|_| "!!binary holds bytes that are not UTF-8; JSON cannot carry them".to_owned())
}

/// The number that a JSON reader sees after Go has written the float: a whole one is an integer.
fn number(value: f64) -> Option<Number> {
    // From this size on Go writes an exponent, and a JSON reader sees a float.
    const EXPONENT_FROM: f64 = 1e21;
    if value.fract() == 0.0 && value.abs() < EXPONENT_FROM && !is_negative_zero(value) {
        // The shortest digits, filled up with zeros, as Go prints them.
        let digits = value.to_string();
        if let Ok(value) = digits.parse::<i64>() {
            return Some(value.into());
        }
        if let Ok(value) = digits.parse::<u64>() {
            return Some(value.into());
        }
    }
    Number::from_f64(value)
}

fn is_negative_zero(value: f64) -> bool {
    value.to_bits() == (-0.0_f64).to_bits()
}

#[expect(clippy::cast_precision_loss, reason = "what `!!float` asks for")]
fn int_to_f64(value: i64) -> f64 {
    value as f64
}

/// Go's `FormatFloat(value, 'g', -1, 32)`, and go-yaml's names for what is no number.
#[expect(clippy::cast_possible_truncation, reason = "kubectl narrows keys as well")]
fn float_key(value: f64) -> String {
    let value = value as f32;
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if value != 0.0 && !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}
