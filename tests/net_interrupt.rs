//! A signal stops what waits on the network. Alone in its program: the signal is caught for all of it.

use cshell::error::ErrorKind;
use cshell::runtime::cancel;
use cshell::runtime::net::{self, HttpOptions};
use cshell::runtime::session::Session;
use cshell::runtime::state::StateDirs;
use nix::sys::signal::{Signal, kill};
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

#[test]
fn a_signal_stops_a_fetch_and_a_wait() {
    cancel::install().unwrap();
    let session = Session::new(StateDirs::from_env()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        // The request is here: from now on the client waits for the answer.
        assert!(stream.read(&mut request).unwrap() > 0);
        kill(nix::unistd::getpid(), Signal::SIGINT).unwrap();
        stream
    });
    let options = HttpOptions { timeout: Duration::from_secs(60), ..HttpOptions::default() };
    let error = net::http_get(&session, None, &format!("http://127.0.0.1:{port}/"), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
    assert!(error.to_string().contains("SIGINT"), "{error:?}");
    drop(server.join().unwrap());
    let error = net::wait_port(&session, None, "127.0.0.1", 1, Duration::from_secs(60)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
}
