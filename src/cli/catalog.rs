//! The options that say which services and configs there are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::output::say;
use crate::catalog::files::{DEFAULT_NAMESPACE, Loader, Problem};
use crate::catalog::{Settings, Snapshot};
use crate::presets::ReleaseSet;
use crate::rules;
use crate::yaml;

/// Which services and configs there are.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Catalog")]
pub struct CatalogArgs {
    /// Files and directories with services and configs.
    #[arg(
        long,
        value_name = "PATH",
        help = "File or directory with LLMInferenceServices and LLMInferenceServiceConfigs; may be \
                repeated",
        long_help = "File or directory with LLMInferenceServices and LLMInferenceServiceConfigs; may \
                     be repeated\n\nOf a directory, the *.yaml, *.yml and *.json files are read, its \
                     subdirectories are not. A Namespace with the label inject.llmisvc.io/fabric \
                     counts as well; other kinds are passed over."
    )]
    pub objects: Vec<PathBuf>,

    /// Built-in configs, named after the release of KServe that they follow [default: v0.17]
    #[arg(long, value_name = "SET", value_enum)]
    pub presets: Option<ReleaseSet>,

    /// YAML file with the operator's settings: presets, systemNamespace, fabric, …
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

impl CatalogArgs {
    /// Everything that `--objects` names. What cannot be read in it is said on standard error.
    ///
    /// # Errors
    /// When a named path cannot be read, or nothing in any of them can.
    pub fn load(&self) -> anyhow::Result<Snapshot> {
        self.finish(self.loader(DEFAULT_NAMESPACE)?)
    }

    /// As [`CatalogArgs::load`], with room for more objects; those without a namespace are in
    /// `namespace`.
    pub(super) fn loader(&self, namespace: &str) -> anyhow::Result<Loader> {
        let mut loader = Loader::new(namespace);
        for path in &self.objects {
            loader.path(path);
        }
        let problems = loader.take_problems();
        if let Some(problem) =
            problems.iter().find(|it| it.line.is_none() && self.objects.contains(&it.file))
        {
            bail!("--objects {problem}");
        }
        warn(&problems, "warning");
        if loader.objects() == 0 && !problems.is_empty() {
            bail!("nothing that --objects names could be read");
        }
        Ok(loader)
    }

    /// The catalog of what was gathered.
    ///
    /// # Errors
    /// When the settings cannot be read.
    pub(super) fn finish(&self, loader: Loader) -> anyhow::Result<Snapshot> {
        Ok(loader.finish(self.settings()?).snapshot)
    }

    /// The settings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = match &self.settings {
            Some(file) => read_settings(file)
                .with_context(|| format!("--settings {}: cannot be read", file.display()))?,
            None => Settings::default(),
        };
        if let Some(presets) = self.presets {
            settings.presets = presets;
        }
        for code in rules::unknown_codes(&settings) {
            say(&format!("warning: --settings: rules: no rule has the code {code:?}"));
        }
        Ok(settings)
    }
}

fn read_settings(file: &Path) -> anyhow::Result<Settings> {
    let text = std::fs::read_to_string(file)?;
    let mut documents = yaml::documents(&text).into_iter();
    let value = match documents.next() {
        None => return Ok(Settings::default()),
        Some(document) => document.value?,
    };
    if documents.next().is_some() {
        bail!("there is more than one document in it; write one");
    }
    serde_json::from_value(value).context("a setting is not one, or of another type")
}

/// Says problems on standard error, each a line behind `level`.
pub(super) fn warn(problems: &[Problem], level: &str) {
    for problem in problems {
        say(&format!("{level}: {problem}"));
    }
}
