//! What can be said of a shell script that starts an engine, from its text alone.
//!
//! Nothing certain can be parsed of a script, so only a few questions are asked, of its code:
//! the text without comments and without tests (`[[ … ]]`, `[ … ]`), which KServe's scripts use to
//! look for a flag that nobody may have given.

/// Whether a script's text configures a connector for KV transfer: it names a `kv_connector` with
/// a value, in any quoting or as a dotted key, or gives the flag a variable's value, which cannot
/// be looked into. Comments and tests do not count. Any text will do, arguments included.
#[must_use]
pub fn script_mentions_connector(script: &str) -> bool {
    let code = code(script);
    names_connector(&code) || gives_variable_config(&code)
}

/// The script without comments and tests, continued lines joined.
pub(crate) fn code(script: &str) -> String {
    let mut code = String::with_capacity(script.len());
    let mut quote = None;
    let mut line_start = true;
    let mut rest = script;
    while let Some(character) = rest.chars().next() {
        let word_start = quote.is_none() && code.chars().next_back().is_none_or(parts_words);
        if character == '#' && (line_start || word_start) {
            rest = rest.find('\n').and_then(|at| rest.get(at..)).unwrap_or("");
            continue;
        }
        if word_start && let Some(behind) = skip_test(rest) {
            code.push(' ');
            rest = behind;
            continue;
        }
        let mut length = character.len_utf8();
        if character == '\\' && quote != Some('\'') {
            let escaped = rest.get(1..).and_then(|rest| rest.chars().next());
            length += escaped.map_or(0, char::len_utf8);
            if escaped == Some('\n') {
                code.push(' ');
                line_start = true;
                rest = rest.get(length..).unwrap_or("");
                continue;
            }
        } else if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && matches!(character, '\'' | '"') {
            quote = Some(character);
        }
        let (own, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        code.push_str(own);
        line_start = character == '\n' || line_start && character.is_whitespace();
        rest = behind;
    }
    code
}

/// Whether the code refers to a variable: `$NAME`, `${NAME…}`, or `$(NAME)`, which the kubelet
/// expands.
pub(super) fn expands(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, behind) = around(code, at, name.len());
        let kubelet = before.ends_with("$(") && !before.ends_with("$$(") && behind.starts_with(')');
        let shell = before.ends_with('$') || before.ends_with("${");
        kubelet || shell && !behind.starts_with(is_name)
    })
}

/// Whether the code runs an engine: `vllm serve`, or one of vLLM's modules.
pub(super) fn runs_vllm(code: &str) -> bool {
    code.match_indices("vllm").any(|(at, word)| {
        let (before, behind) = around(code, at, word.len());
        let starts = !before.ends_with(|c: char| is_name(c) || matches!(c, '-' | '.'));
        let serves = behind.strip_prefix(['"', '\'']).unwrap_or(behind);
        let serve = serves.trim_start();
        starts
            && (behind.starts_with(".entrypoints.")
                || serve.len() < serves.len()
                    && serve
                        .strip_prefix("serve")
                        .is_some_and(|end| !end.starts_with(|c: char| is_name(c) || c == '-')))
    })
}

/// Whether the code hands on its own arguments.
pub(super) fn passes_args(code: &str) -> bool {
    ["$@", "$*", "${@", "${*"].iter().any(|all| code.contains(all))
}

/// What follows a test, if `text` starts with one that ends.
fn skip_test(text: &str) -> Option<&str> {
    /// In bytes. A test is a line; the bound keeps a script of nothing but `[[` cheap.
    const LONGEST: usize = 1024;
    let (open, close) = if text.starts_with("[[") { ("[[", " ]]") } else { ("[", " ]") };
    let inside = text.strip_prefix(open)?;
    if !inside.starts_with(char::is_whitespace) {
        return None;
    }
    let mut end = inside.len().min(LONGEST);
    while !inside.is_char_boundary(end) {
        end -= 1;
    }
    let window = inside.get(..end)?;
    window.match_indices(close).find_map(|(at, close)| {
        let behind = inside.get(at + close.len()..)?;
        behind.chars().next().is_none_or(parts_words).then_some(behind)
    })
}

fn names_connector(code: &str) -> bool {
    const MARKS: [char; 3] = ['"', '\'', '\\'];
    code.match_indices("kv_connector").any(|(at, key)| {
        let (before, behind) = around(code, at, key.len());
        if before.ends_with(is_name) {
            return false;
        }
        let value = if before.ends_with('.') {
            behind.strip_prefix(|c: char| c == '=' || c.is_whitespace())
        } else {
            let blank = |c: char| MARKS.contains(&c) || c.is_whitespace();
            behind.trim_start_matches(blank).strip_prefix(':')
        };
        value.is_some_and(|value| {
            let value = value.trim_start().trim_start_matches(MARKS);
            !value.is_empty()
                && !value.starts_with("null")
                && !value.starts_with([',', '}', '-', ' ', '\n'])
        })
    })
}

/// Whether the flag gets its value from a variable.
fn gives_variable_config(code: &str) -> bool {
    // Both are one byte, and vLLM reads them as the same in a flag's name.
    let code = code.replace('_', "-");
    code.match_indices(super::KV_TRANSFER_CONFIG).any(|(at, flag)| {
        let (_, behind) = around(&code, at, flag.len());
        behind.strip_prefix(|c: char| c == '=' || c.is_whitespace()).is_some_and(|value| {
            value.trim_start().trim_start_matches(['"', '\'', '\\']).starts_with('$')
        })
    })
}

fn around(text: &str, at: usize, length: usize) -> (&str, &str) {
    let before = text.get(..at).unwrap_or_default();
    let behind = text.get(at + length..).unwrap_or_default();
    (before, behind)
}

