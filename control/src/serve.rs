//! The API's listener. By hand over hyper, because a slow client must be bounded in number and in
//! time, which axum's own loop leaves open.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::tasks::{Tasks, stopped};

/// Connections at one time.
const CONNECTIONS_MAX: usize = 512;
/// How long a request's head may take.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a connection may live; scripts that poll reconnect.
const CONNECTION_LIFE: Duration = Duration::from_secs(3_600);
/// How long to wait before accepting again when the system has no more to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until told to stop.
pub(crate) async fn api(router: Router, listener: TcpListener, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = tasks.stopping();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, tasks_here) = (router.clone(), tasks.clone());
                tasks.spawn("api", async move {
                    connection(router, stream, tasks_here).await;
                    drop(place);
                });
            }
            Err(fault) => {
                tracing::warn!(%fault, "a connection to the API could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(router: Router, stream: TcpStream, tasks: Tasks) {
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(15))
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(64);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(served);
    let mut stop = tasks.stopping();
    tokio::select! {
        _ = served.as_mut() => return,
        () = stopped(&mut stop) => {}
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
    }
    served.as_mut().graceful_shutdown();
    // What is being answered is answered; the stop itself bounds how long that may take.
    let _ = tokio::time::timeout(HEAD_WAIT, served).await;
}
