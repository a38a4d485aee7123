//! The calls of `net` that are about bridges. Their table is that of [`super::net`].

use crate::error::Result;
use crate::runtime::net::{self, Bridge, BridgeSpec, Device, Veth};
use crate::runtime::session::HandleId;
use crate::script::bind::net_calls::{END_KEYS, end, first_address, link_json};
use crate::script::call::Call;
use crate::script::convert::{Either, OrEmpty};
use crate::script::handle::{Kind, Open};
use crate::script::options::{FromOptions, Key, Options, Opts};
use std::rc::Rc;

impl Kind for Bridge {
    const NAME: &'static str = "Bridge";
    const DOC: &'static str = "A switch whose ports are links.";
}

const BRIDGE: Options = Options {
    of: "net::bridge",
    open: None,
    keys: &{
        let [_, _, addr, _, mac] = END_KEYS;
        [
            Key::new("name", "text", "chosen free", "Its name, at most 15 bytes."),
            Key::new("ns", "Ns", "the program's namespace", "The namespaces in whose network it lives."),
            Key::new(
                "subnet",
                "text",
                "none",
                "The network it leads: \"10.88.0.0/24\", or \"auto\" for a free one.",
            ),
            Key::new("gateway", "text", "the first", "Its address in the subnet: \"10.88.0.254\"."),
            addr,
            Key::new(
                "mtu",
                "number of bytes",
                "the smallest of its ports'",
                "The size of its largest packet.",
            ),
            mac,
            Key::new("isolated", "bool", "false", "Whether its ports reach it, and each other not."),
        ]
    },
};

impl FromOptions for BridgeSpec {
    const OPTIONS: &'static Options = &BRIDGE;
    fn from_options(opts: &mut Opts<'_, '_>) -> Result<Self> {
        Ok(Self {
            subnet: opts.take("subnet")?,
            gateway: opts.take("gateway")?,
            isolated: opts.or("isolated", false)?,
            link: end(opts)?,
        })
    }
}

pub(super) fn make(call: &Call<'_>, spec: OrEmpty<BridgeSpec>) -> Result<(HandleId, Rc<Bridge>)> {
    net::bridge(call.session(), spec.0)
}

fn device(dev: Either<Open<Veth>, String>) -> Device {
    match dev {
        Either::Left(veth) => Device::Veth(veth.shared()),
        Either::Right(name) => Device::Named(name),
    }
}

pub(super) fn attach(call: &Call<'_>, dev: Either<Open<Veth>, String>, bridge: Open<Bridge>) -> Result<()> {
    net::attach(call.session(), &device(dev), &bridge)
}

pub(super) fn attach_to(
    call: &Call<'_>,
    bridge: Open<Bridge>,
    dev: Either<Open<Veth>, String>,
) -> Result<()> {
    net::attach(call.session(), &device(dev), &bridge)
}

pub(super) fn detach(call: &Call<'_>, bridge: Open<Bridge>, dev: Either<Open<Veth>, String>) -> Result<()> {
    net::detach(call.session(), &device(dev), &bridge)
}

pub(super) fn up(call: &Call<'_>, bridge: Open<Bridge>) -> Result<()> {
    bridge.up(call.session())
}

pub(super) fn down(call: &Call<'_>, bridge: Open<Bridge>) -> Result<()> {
    bridge.down(call.session())
}

pub(super) fn host(_: &Call<'_>, bridge: Open<Bridge>, n: u32) -> Result<String> {
    bridge.host(n).map(|host| host.to_string())
}

pub(super) fn ports(_: &Call<'_>, bridge: Open<Bridge>) -> Result<Vec<serde_json::Value>> {
    Ok(net::ports(&bridge)?.iter().map(link_json).collect())
}

pub(super) fn addr(_: &Call<'_>, bridge: Open<Bridge>) -> Result<Option<String>> {
    let gateway = bridge.gateway.map(|gateway| gateway.to_string());
    Ok(gateway.or_else(|| first_address(&bridge.facts.link)))
}

pub(super) fn subnet(_: &Call<'_>, bridge: Open<Bridge>) -> Result<Option<String>> {
    Ok(bridge.subnet().map(|subnet| subnet.to_string()))
}

pub(super) fn gateway(_: &Call<'_>, bridge: Open<Bridge>) -> Result<Option<String>> {
    Ok(bridge.gateway.map(|gateway| gateway.addr.to_string()))
}

pub(super) fn mac(_: &Call<'_>, bridge: Open<Bridge>) -> Result<Option<String>> {
    Ok(bridge.facts.link.mac.map(|mac| mac.to_string()))
}

pub(super) fn index(_: &Call<'_>, bridge: Open<Bridge>) -> Result<u32> {
    Ok(bridge.facts.link.index)
}

pub(super) fn netns(_: &Call<'_>, bridge: Open<Bridge>) -> Result<u64> {
    Ok(bridge.facts.netns)
}

pub(super) fn isolated(_: &Call<'_>, bridge: Open<Bridge>) -> Result<bool> {
    Ok(bridge.isolated)
}