fn parts_words(character: char) -> bool {
    character.is_whitespace() || matches!(character, ';' | '&' | '|' | '(' | ')' | '!')
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_connector_in_any_quoting_is_seen() {
        for script in [
            r#"vllm serve m --kv-transfer-config '{"kv_connector":"NixlConnector"}'"#,
            r#"vllm serve m --kv_transfer_config "{\"kv_role\": \"kv_both\", \"kv_connector\" : \"X\"}""#,
            "vllm serve m --kv-transfer-config.kv_connector NixlConnector",
            "vllm serve m --kv_transfer_config.kv_connector='NixlConnector'",
            r#"ARGS="--kv-transfer-config '{\"kv_connector\":\"OffloadingConnector\"}'""#,
            "vllm serve m --kv-transfer-config \\\n  '{\"kv_connector\":\n\"A\"}'",
            "vllm serve m --kv-transfer-config \"${KV_CONFIG}\"",
            "vllm serve m --kv_transfer_config=$KV_CONFIG",
            "vllm serve m --kv-transfer-config '$(KV_CONFIG)'",
            "true # no\nvllm serve --kv-transfer-config.kv_connector X",
            "echo \"it's\" '#' a#b; vllm serve --kv-transfer-config.kv_connector X",
        ] {
            assert!(script_mentions_connector(script), "{script}");
        }
    }

    #[test]
    fn a_connector_that_is_not_given_is_not_seen() {
        for script in [
            "",
            "vllm serve m",
            r#"if [[ "${A:-}" != *"--kv-transfer-config"* ]]; then B=""; fi"#,
            r#"if [[ "$*" == *'"kv_connector":"X"'* ]]; then true; fi"#,
            r#"[ "$A" = '{"kv_connector":"X"}' ] && vllm serve m"#,
            r#"if echo "$*" | grep -q -- "--kv-transfer-config"; then true; fi"#,
            r#"if echo "$*" | grep -q '"kv_connector"'; then true; fi"#,
            r#"  # --kv-transfer-config '{"kv_connector":"X"}'"#,
            r#"vllm serve m # --kv-transfer-config '{"kv_connector":"X"}'"#,
            "vllm serve m \\\n  # --kv-transfer-config.kv_connector X\n  --port 1",
            "eval \"vllm serve m\n  # --kv-transfer-config.kv_connector X\n\"",
            r#"vllm serve m --kv-transfer-config '{"kv_connector_extra_config":{}}'"#,
            r#"vllm serve m --kv-transfer-config '{"kv_connector":null}'"#,
            r#"vllm serve m --kv-transfer-config '{"kv_connector":"","kv_role":"x"}'"#,
            "vllm serve m --kv-transfer-config.kv_role kv_both",
            "vllm serve m --kv-transfer-config.kv_connector --port 1",
            r#"KV_TRANSFER_ARGS="""#,
            "vllm serve m --kv-transfer-config '{}'",
        ] {
            assert!(!script_mentions_connector(script), "{script}");
        }
    }

    #[test]
    fn a_variable_is_expanded_or_not() {
        for (script, expected) in [
            ("a $VLLM_ADDITIONAL_ARGS b", true),
            ("a ${VLLM_ADDITIONAL_ARGS}", true),
            ("a ${VLLM_ADDITIONAL_ARGS:-}", true),
            ("a $(VLLM_ADDITIONAL_ARGS)", true),
            ("a $(echo $VLLM_ADDITIONAL_ARGS)", true),
            ("a $$(VLLM_ADDITIONAL_ARGS)", false),
            ("a $VLLM_ADDITIONAL_ARGS_2", false),
            ("a VLLM_ADDITIONAL_ARGS=1", false),
            ("# $VLLM_ADDITIONAL_ARGS", false),
            ("[[ -n $VLLM_ADDITIONAL_ARGS ]] && true", false),
            ("[ -n \"$VLLM_ADDITIONAL_ARGS\" ]; true", false),
        ] {
            assert_eq!(expands(&code(script), "VLLM_ADDITIONAL_ARGS"), expected, "{script}");
        }
    }

    #[test]
    fn an_engine_is_run_or_not() {
        for (script, expected) in [
            ("vllm serve m", true),
            ("exec \\\n  vllm \\\n  serve \\\n  m", true),
            ("eval \"exec /opt/bin/vllm serve m\"", true),
            ("python3 -m vllm.entrypoints.openai.api_server", true),
            ("VLLM_VERSION=$(vllm --version)", false),
            ("my-vllm serve", false),
            ("vllm serve-all", false),
            ("# vllm serve", false),
            ("vllmserve", false),
        ] {
            assert_eq!(runs_vllm(&code(script)), expected, "{script}");
        }
        assert!(passes_args(&code("vllm serve \"${@:1}\"")));
        assert!(!passes_args(&code("[[ \"$*\" != *x* ]] && vllm serve # $@")));
        assert!(!passes_args(&code("a=\"${b[@]}\"")));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[\\[\\]#\\\\'\" \n$@é{:}a-c]{0,60}") {
            let read = code(&text);
            prop_assert!(read.len() <= text.len());
            let _ = script_mentions_connector(&text);
        }
    }

    #[test]
    fn a_long_script_is_read_in_time() {
        let start = std::time::Instant::now();
        for piece in
            ["[[ ", "[ ", "kv_connector", "'", "# ", "\\\n", "vllm ", "--kv-transfer-config "]
        {
            let _ = script_mentions_connector(&piece.repeat(1_000_000 / piece.len()));
        }
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }
}
