//! `net`: links between network namespaces, and what is reached over them.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::net::{
    self, Bridge, BridgeSpec, EndFacts, EndSpec, Helper, HttpOptions, HttpResponse, LinkInfo, Netns, Veth,
    VethSpec,
};
use crate::runtime::ns::Kind as NsKind;
use crate::runtime::ns::NsSet;
use crate::runtime::proc::Process;
use crate::runtime::session::HandleId;
use crate::script::bind::bridge;
use crate::script::call::Call;
use crate::script::convert::{At, Either, FromScript, OrEmpty, Size};
use crate::script::handle::{Held, Kind, Open};
use crate::script::native::natives;
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::{Blob, Dynamic, Map};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

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
    ///     let box = ns::new(["net"]);
    ///     let link = net::veth(#{ addr: "10.94.1.1/24", peer: #{ name: "eth0", ns: box, addr: "10.94.1.2/24" } });
    ///     [link.addr, link.peer.name, link.peer.addr]         // => ["10.94.1.1/24", "eth0", "10.94.1.2/24"]
    ///     [link.addresses[0], link.mtu, link.mac.len(), link.ifindex > 0] // => ["10.94.1.1/24", 1500, 17, true]
    ///     link.netns != box.inode("net")                      // => true
    ///     net::veth(#{ name: "a-name-of-17-byte" })           // throws invalid_argument
    fn "net::veth"(options: OrEmpty<VethSpec>) -> Held<Veth> = veth;
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
    ) -> Vec<serde_json::Value> = links;
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
    ) -> Vec<serde_json::Value> = routes;
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
    ) = addr;
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
    ) = up;
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
    ) = down;
    /// Adds a route inside a namespace.
    ///
    /// Returns: the route, as `net::routes` has it.
    /// Errors: `not_found` when no link reaches `via`; `already_exists` when there is a route there; `invalid_argument` for what
    /// is no address or network.
    /// Needs: CAP_NET_ADMIN in the namespace.
    /// Calls: rtnetlink(7), ip-route(8)
    /// Undo: it goes with the namespace.
    /// Example:
    ///     let box = ns::new(["net"]);
    ///     let link = net::veth(#{ addr: "10.94.5.1/24", peer: #{ name: "eth0", ns: box, addr: "10.94.5.2/24" } });
    ///     net::route(box, "default", #{ via: "10.94.5.1" }).dev // => "eth0"
    ///     net::route(box, "10.0.0.0/8", #{ via: "192.0.2.77" }) // throws not_found
    fn "net::route"(
        /// The namespaces whose routes it is one of.
        ns: NetnsArg,
        /// Where it leads: `"default"`, or a network such as `"10.0.0.0/8"`.
        dst: String,
        options: RouteOptions
    ) -> serde_json::Value = route;
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
    ) -> f64 = wait_port;
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
    ) -> Map = http_get;

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
    ) -> (HandleId, Rc<Process>) = outside;

    /// The first address of the first end, with its prefix: `"10.9.0.1/24"`, or `()`.
    get "Veth.addr"(link: Open<Veth>) -> Option<String> = veth_addr;
    /// All addresses of the first end as a list, also those that the kernel gave it.
    get "Veth.addresses"(link: Open<Veth>) -> Vec<String> = veth_addresses;
    /// The hardware address of the first end.
    get "Veth.mac"(link: Open<Veth>) -> Option<String> = veth_mac;
    /// The index of the first end in its namespace.
    get "Veth.ifindex"(link: Open<Veth>) -> u32 = veth_ifindex;
    /// The size of the largest packet in bytes.
    get "Veth.mtu"(link: Open<Veth>) -> u32 = veth_mtu;
    /// The inode of the network namespace of the first end.
    get "Veth.netns"(link: Open<Veth>) -> u64 = veth_netns;
    /// The other end as a map: `name addr addresses mac ifindex mtu netns`.
    get "Veth.peer"(link: Open<Veth>) -> serde_json::Value = veth_peer;

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

/// A set of namespaces with a network namespace of its own.
#[derive(Clone, Debug)]
pub struct NetnsArg(pub Netns);

impl FromScript for NetnsArg {
    const OPEN: bool = true;

