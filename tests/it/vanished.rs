//! A machine that is gone without a word: no FIN, no reset, and whatever is sent to it is never answered. The kernel gives
//! up on it in the time that the hub has set for it (`TCP_USER_TIMEOUT`), and not after a quarter of an hour.
//!
//! It takes a network of its own, in which an address can be taken away and packets to it go nowhere. Where such a network
//! cannot be made, as in some containers, the test says so; `chaos` then stands for it.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use tokio::net::TcpSocket;

use crate::http2::ended;
use crate::support::tls::Pem;
use crate::support::{EventStream, Open, Socket, TestHub, to_user};

const HUB: &str = "10.9.0.1";
const MACHINE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// What runs a command in a network namespace of its own, in which it is root.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net"]);
    command
}

#[test]
fn a_client_whose_machine_vanishes_is_let_go_of_in_time_and_owed_what_it_did_not_take() {
    let possible = apart().args(["ip", "link", "add", "type", "veth"]).output();
    if !possible.is_ok_and(|it| it.status.success()) {
        eprintln!("not tested: no network namespace can be made here (unshare, ip)");
        return;
    }
    let inside = "vanished::within_a_network_of_its_own";
    let run = apart()
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", inside, "--ignored", "--nocapture"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn ip(arguments: &str) {
    let run = Command::new("ip").args(arguments.split(' ')).output();
    let run = run.expect("iproute2");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "ip {arguments}: {said}");
}

/// A stream of ann's on the machine, whose address is this one's from here on.
async fn stream(hub: &TestHub, pem: Option<&Pem>) -> EventStream {
    ip(&format!("address add {MACHINE}/32 dev lo"));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((MACHINE, 0).into()).expect("its address");
    let socket = socket.connect(hub.addr()).await.expect("a connection");
    let socket: Box<dyn Socket> = match pem {
        Some(pem) => Box::new(pem.connect_on(socket, "http/1.1").await.expect("TLS")),
        None => Box::new(socket),
    };
    EventStream::open_on(socket, &hub.token("ann", &[], &[]), Open::default()).await
}

fn vanish() {
    ip(&format!("address delete {MACHINE}/32 dev lo"));
}

#[tokio::test]
#[ignore = "runs within the test above, which makes a network for it"]
async fn within_a_network_of_its_own() {
    // The machine is an address of this one, until it is taken away: then the way to it is a wire at whose end nobody has
    // the card to which packets are sent.
    ip("link set lo up");
    ip("link add wire type veth peer name nowhere");
    ip("link set wire up");
    ip("link set nowhere up");
    ip(&format!("address add {HUB}/24 dev wire"));
    ip(&format!(
        "neighbour add {MACHINE} lladdr 02:00:00:00:00:02 dev wire nud permanent"
    ));
    let pem = Pem::of(HUB);
    for pem in [None, Some(&pem)] {
        let hub = TestHub::with(|config| {
            config.serve.listen = format!("{HUB}:0").parse().expect("an address");
            config.stream.idle_limit = Duration::from_secs(1);
            config.stream.heartbeat = Duration::from_secs(1);
            if let Some(pem) = pem {
                pem.config(config);
            }
        })
        .await;
        let mut before = stream(&hub, pem).await;
        hub.publish(to_user("ann", 1)).await;
        before.expect_next_message("n1").await;
        // It comes after the hub has looked at what was acknowledged.
        while before.next().await.kind() != "heartbeat" {}
        vanish();
        hub.publish(to_user("ann", 2)).await;
        ended(&hub, "stalled", 1).await;
        let mut after = stream(&hub, pem).await;
        after.expect_next_message("n2").await;
        drop((before, after));
        hub.stop().await;
        vanish();
    }
}
