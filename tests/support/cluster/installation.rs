//! Our manifests on a cluster without a network.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

use super::{Cluster, Forwarder, Ran, in_crate};

impl Cluster {
    /// Applies a kustomization of `manifests/` (`.` is the default one) with `kubectl apply -k`.
    ///
    /// Changed is what a network would do alone: the Service becomes the name `localhost`, and the
    /// API server dials the forwarder's port there.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub(crate) fn install(&self, overlay: &str, forwarder: &Forwarder) {
        let folder = self.installation(overlay, forwarder.port());
        let _ = self.kubectl(&["apply", "-k", &folder]).ok();
        let _ = self.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]).ok();
    }

    /// Takes away what `install` applied.
    pub(crate) fn uninstall(&self, overlay: &str, forwarder: &Forwarder) -> Ran {
        let folder = self.installation(overlay, forwarder.port());
        self.kubectl(&["delete", "--ignore-not-found", "-k", &folder])
    }

    /// A folder with a kustomization that refers to one of `manifests/`.
    ///
    /// # Panics
    /// When kubectl cannot render that one.
    #[track_caller]
    pub(crate) fn installation(&self, overlay: &str, port: u16) -> String {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(format!("installation-{made}"));
        fs::create_dir(&folder).unwrap();
        // kustomize takes no absolute path.
        symlink(in_crate("manifests"), folder.join("manifests")).unwrap();
        let manifests = in_crate("manifests").join(overlay);
        let rendered = self.kubectl(&["kustomize", manifests.to_str().unwrap()]).ok();
        let mut kustomization = format!("resources: [manifests/{overlay}]\n{SERVICE}");
        for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
            let _ = write!(kustomization, "  - target: {{ kind: {kind} }}\n    patch: |\n");
            for webhook in 0..webhooks(&rendered, kind) {
                let path = format!("/webhooks/{webhook}/clientConfig/service/port");
                let _ =
                    writeln!(kustomization, "      - {{ op: add, path: {path}, value: {port} }}");
            }
        }
        fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
        folder.to_str().unwrap().to_owned()
    }
}

const SERVICE: &str = "\
patches:
  - target: { kind: Service, name: llmisvc-webhook }
    patch: |
      apiVersion: v1
      kind: Service
      metadata: { name: any }
      spec: { type: ExternalName, externalName: localhost, selector: null, ports: null }
";

/// How many webhooks the configurations of a kind have, in what kustomize printed.
fn webhooks(rendered: &str, kind: &str) -> usize {
    let kind = format!("kind: {kind}");
    let documents = rendered.split("\n---\n");
    let ours = documents.filter(|document| document.lines().any(|line| line == kind));
    ours.flat_map(str::lines)
        .filter(|line| line.trim_start_matches("- ").trim() == "clientConfig:")
        .count()
}