    fn expected() -> String {
        Held::<NsSet>::expected()
    }
    fn accepts(value: &Dynamic) -> bool {
        Held::<NsSet>::accepts(value)
    }
    fn from_script(value: Dynamic, at: &At<'_, '_>) -> Result<Self> {
        let set = Open::<NsSet>::from_script(value, at)?;
        let kind = NsKind::of_name("net").filter(|kind| set.kinds.has(kind.name));
        let Some(kind) = kind else {
            let what = format!("has no network namespace of its own (its kinds: {})", set.kinds);
            return Err(at.wrong(what).hint("add \"net\" to the kinds of ns::new"));
        };
        Netns::new(at.call().op(), set.open(kind)?, crate::runtime::session::Handle::name(&*set)).map(Self)
    }
}

pub(super) const END_KEYS: [Key; 5] = [
    Key::new("name", "text", "chosen free; \"eth0\" inside an ns", "The name of this end, at most 15 bytes."),
    Key::new("ns", "Ns", "the program's namespace", "The namespaces in whose network this end lives."),
    Key::new("addr", "text or list of text", "none", "Its addresses with their prefixes: \"10.9.0.1/24\"."),
    Key::new("mtu", "number of bytes", "the other end's, or 1500", "The size of its largest packet."),
    Key::new("mac", "text", "random", "Its hardware address: \"02:00:00:00:00:01\"."),
];
const PEER: Options = Options { of: "net::veth peer", open: None, keys: &END_KEYS };
const VETH: Options = Options {
    of: "net::veth",
    open: None,
    keys: &{
        let [name, ns, addr, mtu, mac] = END_KEYS;
        [
            name,
            ns,
            addr,
            mtu,
            mac,
            Key::new("peer", "map", "an end beside the program", "The other end.").map(&PEER),
        ]
    },
};

impl FromOptions for VethSpec {
    const OPTIONS: &'static Options = &VETH;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let peer = opts.take::<PeerSpec>("peer")?.map_or_else(EndSpec::default, |peer| peer.0);
        Ok(Self { end: end(opts)?, peer })
    }
}

struct PeerSpec(EndSpec);

impl FromOptions for PeerSpec {
    const OPTIONS: &'static Options = &PEER;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        end(opts).map(Self)
    }
}

pub(super) fn end(opts: &mut Opts<'_, '_>) -> Result<EndSpec> {
    let addr = match opts.take::<Either<String, Vec<String>>>("addr")? {
        None => Vec::new(),
        Some(Either::Left(one)) => vec![one],
        Some(Either::Right(list)) => list,
    };
    let ns = opts.take::<NetnsArg>("ns")?.map(|ns| ns.0);
    Ok(EndSpec { name: opts.take("name")?, ns, addr, mtu: opts.take("mtu")?, mac: opts.take("mac")? })
}

/// Where a route leads through.
#[derive(Debug)]
struct RouteOptions {
    via: String,
}

const ROUTE: Options = Options {
    of: "net::route",
    open: None,
    keys: &[Key::new("via", "text", "", "The address of the neighbour to send through: \"10.9.0.1\".")],
};

impl FromOptions for RouteOptions {
    const OPTIONS: &'static Options = &ROUTE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self { via: opts.need("via")? })
    }
}

/// What to wait for, and how long.
#[derive(Debug)]
struct WaitOptions {
    host: Option<String>,
    timeout: Duration,
}

const WAIT: Options = Options {
    of: "net::wait_port",
    open: None,
    keys: &[
        Key::new("host", "text", "\"127.0.0.1\"", "The host to connect to from inside the Ns."),
        Key::new("timeout", "duration", "\"10s\"", "How long to wait at most."),
    ],
};

impl FromOptions for WaitOptions {
    const OPTIONS: &'static Options = &WAIT;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self { host: opts.take("host")?, timeout: opts.or("timeout", Duration::from_secs(10))? })
    }
}

const HTTP: Options = Options {
    of: "net::http_get",
    open: None,
    keys: &[
        Key::new("timeout", "duration", "\"5s\"", "How long everything may take together."),
        Key::new("headers", "map of text", "none", "Headers beside those that are always sent."),
        Key::new("max_bytes", "size", "\"16MiB\"", "How large the body may be."),
    ],
};

