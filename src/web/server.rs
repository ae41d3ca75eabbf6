//! The listener: limits on headers, slow clients and connections, and the way it stops.

use std::any::Any;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use actix_web::dev::{Extensions, Server};
use actix_web::{App, HttpServer, web};

use super::credential::LocalAdmin;
use super::patience::Patience;
use super::{WebState, configure};

/// Most connections per worker.
const CONNECTIONS: usize = 15_000;

/// What to listen on.
pub struct Listen {
    /// TCP sockets, bound already.
    pub tcp: Vec<TcpListener>,
    /// The admin socket: a peer of the same user, or root, needs no token.
    pub local: Option<UnixListener>,
    /// Threads that serve.
    pub workers: usize,
    /// How long running requests may take to end at a stop.
    pub stop_secs: u64,
}

/// Builds the server. The caller spawns it, and stops it through its handle after [`WebState::end_streams`].
pub fn serve(listen: Listen, state: WebState) -> std::io::Result<Server> {
    serve_with(listen, state, Patience::default())
}

/// [`serve`] with other times.
pub fn serve_with(listen: Listen, state: WebState, patience: Patience) -> std::io::Result<Server> {
    let mut server = HttpServer::new(move || {
        App::new()
            .wrap_fn(super::outermost)
            .app_data(web::Data::new(state.clone()))
            .app_data(patience)
            .configure(configure)
    })
    .workers(listen.workers)
    .client_request_timeout(patience.head)
    .client_disconnect_timeout(patience.linger)
    .keep_alive(patience.idle)
    .max_connections(CONNECTIONS)
    .shutdown_timeout(listen.stop_secs)
    .disable_signals()
    .on_connect(mark_local_admin);
    for socket in listen.tcp {
        // Connections have it from the socket they came in at. Only the system knows what of an answer was taken.
        let unread = u32::try_from(patience.unread.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(&socket, unread)?;
        server = server.listen(socket)?;
    }
    if let Some(socket) = listen.local {
        server = server.listen_uds(socket)?;
    }
    Ok(server.run())
}

fn mark_local_admin(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::UnixStream>() else { return };
    let own = rustix::process::geteuid().as_raw();
    if stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0) {
        data.insert(LocalAdmin);
    }
}
