//! The options that say which services and configs there are.

use std::path::PathBuf;

use anyhow::bail;

use super::output::say;
use crate::catalog::files::{DEFAULT_NAMESPACE, Loader, Problem};
use crate::catalog::{Settings, Snapshot};
use crate::presets::ReleaseSet;

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

    /// Built-in configs, named after the release of KServe that they follow
    #[arg(long, value_name = "SET", value_enum, default_value = "v0.17")]
    pub presets: ReleaseSet,
}

impl CatalogArgs {
    /// Everything that `--objects` names. What cannot be read in it is said on standard error.
    ///
    /// # Errors
    /// When a named path cannot be read, or nothing in any of them can.
    pub fn load(&self) -> anyhow::Result<Snapshot> {
        Ok(self.finish(self.loader(DEFAULT_NAMESPACE)?))
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
    pub(super) fn finish(&self, loader: Loader) -> Snapshot {
        let with_presets = |mut settings: Settings| {
            settings.presets = self.presets;
            settings
        };
        loader.finish(with_presets(Settings::default())).snapshot
    }
}

/// Says problems on standard error, each a line behind `level`.
pub(super) fn warn(problems: &[Problem], level: &str) {
    for problem in problems {
        say(&format!("{level}: {problem}"));
    }
}