impl FromOptions for HttpOptions {
    const OPTIONS: &'static Options = &HTTP;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let default = Self::default();
        let headers: BTreeMap<String, String> = opts.or("headers", BTreeMap::new())?;
        let most = opts.take::<Size>("max_bytes")?;
        Ok(Self {
            timeout: opts.or("timeout", default.timeout)?,
            headers: headers.into_iter().collect(),
            max_bytes: most.map_or(default.max_bytes, |most| usize::try_from(most.0).unwrap_or(usize::MAX)),
        })
    }
}

/// Which program connects a namespace.
#[derive(Debug)]
struct OutsideOptions {
    with: Option<Helper>,
}

const OUTSIDE: Options = Options {
    of: "net::outside",
    open: None,
    keys: &[Key::new("with", "text", "what is installed", "\"pasta\" or \"slirp4netns\".")],
};

impl FromOptions for OutsideOptions {
    const OPTIONS: &'static Options = &OUTSIDE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        let Some(name) = opts.take::<String>("with")? else { return Ok(Self { with: None }) };
        match Helper::ALL.into_iter().find(|helper| helper.name() == name) {
            Some(helper) => Ok(Self { with: Some(helper) }),
            None => Err(opts.at().key("with").wrong("must be \"pasta\" or \"slirp4netns\"")),
        }
    }
}

fn outside(
    call: &Call<'_>,
    ns: Option<Either<Open<NsSet>, OutsideOptions>>,
    options: Option<OutsideOptions>,
) -> Result<(HandleId, Rc<Process>)> {
    let (set, options) = match (ns, options) {
        (Some(Either::Left(set)), options) => (Some(set), options),
        (Some(Either::Right(options)), None) => (None, Some(options)),
        (None, options) => (None, options),
        (Some(Either::Right(_)), Some(_)) => return Err(call.invalid("the options were given twice")),
    };
    if let Some(set) = set.as_ref().filter(|set| !set.kinds.has("net")) {
        let what = format!("the Ns has no network namespace of its own (its kinds: {})", set.kinds);
        return Err(call.invalid(&what).hint("add \"net\" to the kinds of ns::new"));
    }
    net::outside(call.session(), set.as_deref(), options.and_then(|options| options.with))
}

fn veth(call: &Call<'_>, spec: OrEmpty<VethSpec>) -> Result<(HandleId, Rc<Veth>)> {
    net::veth(call.session(), spec.0)
}

/// The network namespace of an argument; without one that of the session.
fn place_of(call: &Call<'_>, ns: Option<NetnsArg>) -> Result<Option<Netns>> {
    match ns {
        Some(ns) => Ok(Some(ns.0)),
        None => net::home(call.session()),
    }
}

fn links(call: &Call<'_>, ns: Option<NetnsArg>) -> Result<Vec<serde_json::Value>> {
    Ok(net::links(place_of(call, ns)?.as_ref())?.iter().map(link_json).collect())
}

fn routes(call: &Call<'_>, ns: Option<NetnsArg>) -> Result<Vec<serde_json::Value>> {
    Ok(net::routes(place_of(call, ns)?.as_ref())?.iter().map(route_json).collect())
}

fn addr(call: &Call<'_>, ns: NetnsArg, dev: String, addr: String) -> Result<()> {
    net::addr(call.session(), &ns.0, &dev, &addr)
}

fn up(call: &Call<'_>, ns: NetnsArg, dev: String) -> Result<()> {
    net::up(call.session(), &ns.0, &dev)
}

fn down(call: &Call<'_>, ns: NetnsArg, dev: String) -> Result<()> {
    net::down(call.session(), &ns.0, &dev)
}

fn route(call: &Call<'_>, ns: NetnsArg, dst: String, options: RouteOptions) -> Result<serde_json::Value> {
    net::route(call.session(), &ns.0, &dst, &options.via).map(|route| route_json(&route))
}

fn wait_port(
    call: &Call<'_>,
    place: Either<NetnsArg, String>,
    port: u16,
    options: OrEmpty<WaitOptions>,
) -> Result<f64> {
    let WaitOptions { host, timeout } = options.0;
    let took = match (place, host) {
        (Either::Left(ns), host) => {
            let host = host.as_deref().unwrap_or("127.0.0.1");
            net::wait_port(call.session(), Some(&ns.0), host, port, timeout)
        }
        (Either::Right(host), None) => {
            net::wait_port(call.session(), place_of(call, None)?.as_ref(), &host, port, timeout)
        }
        (Either::Right(_), Some(_)) => {
            Err(call.invalid("`host` goes with an Ns: the first argument is a host already"))
        }
    };
    took.map(|took| took.as_secs_f64())
}

