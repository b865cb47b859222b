//! `UCX_TLS`: the transports that UCX may use.
//!
//! Source: `src/ucp/core/ucp_context.c` (the aliases) and `UCT_TL_DEFINE*` of openucx/ucx 1.22-dev.

use std::collections::BTreeSet;

/// Transports that need an RDMA device, and the aliases of such.
const RDMA: [&str; 20] = [
    "ib",
    "rc",
    "rc_v",
    "rc_x",
    "rc_verbs",
    "rc_mlx5",
    "rc_gda",
    "dc",
    "dc_x",
    "dc_mlx5",
    "ud",
    "ud_v",
    "ud_x",
    "ud_verbs",
    "ud_mlx5",
    "srd",
    "gga",
    "gga_mlx5",
    "ugni_rdma",
    "ugni",
];

/// Transports that know the memory of GPUs, and the aliases of such.
const GPU: [&str; 14] = [
    "cuda",
    "cuda_copy",
    "cuda_ipc",
    "gdr_copy",
    "rocm",
    "rocm_copy",
    "rocm_ipc",
    "rocm_gdr",
    "ze",
    "ze_copy",
    "ze_ipc",
    "ze_gdr",
    "gaudi",
    "gaudi_gdr",
];

/// The others.
const OTHER: [&str; 13] = [
    "all",
    "tcp",
    "sm",
    "shm",
    "mm",
    "posix",
    "sysv",
    "xpmem",
    "cma",
    "knem",
    "self",
    "ugni_udt",
    "ugni_smsg",
];

/// What brings the unreliable datagrams over which a reliable connection is set up.
const CONNECTS: [&str; 14] = [
    "all", "tcp", "ib", "rc", "rc_v", "rc_x", "ud", "ud_v", "ud_x", "ud_verbs", "ud_mlx5", "dc",
    "dc_x", "dc_mlx5",
];

/// Names of a list that are read: there are not as many transports.
const LONGEST: usize = 256;

/// A list of transports.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Transports<'t> {
    /// These are those that may not be used (`^`).
    denied: bool,
    names: Vec<&'t str>,
}

impl<'t> Transports<'t> {
    /// `None` of the empty text, and of one with a variable in it.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.contains('$') {
            return None;
        }
        let list = text.strip_prefix('^');
        let names = list.unwrap_or(text).split(',').map(str::trim).filter(|name| !name.is_empty());
        // `ud:aux`: only to set a connection up.
        let names = names.map(|name| name.split(':').next().unwrap_or(name));
        let names: BTreeSet<&str> = names.take(LONGEST).collect();
        Some(Self { denied: list.is_some(), names: names.into_iter().collect() })
    }

    /// Names that UCX does not have.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &'t str> {
        self.names.iter().copied().filter(|name| !known().any(|known| known == *name))
    }

    /// Whether every way to another node needs an RDMA device, and there is one such way.
    pub(super) fn needs_rdma(&self) -> bool {
        !self.denied && self.names_any(&RDMA) && !self.names_any(&["tcp", "all"])
    }

    /// Whether an RDMA device is left unused. What is denied may still leave a way to use it.
    pub(super) fn leaves_rdma_out(&self) -> bool {
        !self.denied
            && self.names_any(&["tcp"])
            && !self.names_any(&RDMA)
            && !self.names_any(&["all"])
    }

    /// Whether nothing in the list knows the memory of a GPU.
    pub(super) fn leaves_gpu_out(&self) -> bool {
        !self.denied && !self.names_any(&GPU) && !self.names_any(&["all"])
    }

    /// A reliable transport without the one that sets its connections up (nixl#1647).
    pub(super) fn bare(&self) -> Option<&'t str> {
        let bare = self.names.iter().find(|name| ["rc_verbs", "rc_mlx5"].contains(*name))?;
        (!self.denied && !self.names_any(&CONNECTS)).then_some(*bare)
    }

    fn names_any(&self, names: &[&str]) -> bool {
        self.names.iter().any(|name| names.contains(name))
    }
}

/// Every name that UCX has.
pub(super) fn known() -> impl Iterator<Item = &'static str> {
    RDMA.into_iter().chain(GPU).chain(OTHER)
}

/// Whether a list of network devices holds interfaces of the kernel alone: RDMA devices are written
/// with their port, as `mlx5_0:1`.
pub(super) fn only_interfaces(devices: &str) -> bool {
    const NAMES: [&str; 6] = ["eth", "ens", "eno", "enp", "bond", "net"];
    let names: Vec<&str> =
        devices.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let is_interface = |name: &&str| {
        NAMES.iter().any(|start| {
            name.strip_prefix(start).is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
        }) && !name.contains(':')
    };
    !names.is_empty() && names.iter().all(is_interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Transports<'_> {
        Transports::parse(text).unwrap()
    }

    #[test]
    fn published_lists_are_known() {
        for text in [
            "rc,sm,self,cuda_copy,cuda_ipc",
            "rc,ud,sm,self,cuda_copy",
            "rc_mlx5,rc,cuda_copy,cuda_ipc,sm,shm,self",
            "ib,rc,ze_copy",
            "cuda_copy,cuda_ipc,tcp",
            "tcp,sm,self,cuda_copy,cuda_ipc",
            "all",
            "^tcp",
        ] {
            assert_eq!(of(text).unknown().count(), 0, "{text}");
            assert_eq!(of(text).bare(), None, "{text}");
            assert!(!of(text).leaves_gpu_out(), "{text}");
        }
    }

    #[test]
    fn a_list_says_what_it_needs() {
        assert!(of("rc,sm,self,cuda").needs_rdma());
        assert!(!of("rc,tcp,self,cuda").needs_rdma());
        assert!(!of("^tcp").needs_rdma());
        assert!(!of("sm,self").needs_rdma());
        assert!(of("tcp,cuda_copy").leaves_rdma_out());
        assert!(!of("tcp,rc").leaves_rdma_out());
        assert!(of("rc,sm,self").leaves_gpu_out());
        assert_eq!(of("rc_mlx5,sm").bare(), Some("rc_mlx5"));
        assert_eq!(of("rc_mlx5,ud:aux").bare(), None);
        assert_eq!(of("rc, cuda_cpy").unknown().collect::<Vec<_>>(), ["cuda_cpy"]);
        assert_eq!(Transports::parse("$(TLS)"), None);
    }

    #[test]
    fn devices_are_told_apart_by_their_port() {
        assert!(only_interfaces("eth0"));
        assert!(only_interfaces("eth0,net1"));
        assert!(!only_interfaces("mlx5_0:1,eth0"));
        assert!(!only_interfaces("network"));
        assert!(!only_interfaces(""));
    }
}
