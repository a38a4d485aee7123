//! `net`: links between network namespaces, and what is reached over them.

use crate::runtime::net::{Bridge, BridgeSpec, HttpOptions, Veth, VethSpec};
use crate::runtime::ns::NsSet;
use crate::runtime::proc::Process;
use crate::runtime::session::HandleId;
use crate::script::bind::bridge;
use crate::script::bind::net_calls::{self as calls, NetnsArg, OutsideOptions, RouteOptions, WaitOptions};
use crate::script::convert::{Either, OrEmpty};
use crate::script::handle::{Held, Kind, Open};
use crate::script::native::natives;
use rhai::Map;
use std::rc::Rc;

impl Kind for Veth {
    const NAME: &'static str = "Veth";
    const DOC: &'static str = "Two connected links, each end in a namespace of its own.";
}

natives! {
    /// Links between network namespaces, their addresses and routes, and a small client for what is reached over them.
    ///
    /// A call with an `Ns` works inside its network namespace, which it must have of its own; without one it works in
    /// the program's. Netlink is spoken in process: no `ip` command is needed.
    pub const NET = "net";

    /// Makes two connected links, each end in a namespace of its own, with addresses and up; `lo` is brought up as well.
    ///
    /// The peer is born in its namespace. What is set is read back.
    ///
    /// Returns: the link.
    /// Errors: `invalid_argument` for a name over 15 bytes or a bad address, before anything is made; `already_exists` for a
    /// name or address that is taken; `permission_denied` without the privilege.
    /// Needs: CAP_NET_ADMIN where each end lives; veth in the kernel.
    /// Calls: veth(4), rtnetlink(7), ip-link(8)
    /// Undo: the link is deleted, and with it both ends; it also goes with a namespace that one of them is in.
    /// Example:
    ///     let lab = ns::new(["net"]);
    ///     let box = ns::new(["net"]);
    ///     let link = net::veth(#{ ns: lab, addr: "10.9.0.1/24", peer: #{ ns: box, addr: "10.9.0.2/24" } });
    ///     [link.addr, link.peer.name, link.peer.addr] // => ["10.9.0.1/24", "eth0", "10.9.0.2/24"]
    ///     [link.addresses[0], link.mtu, link.mac.len()] // => ["10.9.0.1/24", 1500, 17]
    ///     [link.ifindex > 0, link.netns == lab.inode("net")] // => [true, true]
    ///     net::veth(#{ name: "a-name-of-17-byte" })           // throws invalid_argument
    fn "net::veth"(options: OrEmpty<VethSpec>) -> Held<Veth> = calls::veth;
    /// Makes a bridge, a switch whose ports are links where it lives, and brings it up.
    ///
    /// With `subnet` it leads a network, in which it has the first address; `"auto"` takes one that no address or route
    /// uses, also when two programs choose at once. With `isolated`, what is attached reaches the bridge and nothing else of
    /// what is. Nothing is masqueraded.
    ///
    /// Returns: the bridge.
    /// Errors: `invalid_argument`, before anything is made; `already_exists` for a name or address that is taken or a
    /// subnet that overlaps an address or route; `permission_denied` without the privilege; `unsupported` without bridges in
    /// the kernel.
    /// Needs: CAP_NET_ADMIN where it lives; bridges in the kernel.
    /// Calls: rtnetlink(7), ip-link(8), bridge(8)
    /// Undo: it is deleted; its ports stay. It also goes with its namespace.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let br = net::bridge(#{ ns: box, name: "sw0", subnet: "10.94.2.0/24", isolated: true });
    ///     [br.addr, br.subnet, br.gateway]        // => ["10.94.2.1/24", "10.94.2.0/24", "10.94.2.1"]
    ///     [br.mac.len(), br.index > 0, br.isolated] // => [17, true, true]
    ///     br.netns == box.inode("net")                    // => true
    ///     net::bridge(#{ ns: box, name: "sw0" })              // throws already_exists
    fn "net::bridge"(options: OrEmpty<BridgeSpec>) -> Held<Bridge> = bridge::make;
    /// Makes a link a port of a bridge: the end of a veth that lives where the bridge does, or a link there by its name.
    ///
    /// It is one until it or the bridge is closed, or `Bridge.detach`. Addresses belong on the bridge: on a port they are
    /// of no use.
    ///
    /// Errors: `busy` for what is a port already; `not_found` when there is no link of this name; `invalid_argument` for a veth
    /// without an end there, and for what cannot be a port; `limit_reached` for the 1,024th port.
    /// Needs: CAP_NET_ADMIN where the bridge lives.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: it is no port any more when the bridge is closed.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let br = net::bridge(#{ ns: box });
    ///     let link = net::veth(#{ name: "p0", ns: box });
    ///     net::attach(link, br);
    ///     br.ports()[0].name                              // => "p0"
    ///     net::attach(link, br)                           // throws busy
    fn "net::attach"(
        /// A veth, or the name of a link where the bridge lives.
        dev: Either<Open<Veth>, String>,
        /// The bridge.
        bridge: Open<Bridge>
    ) = bridge::attach;
    /// The links of a namespace, in the order of their indexes.
    ///
    /// Returns: a list of maps: `name index type mac mtu up running addr peer master isolated`; `addr` is a list such as
    /// `["10.9.0.1/24"]`, `running` says that both ends of the wire are up, `peer` is the index of the other end of a
    /// veth, `master` that of the bridge that it is a port of; `()` is what a link does not have.
    /// Errors: `not_found` when the namespace is gone.
    /// Needs: nothing.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: nothing.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let links = net::links(box);
    ///     [links.len(), links[0].name, links[0].up, links[0].addr[0]] // => [1, "lo", true, "127.0.0.1/8"]
    fn "net::links"(
        /// The namespaces to look into. Without it the program's.
        ns: Option<NetnsArg>
    ) -> Vec<serde_json::Value> = calls::links;
    /// The unicast routes of the main table of a namespace, IPv4 first.
    ///
    /// Returns: a list of maps: `dst` (`"default"` or a network), `via` (or `()`), `dev`, `family` (4 or 6).
    /// Errors: `not_found` when the namespace is gone.
    /// Needs: nothing.
    /// Calls: rtnetlink(7), ip-route(8)
    /// Undo: nothing.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let link = net::veth(#{ peer: #{ name: "eth0", ns: box, addr: "10.94.3.2/24" } });
    ///     net::routes(box)[0] // => #{"dev": "eth0", "dst": "10.94.3.0/24", "family": 4, "via": ()}
    fn "net::routes"(
        /// The namespaces to look into. Without it the program's.
        ns: Option<NetnsArg>
    ) -> Vec<serde_json::Value> = calls::routes;
    /// Gives a link inside a namespace an address.
    ///
    /// Links of the program's own namespace get their addresses from `net::veth`.
    ///
    /// Errors: `not_found` when there is no such link; `already_exists` when it has the address; `invalid_argument` for what is
    /// no address.
    /// Needs: CAP_NET_ADMIN in the namespace.
    /// Calls: rtnetlink(7), ip-address(8)
    /// Undo: it goes with the namespace.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     net::addr(box, "lo", "10.94.4.1/32");
    ///     "10.94.4.1/32" in net::links(box)[0].addr           // => true
    ///     net::addr(box, "eth7", "10.94.4.2/32")              // throws not_found
    fn "net::addr"(
        /// The namespaces that the link lives in.
        ns: NetnsArg,
        /// The name of the link.
        dev: String,
        /// The address with its prefix: `"10.9.0.2/24"`.
        addr: String
    ) = calls::addr;
    /// Brings a link inside a namespace up.
    ///
    /// Errors: `not_found` when there is no such link.
    /// Needs: CAP_NET_ADMIN in the namespace.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: it goes with the namespace.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     net::down(box, "lo");
    ///     net::up(box, "lo");
    ///     net::links(box)[0].up                               // => true
    fn "net::up"(
        /// The namespaces that the link lives in.
        ns: NetnsArg,
        /// The name of the link.
        dev: String
    ) = calls::up;
    /// Brings a link inside a namespace down. Its routes go.
    ///
    /// Errors: `not_found` when there is no such link.
    /// Needs: CAP_NET_ADMIN in the namespace.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: it goes with the namespace.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     net::down(box, "lo");
    ///     net::links(box)[0].up                               // => false
    fn "net::down"(
        /// The namespaces that the link lives in.
        ns: NetnsArg,
        /// The name of the link.
        dev: String
    ) = calls::down;
    /// Adds a route inside a namespace.
    ///
    /// Returns: the route, as `net::routes` has it.
    /// Errors: `not_found` when no link reaches `via`; `already_exists` when there is a route there; `invalid_argument` for what
    /// is no address or network.
    /// Needs: CAP_NET_ADMIN in the namespace.
    /// Calls: rtnetlink(7), ip-route(8)
    /// Undo: it goes with the namespace.
    /// Example:
    ///     let lab = ns::new(["net"]);
    ///     let box = ns::new(["net"]);
    ///     let link = net::veth(#{ ns: lab, addr: "10.9.0.1/24", peer: #{ ns: box, addr: "10.9.0.2/24" } });
    ///     net::route(box, "default", #{ via: "10.9.0.1" }).dev  // => "eth0"
    ///     net::route(box, "10.0.0.0/8", #{ via: "192.0.2.77" }) // throws not_found
    fn "net::route"(
        /// The namespaces whose routes it is one of.
        ns: NetnsArg,
        /// Where it leads: `"default"`, or a network such as `"10.0.0.0/8"`.
        dst: String,
        options: RouteOptions
    ) -> serde_json::Value = calls::route;
    /// Waits until a TCP port accepts connections. Stopped by Ctrl-C.
    ///
    /// Returns: the seconds that it took.
    /// Errors: `timeout`, with why the last try failed; `not_found` for a name that `/etc/hosts` does not have.
    /// Needs: nothing.
    /// Calls: connect(2), tcp(7)
    /// Undo: nothing: the connection is closed.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     net::wait_port(box, 1, #{ timeout: "50ms" })        // throws timeout
    fn "net::wait_port"(
        /// An `Ns`, to connect inside it, or a host to connect to from here: an address, or a name in `/etc/hosts`.
        place: Either<NetnsArg, String>,
        /// The port.
        port: u16,
        options: OrEmpty<WaitOptions>
    ) -> f64 = calls::wait_port;
    /// Fetches a page over HTTP/1.1, from here or inside a namespace.
    ///
    /// `net::http_get(url, #{…})` from here, `net::http_get(ns, url, #{…})` inside a namespace. A status such as 404 is no
    /// error, and redirects are not followed.
    ///
    /// Returns: a map: `status`, `ok` (200 to 299), `headers` (names in lower case; those given twice are joined by
    /// `", "`), `body` (text, with U+FFFD for bytes that are none), `body_bytes` (blob).
    /// Errors: `not_found` when nothing listens; `timeout` when the answer takes too long; `limit_reached` for a body over
    /// `max_bytes`; `corrupt` for an answer that is not HTTP; `unsupported` for https.
    /// Needs: nothing.
    /// Calls: connect(2), tcp(7)
    /// Undo: nothing: the connection is closed.
    /// Example:
    ///     // needs busybox
    ///     let box = ns::new(["net"]);
    ///     let dir = fs::temp_dir();
    ///     fs::write(dir.path("index.html"), "hello");
    ///     let server = box.spawn(["busybox", "httpd", "-f", "-p", "127.0.0.1:8080", "-h", dir.path]);
    ///     net::wait_port(box, 8080);
    ///     net::http_get(box, "http://127.0.0.1:8080/").body   // => "hello"
    ///     net::http_get(box, "http://127.0.0.1:8080/x").status // => 404
    ///     net::http_get(box, "https://127.0.0.1/")            // throws unsupported
    fn "net::http_get"(
        /// An `Ns`, or the page when it is fetched from here.
        place: Either<NetnsArg, String>,
        /// The page: `"http://10.9.0.2:8080/"`. Without it `place` is the page.
        url: Option<Either<HttpOptions, String>>,
        options: Option<HttpOptions>
    ) -> Map = calls::http_get;

    /// Connects a network namespace to the world outside, by `pasta` or `slirp4netns`, whichever is installed.
    ///
    /// For an ordinary user, who cannot give it a link to the machine's network. Nothing is forwarded inwards, and the
    /// machine's loopback is not reached.
    ///
    /// Returns: the process that carries the packets.
    /// Errors: `unsupported` where none is installed or it ends, with what it says; `timeout` when it does not begin.
    /// Needs: pasta or slirp4netns; /dev/net/tun.
    /// Calls: pasta(1), slirp4netns(1), tun(4)
    /// Undo: it is cut when the returned process is closed.
    /// Example:
    ///     // needs slirp4netns
    ///     let box = ns::new(["net"]);
    ///     let outside = net::outside(box, #{ with: "slirp4netns" });
    ///     net::links(box).len()                               // => 2
    fn "net::outside"(
        /// The namespaces to connect, or the options. Without it the session's own network, in which the ends of links beside
        /// the program live.
        ns: Option<Either<Open<NsSet>, OutsideOptions>>,
        options: Option<OutsideOptions>
    ) -> (HandleId, Rc<Process>) = calls::outside;

    /// The first address of the first end, with its prefix: `"10.9.0.1/24"`, or `()`.
    get "Veth.addr"(link: Open<Veth>) -> Option<String> = calls::veth_addr;
    /// All addresses of the first end as a list, also those that the kernel gave it.
    get "Veth.addresses"(link: Open<Veth>) -> Vec<String> = calls::veth_addresses;
    /// The hardware address of the first end.
    get "Veth.mac"(link: Open<Veth>) -> Option<String> = calls::veth_mac;
    /// The index of the first end in its namespace.
    get "Veth.ifindex"(link: Open<Veth>) -> u32 = calls::veth_ifindex;
    /// The size of the largest packet in bytes.
    get "Veth.mtu"(link: Open<Veth>) -> u32 = calls::veth_mtu;
    /// The inode of the network namespace of the first end.
    get "Veth.netns"(link: Open<Veth>) -> u64 = calls::veth_netns;
    /// The other end as a map: `name addr addresses mac ifindex mtu netns`.
    get "Veth.peer"(link: Open<Veth>) -> serde_json::Value = calls::veth_peer;

    /// Its address, with its prefix: the one in its subnet, or else the first that was asked for, or `()`.
    get "Bridge.addr"(bridge: Open<Bridge>) -> Option<String> = bridge::addr;
    /// The network that it leads: `"10.88.0.0/24"`, or `()`.
    get "Bridge.subnet"(bridge: Open<Bridge>) -> Option<String> = bridge::subnet;
    /// Its address in this network without the prefix, for `via` of `net::route`, or `()`.
    get "Bridge.gateway"(bridge: Open<Bridge>) -> Option<String> = bridge::gateway;
    /// Its hardware address.
    get "Bridge.mac"(bridge: Open<Bridge>) -> Option<String> = bridge::mac;
    /// Its index in its namespace.
    get "Bridge.index"(bridge: Open<Bridge>) -> u32 = bridge::index;
    /// The inode of the network namespace that it lives in.
    get "Bridge.netns"(bridge: Open<Bridge>) -> u64 = bridge::netns;
    /// Whether its ports reach it, and each other not.
    get "Bridge.isolated"(bridge: Open<Bridge>) -> bool = bridge::isolated;
    /// The address of a host in its subnet.
    ///
    /// Returns: the address, with its prefix.
    /// Errors: `invalid_argument` for a number that the subnet does not have, and for a bridge without one.
    /// Needs: nothing.
    /// Calls: nothing.
    /// Undo: nothing.
    /// Example:
    ///     let br = net::bridge(#{ ns: ns::new(["net"]), subnet: "10.94.6.0/29" });
    ///     br.host(2)                                      // => "10.94.6.2/29"
    ///     br.host(7)                                      // throws invalid_argument
    method "Bridge.host"(
        bridge: Open<Bridge>,
        /// Which one: 1 is the first address of the subnet.
        n: u32
    ) -> String = bridge::host;
    /// The links that are its ports now.
    ///
    /// Returns: as `net::links`, without their addresses.
    /// Errors: `not_found` when it is gone.
    /// Needs: nothing.
    /// Calls: rtnetlink(7), bridge(8)
    /// Undo: nothing.
    /// Example:
    ///     net::bridge(#{ ns: ns::new(["net"]) }).ports()      // => []
    method "Bridge.ports"(bridge: Open<Bridge>) -> Vec<serde_json::Value> = bridge::ports;
    /// Makes a link its port. See `net::attach`.
    ///
    /// Errors: `busy` for what is a port already; `not_found` when there is no link of this name; `invalid_argument` for what
    /// cannot be a port; `limit_reached` for the 1,024th port.
    /// Needs: CAP_NET_ADMIN where the bridge lives.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: it is no port any more when the bridge is closed.
    /// Example:
    ///     let br = net::bridge(#{ ns: ns::new(["net"]) });
    ///     br.attach("lo")                                 // throws invalid_argument
    ///     br.attach("eth7")                               // throws not_found
    method "Bridge.attach"(
        bridge: Open<Bridge>,
        /// A veth, or the name of a link where the bridge lives.
        dev: Either<Open<Veth>, String>
    ) = bridge::attach_to;
    /// Takes a port from it.
    ///
    /// Errors: `invalid_argument` for a link that is no port of it; `not_found` when there is no link of this name.
    /// Needs: CAP_NET_ADMIN where the bridge lives.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: nothing.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let br = net::bridge(#{ ns: box });
    ///     let link = net::veth(#{ name: "p0", ns: box });
    ///     br.attach(link);
    ///     br.detach("p0");
    ///     br.ports()                                      // => []
    ///     br.detach("p0")                                 // throws invalid_argument
    method "Bridge.detach"(
        bridge: Open<Bridge>,
        /// A veth, or the name of a port.
        dev: Either<Open<Veth>, String>
    ) = bridge::detach;
    /// Brings it up, as it is when it is made.
    ///
    /// Errors: `not_found` when it is gone.
    /// Needs: CAP_NET_ADMIN where it lives.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: nothing.
    /// Example:
    ///     let br = net::bridge(#{ ns: ns::new(["net"]) });
    ///     br.down();
    ///     br.up();
    ///     br.inspect().up                                 // => true
    method "Bridge.up"(bridge: Open<Bridge>) = bridge::up;
    /// Brings it down: nothing passes between its ports.
    ///
    /// Errors: `not_found` when it is gone.
    /// Needs: CAP_NET_ADMIN where it lives.
    /// Calls: rtnetlink(7), ip-link(8)
    /// Undo: nothing.
    /// Example:
    ///     let br = net::bridge(#{ ns: ns::new(["net"]) });
    ///     br.down();
    ///     br.inspect().up                                 // => false
    method "Bridge.down"(bridge: Open<Bridge>) = bridge::down;
}