fn http_get(
    call: &Call<'_>,
    place: Either<NetnsArg, String>,
    url: Option<Either<HttpOptions, String>>,
    options: Option<HttpOptions>,
) -> Result<Map> {
    let (ns, url, options) = match (place, url, options) {
        (Either::Left(ns), Some(Either::Right(url)), options) => (Some(ns.0), url, options),
        (Either::Right(url), None, None) => (None, url, None),
        (Either::Right(url), Some(Either::Left(options)), None) => (None, url, Some(options)),
        _ => return Err(misused(call)),
    };
    let ns = place_of(call, ns.map(NetnsArg))?;
    net::http_get(call.session(), ns.as_ref(), &url, &options.unwrap_or_default()).map(page)
}

fn misused(call: &Call<'_>) -> Error {
    Error::new(ErrorKind::InvalidArgument, call.op(), "these arguments do not go together").hint(
        "write net::http_get(url), net::http_get(ns, url), each with a map of options after it or without",
    )
}

fn page(answer: HttpResponse) -> Map {
    let mut headers = Map::new();
    for (name, value) in &answer.headers {
        let held = headers.get(name.as_str()).map(|held| format!("{held}, {value}"));
        headers.insert(name.as_str().into(), held.unwrap_or_else(|| value.clone()).into());
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let body: Blob = answer.body;
    Map::from_iter([
        ("status".into(), Dynamic::from(i64::from(answer.status))),
        ("ok".into(), (200..300).contains(&answer.status).into()),
        ("headers".into(), headers.into()),
        ("body".into(), text.into()),
        ("body_bytes".into(), Dynamic::from_blob(body)),
    ])
}

pub(super) fn link_json(link: &LinkInfo) -> serde_json::Value {
    json!({
        "name": link.name,
        "index": link.index,
        "type": link.kind,
        "mac": link.mac.map(|mac| mac.to_string()),
        "mtu": link.mtu,
        "up": link.up,
        "running": link.running,
        "addr": addresses(link),
        "peer": link.peer,
        "master": link.master,
        "isolated": link.isolated,
    })
}

fn route_json(route: &net::Route) -> serde_json::Value {
    json!({
        "dst": route.dst.map_or_else(|| "default".to_owned(), |dst| dst.to_string()),
        "via": route.via.map(|via| via.to_string()),
        "dev": route.dev,
        "family": if route.v6 { 6 } else { 4 },
    })
}

fn addresses(link: &LinkInfo) -> Vec<String> {
    link.addresses.iter().map(ToString::to_string).collect()
}

/// The first address that the user gave: the kernel gives those of the link itself.
pub(super) fn first_address(link: &LinkInfo) -> Option<String> {
    let automatic = |addr| matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    link.addresses.iter().find(|cidr| !automatic(cidr.addr)).map(ToString::to_string)
}

fn veth_addr(_: &Call<'_>, link: Open<Veth>) -> Result<Option<String>> {
    Ok(first_address(&link.end.link))
}

fn veth_addresses(_: &Call<'_>, link: Open<Veth>) -> Result<Vec<String>> {
    Ok(addresses(&link.end.link))
}

fn veth_mac(_: &Call<'_>, link: Open<Veth>) -> Result<Option<String>> {
    Ok(link.end.link.mac.map(|mac| mac.to_string()))
}

fn veth_ifindex(_: &Call<'_>, link: Open<Veth>) -> Result<u32> {
    Ok(link.end.link.index)
}

fn veth_mtu(_: &Call<'_>, link: Open<Veth>) -> Result<u32> {
    Ok(link.end.link.mtu)
}

fn veth_netns(_: &Call<'_>, link: Open<Veth>) -> Result<u64> {
    Ok(link.end.netns)
}

fn veth_peer(_: &Call<'_>, link: Open<Veth>) -> Result<serde_json::Value> {
    let EndFacts { link, netns } = &link.peer;
    Ok(json!({
        "name": link.name,
        "addr": first_address(link),
        "addresses": addresses(link),
        "mac": link.mac.map(|mac| mac.to_string()),
        "ifindex": link.index,
        "mtu": link.mtu,
        "netns": netns,
    }))
}
