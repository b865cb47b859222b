//! Ready: what is served verifies with every caBundle that is in the cluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::registration::{Kind, Registration, Webhook};
use crate::tls;

/// A registration, as far as it is known.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// It was never read.
    Unknown,
    /// There is none.
    Absent,
    /// As it was last read.
    Read(Registration),
}

/// Makes a handshake with the listener for every webhook.
///
/// # Errors
/// Which webhook's API server would not talk to us, and why.
pub(super) async fn check(
    listener: SocketAddr,
    registrations: &[(Kind, &str, &Known)],
) -> Result<(), String> {
    // Webhooks of one registration mostly have the same name and bundle: one handshake is enough.
    let mut good: Vec<&Webhook> = Vec::new();
    for &(kind, name, known) in registrations {
        let kind = kind.kind();
        let webhooks = match known {
            Known::Unknown => return Err(format!("waiting to read {kind} {name}")),
            Known::Absent => return Err(format!("waiting for {kind} {name}")),
            Known::Read(registration) => &registration.webhooks,
        };
        for webhook in webhooks {
            let same = |w: &&Webhook| w.server == webhook.server && w.bundle == webhook.bundle;
            if good.iter().any(same) {
                continue;
            }
            if webhook.bundle.is_empty() {
                return Err(format!(
                    "waiting for a caBundle of webhook {} in {name}",
                    webhook.name
                ));
            }
            let verified = tls::verify(listener, &webhook.server, &webhook.bundle).await;
            verified.map_err(|error| {
                format!(
                    "the caBundle of webhook {} in {name} does not verify our certificate: {error}",
                    webhook.name
                )
            })?;
            good.push(webhook);
        }
    }
    Ok(())
}

/// Where a client in this process reaches a listener.
pub(super) fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_reached_by_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:8443"), "127.0.0.1:8443");
        assert_eq!(reach("[::]:8443"), "[::1]:8443");
        assert_eq!(reach("10.0.0.1:8443"), "10.0.0.1:8443");
    }

    #[tokio::test]
    async fn what_is_waited_for_is_named() {
        let listener = "127.0.0.1:1".parse().unwrap();
        let told = async |known: Known| {
            check(listener, &[(Kind::Mutating, "m", &known)]).await.unwrap_err()
        };
        assert_eq!(told(Known::Absent).await, "waiting for MutatingWebhookConfiguration m");
        let webhook = Webhook { name: "w".to_owned(), ..Webhook::default() };
        let read = Registration { webhooks: vec![webhook], ..Registration::default() };
        assert_eq!(told(Known::Read(read)).await, "waiting for a caBundle of webhook w in m");
    }
}
