//! The `llmisvc-webhook` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    llmisvc_webhook::cli::main()
}
