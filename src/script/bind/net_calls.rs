//! The maps and arguments that the natives of [`super::net`] take, and what they do.

use crate::error::{Error, ErrorKind, Result};
use crate::runtime::net::{
    self, EndFacts, EndSpec, Helper, HttpOptions, HttpResponse, LinkInfo, Netns, Veth, VethSpec,
};
use crate::runtime::ns::Kind as NsKind;
use crate::runtime::ns::NsSet;
use crate::runtime::proc::Process;
use crate::runtime::session::HandleId;
use crate::script::call::Call;
use crate::script::convert::{At, Either, FromScript, OrEmpty, Size};
use crate::script::handle::{Held, Open};
use crate::script::options::{FromOptions, Key, Options, Opts};
use rhai::{Blob, Dynamic, Map};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

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
        Netns::new(at.call().op(), set.open(kind)?, set.network()).map(Self)
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

pub(super) struct PeerSpec(EndSpec);

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
pub(super) struct RouteOptions {
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
pub(super) struct WaitOptions {
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
pub(super) struct OutsideOptions {
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

pub(super) fn outside(
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

pub(super) fn veth(call: &Call<'_>, spec: OrEmpty<VethSpec>) -> Result<(HandleId, Rc<Veth>)> {
    net::veth(call.session(), spec.0)
}

/// The network namespace of an argument; without one that of the session.
pub(super) fn place_of(call: &Call<'_>, ns: Option<NetnsArg>) -> Result<Option<Netns>> {
    match ns {
        Some(ns) => Ok(Some(ns.0)),
        None => net::home(call.session()),
    }
}

pub(super) fn links(call: &Call<'_>, ns: Option<NetnsArg>) -> Result<Vec<serde_json::Value>> {
    Ok(net::links(place_of(call, ns)?.as_ref())?.iter().map(link_json).collect())
}

pub(super) fn routes(call: &Call<'_>, ns: Option<NetnsArg>) -> Result<Vec<serde_json::Value>> {
    Ok(net::routes(place_of(call, ns)?.as_ref())?.iter().map(route_json).collect())
}

pub(super) fn addr(call: &Call<'_>, ns: NetnsArg, dev: String, addr: String) -> Result<()> {
    net::addr(call.session(), &ns.0, &dev, &addr)
}

pub(super) fn up(call: &Call<'_>, ns: NetnsArg, dev: String) -> Result<()> {
    net::up(call.session(), &ns.0, &dev)
}

pub(super) fn down(call: &Call<'_>, ns: NetnsArg, dev: String) -> Result<()> {
    net::down(call.session(), &ns.0, &dev)
}

pub(super) fn route(
    call: &Call<'_>,
    ns: NetnsArg,
    dst: String,
    options: RouteOptions,
) -> Result<serde_json::Value> {
    net::route(call.session(), &ns.0, &dst, &options.via).map(|route| route_json(&route))
}

pub(super) fn wait_port(
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

pub(super) fn http_get(
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

pub(super) fn misused(call: &Call<'_>) -> Error {
    Error::new(ErrorKind::InvalidArgument, call.op(), "these arguments do not go together").hint(
        "write net::http_get(url), net::http_get(ns, url), each with a map of options after it or without",
    )
}

pub(super) fn page(answer: HttpResponse) -> Map {
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

pub(super) fn route_json(route: &net::Route) -> serde_json::Value {
    json!({
        "dst": route.dst.map_or_else(|| "default".to_owned(), |dst| dst.to_string()),
        "via": route.via.map(|via| via.to_string()),
        "dev": route.dev,
        "family": if route.v6 { 6 } else { 4 },
    })
}

pub(super) fn addresses(link: &LinkInfo) -> Vec<String> {
    link.addresses.iter().map(ToString::to_string).collect()
}

/// The first address that the user gave: the kernel gives those of the link itself.
pub(super) fn first_address(link: &LinkInfo) -> Option<String> {
    let automatic = |addr| matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local());
    link.addresses.iter().find(|cidr| !automatic(cidr.addr)).map(ToString::to_string)
}

pub(super) fn veth_addr(_: &Call<'_>, link: Open<Veth>) -> Result<Option<String>> {
    Ok(first_address(&link.end.link))
}

pub(super) fn veth_addresses(_: &Call<'_>, link: Open<Veth>) -> Result<Vec<String>> {
    Ok(addresses(&link.end.link))
}

pub(super) fn veth_mac(_: &Call<'_>, link: Open<Veth>) -> Result<Option<String>> {
    Ok(link.end.link.mac.map(|mac| mac.to_string()))
}

pub(super) fn veth_ifindex(_: &Call<'_>, link: Open<Veth>) -> Result<u32> {
    Ok(link.end.link.index)
}

pub(super) fn veth_mtu(_: &Call<'_>, link: Open<Veth>) -> Result<u32> {
    Ok(link.end.link.mtu)
}

pub(super) fn veth_netns(_: &Call<'_>, link: Open<Veth>) -> Result<u64> {
    Ok(link.end.netns)
}

pub(super) fn veth_peer(_: &Call<'_>, link: Open<Veth>) -> Result<serde_json::Value> {
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
