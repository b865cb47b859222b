//! What stands in for a Service's address: kube-proxy and `EndpointSlices`.

use std::io::{self, Read, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::replica::is_ready;
use super::{POLL, Replica};

/// A TCP port of loopback. A new connection goes to the next replica that is ready, and stays there,
/// whatever becomes of its readiness; where none is ready it is closed at once. A replica that dies
/// takes its connections with it.
#[derive(Debug)]
pub(crate) struct Forwarder {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    backends: Mutex<Vec<Arc<Backend>>>,
    next: AtomicUsize,
    ended: AtomicBool,
    /// Both ends of all connections, to end them.
    streams: Mutex<Vec<TcpStream>>,
}

#[derive(Debug)]
struct Backend {
    address: SocketAddr,
    metrics: SocketAddr,
    ready: AtomicBool,
    removed: AtomicBool,
    handed: AtomicUsize,
}

impl Forwarder {
    /// Takes a free port, and nobody to forward to.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner::default());
        let forwarder = Self { address, inner: Arc::clone(&inner) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if inner.ended.load(Ordering::SeqCst) {
                    break;
                }
                inner.hand(stream);
            }
        });
        forwarder
    }

    /// Where the API server finds the webhook.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port, for `clientConfig.service.port`.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Adds a replica; it gets connections once it says that it is ready.
    pub(crate) fn add(&self, replica: &Replica) {
        let backend = Arc::new(Backend {
            address: replica.address,
            metrics: replica.metrics,
            ready: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            handed: AtomicUsize::new(0),
        });
        locked(&self.inner.backends).push(Arc::clone(&backend));
        let inner = Arc::clone(&self.inner);
        thread::spawn(move || {
            while !inner.ended.load(Ordering::SeqCst) && !backend.removed.load(Ordering::SeqCst) {
                backend.ready.store(is_ready(backend.metrics), Ordering::SeqCst);
                thread::sleep(POLL);
            }
        });
    }

    /// Forgets a replica; its connections stay.
    pub(crate) fn remove(&self, replica: &Replica) {
        locked(&self.inner.backends).retain(|backend| {
            let other = backend.address != replica.address;
            backend.removed.store(!other, Ordering::SeqCst);
            other
        });
    }

    /// How many replicas were ready when they were last asked.
    pub(crate) fn ready(&self) -> usize {
        locked(&self.inner.backends).iter().filter(|backend| backend.is_ready()).count()
    }

    /// How many connections a replica was given.
    pub(crate) fn handed(&self, replica: &Replica) -> usize {
        let backends = locked(&self.inner.backends);
        let of = backends.iter().find(|backend| backend.address == replica.address);
        of.map_or(0, |backend| backend.handed.load(Ordering::SeqCst))
    }

    /// Ends all connections, as a network that fails would.
    pub(crate) fn cut(&self) {
        for stream in locked(&self.inner.streams).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        self.cut();
    }
}

impl Backend {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}

impl Inner {
    /// Gives a connection to the next ready replica; dropped, it is closed.
    fn hand(&self, client: TcpStream) {
        let ready: Vec<_> =
            locked(&self.backends).iter().filter(|backend| backend.is_ready()).cloned().collect();
        if ready.is_empty() {
            return;
        }
        let next = self.next.fetch_add(1, Ordering::SeqCst) % ready.len();
        let backend = &ready[next];
        backend.handed.fetch_add(1, Ordering::SeqCst);
        // One that has died since it was last asked refuses, and nobody else is tried: as in a
        // cluster.
        let Ok(server) = TcpStream::connect(backend.address) else { return };
        if let Err(error) = self.join(client, server) {
            eprintln!("the forwarder lost a connection: {error}");
        }
    }

    fn join(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        locked(&self.streams).extend([client.try_clone()?, server.try_clone()?]);
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || copy(from_client, to_server));
        thread::spawn(move || copy(server, client));
        Ok(())
    }
}

/// Copies until either end closes, then closes both as far as this direction goes.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                if to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                let _ = to.shutdown(Shutdown::Both);
                break;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
