//! A conversation with the kernel over rtnetlink: one socket in one network namespace.
//!
//! Every request passes [`crate::sys::call`], so that it is in the trace, fails when a test wants it to, and prints
//! as the cause of an error. The executor has no thread of its own and ends with the conversation.

use crate::error::{Result, SysContext};
use crate::runtime::net::netns::{make_in, show};
use crate::runtime::net::{Cidr, LinkInfo, Mac, Netns};
use crate::sys::{self, Errno, Outcome};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo as Info,
    LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long the kernel may take for one request: it may be busy with links elsewhere, but never for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The index of `lo`, the first link of every network namespace (`LOOPBACK_IFINDEX`).
pub(super) const LO: u32 = 1;

type Connection = rtnetlink::proto::Connection<rtnetlink::packet_route::RouteNetlinkMessage>;

/// One end of a veth that is to be made.
#[derive(Debug)]
pub(super) struct NewEnd<'a> {
    pub(super) name: &'a str,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: Option<u32>,
}

/// An address of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) index: u32,
    pub(super) cidr: Cidr,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Netlink {
    handle: Handle,
    place: String,
    runtime: Rc<Runtime>,
}

/// A socket that was opened in its namespace and is not driven yet.
struct Opened {
    connection: Connection,
    handle: Handle,
    fd: i32,
}

impl Outcome for Opened {
    fn show(&self) -> String {
        self.fd.to_string()
    }
}

impl Outcome for LinkInfo {
    fn show(&self) -> String {
        format!("{} index {}", self.name, self.index)
    }
}

/// The bytes that a link has received and sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Outcome for Traffic {
    fn show(&self) -> String {
        format!("{} B received, {} B sent", self.received, self.sent)
    }
}

impl Outcome for Vec<LinkInfo> {
    fn show(&self) -> String {
        format!("{} links", self.len())
    }
}

impl Outcome for Vec<Held> {
    fn show(&self) -> String {
        format!("{} addresses", self.len())
    }
}

impl Outcome for Vec<RouteMessage> {
    fn show(&self) -> String {
        format!("{} routes", self.len())
    }
}

impl Netlink {
    /// Opens a conversation in the namespace `ns`, or in this thread's.
    pub(super) fn open(op: &'static str, ns: Option<&Netns>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context(op, "cannot start the netlink executor")?;
        Self::on(Rc::new(runtime), op, ns)
    }

    /// Opens another conversation on the same executor.
    pub(super) fn beside(&self, op: &'static str, ns: Option<&Netns>) -> Result<Self> {
        Self::on(self.runtime.clone(), op, ns)
    }

    fn on(runtime: Rc<Runtime>, op: &'static str, ns: Option<&Netns>) -> Result<Self> {
        let executor = runtime.handle().clone();
        let opened = make_in(ns, || {
            let _entered = executor.enter();
            sys::call(
                "socket",
                || "AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE".into(),
                || {
                    let (mut connection, handle, _) = rtnetlink::new_connection()?;
                    let fd = connection.socket_mut().as_raw_fd();
                    Ok::<_, std::io::Error>(Opened { connection, handle, fd })
                },
            )
        });
        let Opened { connection, handle, .. } = opened.context(op, "cannot open a netlink socket")?;
        runtime.spawn(connection);
        let place = ns.map_or_else(String::new, |ns| format!(" in {}", show(ns.inode)));
        Ok(Self { handle, place, runtime })
    }

    /// One request. `work` is started inside, so that a request that is made to fail is not sent.
    fn ask<T: Outcome>(
        &self,
        name: &'static str,
        args: impl Fn() -> String,
        work: impl AsyncFnOnce(&Handle) -> std::result::Result<T, rtnetlink::Error>,
    ) -> sys::Result<T> {
        sys::call(
            name,
            || format!("{}{}", args(), self.place),
            || {
                let answer = async { tokio::time::timeout(PATIENCE, work(&self.handle)).await };
                match self.runtime.block_on(answer) {
                    Ok(result) => result.map_err(|error| errno_of(&error)),
                    Err(_) => Err(Errno::ETIMEDOUT),
                }
            },
        )
    }

    /// Makes a veth whose second end is born in the namespace `ns`, or here.
    pub(super) fn new_veth(
        &self,
        near: &NewEnd<'_>,
        far: &NewEnd<'_>,
        ns: Option<&Netns>,
    ) -> sys::Result<()> {
        // Without the flag "up": the second end cannot be up before the first exists (ENOTCONN).
        let mut peer = with(LinkUnspec::new_with_name(far.name), far);
        if let Some(ns) = ns {
            peer = peer.setns_by_fd(ns.fd.as_raw_fd());
        }
        let data = InfoData::Veth(InfoVeth::Peer(peer.build()));
        let link = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth).name(near.name);
        let message = with(link, near).set_info_data(data).build();
        self.ask(
            "RTM_NEWLINK",
            || {
                let there = ns.map_or_else(String::new, |ns| format!(" in {}", show(ns.inode)));
                let mac = near.mac.map_or_else(String::new, |mac| format!(" address {mac}"));
                format!("veth {}{mac} peer {}{there}", near.name, far.name)
            },
            async move |handle| handle.link().add(message).execute().await,
        )
    }

    /// Makes a bridge, which is down. An address that is set from birth is never replaced by a port's.
    pub(super) fn new_bridge(&self, name: &str, mac: Mac) -> sys::Result<()> {
        let link = LinkMessageBuilder::<LinkBridge>::new(name).address(mac.0.to_vec());
        let message = link.build();
        self.ask(
            "RTM_NEWLINK",
            || format!("bridge {name} address {mac}"),
            async move |handle| handle.link().add(message).execute().await,
        )
    }

    /// The link with this name; `ENODEV` without one.
    pub(super) fn link_named(&self, name: &str) -> sys::Result<LinkInfo> {
        self.ask(
            "RTM_GETLINK",
            || name.to_owned(),
            async |handle| first(handle.link().get().match_name(name).execute().try_next().await?.as_ref()),
        )
    }

    /// The link with this index; `ENODEV` without one.
    pub(super) fn link_at(&self, index: u32) -> sys::Result<LinkInfo> {
        self.ask(
            "RTM_GETLINK",
            || format!("index {index}"),
            async |handle| first(handle.link().get().match_index(index).execute().try_next().await?.as_ref()),
        )
    }

    /// What a link has received and sent.
    pub(super) fn traffic_at(&self, index: u32) -> sys::Result<Traffic> {
        self.ask(
            "RTM_GETLINK",
            || format!("index {index}"),
            async |handle| {
                let message = handle.link().get().match_index(index).execute().try_next().await?;
                let attributes = message.map(|message| message.attributes).unwrap_or_default();
                let stats = attributes.into_iter().find_map(|attribute| match attribute {
                    LinkAttribute::Stats64(stats) => {
                        Some(Traffic { received: stats.rx_bytes, sent: stats.tx_bytes })
                    }
                    _ => None,
                });
                Ok(stats.unwrap_or_default())
            },
        )
    }

    /// All links, without their addresses.
    pub(super) fn links(&self) -> sys::Result<Vec<LinkInfo>> {
        self.ask(
            "RTM_GETLINK",
            || "all".into(),
            async |handle| {
                let messages: Vec<LinkMessage> = handle.link().get().execute().try_collect().await?;
                Ok(messages.iter().map(link_info).collect::<Vec<_>>())
            },
        )
    }

    /// The addresses of all links.
    pub(super) fn addresses(&self) -> sys::Result<Vec<Held>> {
        self.ask(
            "RTM_GETADDR",
            || "all".into(),
            async |handle| {
                let messages: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
                Ok(messages.iter().filter_map(held).collect::<Vec<_>>())
            },
        )
    }

    /// Gives a link an address.
    pub(super) fn add_address(&self, index: u32, cidr: Cidr) -> sys::Result<()> {
        self.ask(
            "RTM_NEWADDR",
            || format!("{cidr} dev index {index}"),
            async |handle| {
                let mut request = handle.address().add(index, cidr.addr, cidr.prefix);
                if cidr.addr.is_ipv6() {
                    // Otherwise the address is unusable for the second or two that the kernel looks for a double.
                    let message = request.message_mut();
                    message.header.flags |= AddressHeaderFlags::Nodad;
                    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
                }
                request.execute().await
            },
        )
    }

    /// Takes an address from a link.
    pub(super) fn delete_address(&self, index: u32, cidr: Cidr) -> sys::Result<()> {
        self.ask(
            "RTM_DELADDR",
            || format!("{cidr} dev index {index}"),
            async |handle| {
                let message = handle.address().add(index, cidr.addr, cidr.prefix).message_mut().clone();
                handle.address().del(message).execute().await
            },
        )
    }

    /// Brings a link up or down.
    pub(super) fn set_up(&self, index: u32, up: bool) -> sys::Result<()> {
        let message = LinkUnspec::new_with_index(index);
        let message = if up { message.up() } else { message.down() }.build();
        self.set(&format!("index {index} {}", if up { "up" } else { "down" }), message)
    }

    /// Gives a link another hardware address.
    pub(super) fn set_mac(&self, index: u32, mac: Mac) -> sys::Result<()> {
        let message = LinkUnspec::new_with_index(index).address(mac.0.to_vec()).build();
        self.set(&format!("index {index} address {mac}"), message)
    }

    /// Gives a link another size of its largest packet.
    pub(super) fn set_mtu(&self, index: u32, mtu: u32) -> sys::Result<()> {
        let message = LinkUnspec::new_with_index(index).mtu(mtu).build();
        self.set(&format!("index {index} mtu {mtu}"), message)
    }

    /// Makes a link a port of the bridge with this index, or of none.
    pub(super) fn set_master(&self, index: u32, bridge: Option<u32>) -> sys::Result<()> {
        let message = LinkUnspec::new_with_index(index).controller(bridge.unwrap_or(0)).build();
        let master = bridge.map_or_else(|| "nomaster".into(), |bridge| format!("master index {bridge}"));
        self.set(&format!("index {index} {master}"), message)
    }

    /// Keeps a port of a bridge from the other ports that are kept so.
    pub(super) fn isolate(&self, index: u32) -> sys::Result<()> {
        let message = LinkBridgePort::new(index).isolated(true).build();
        self.ask(
            "RTM_NEWLINK",
            || format!("index {index} bridge_slave isolated on"),
            async move |handle| handle.link().set_port(message).execute().await,
        )
    }

    fn set(&self, args: &str, message: LinkMessage) -> sys::Result<()> {
        self.ask(
            "RTM_SETLINK",
            || args.to_owned(),
            async move |handle| handle.link().set(message).execute().await,
        )
    }

    /// Deletes a link.
    pub(super) fn delete(&self, index: u32) -> sys::Result<()> {
        self.ask(
            "RTM_DELLINK",
            || format!("index {index}"),
            async |handle| handle.link().del(index).execute().await,
        )
    }

    /// Adds a route; `text` is how it is shown.
    pub(super) fn add_route(&self, text: &str, message: RouteMessage) -> sys::Result<()> {
        self.ask(
            "RTM_NEWROUTE",
            || text.to_owned(),
            async move |handle| handle.route().add(message).execute().await,
        )
    }

    /// All routes of the family that `filter` names.
    pub(super) fn routes(&self, filter: &RouteMessage) -> sys::Result<Vec<RouteMessage>> {
        self.ask(
            "RTM_GETROUTE",
            || format!("{:?}", filter.header.address_family),
            async |handle| handle.route().get(filter.clone()).execute().try_collect().await,
        )
    }
}

fn with<T>(mut link: LinkMessageBuilder<T>, end: &NewEnd<'_>) -> LinkMessageBuilder<T> {
    if let Some(mac) = end.mac {
        link = link.address(mac.0.to_vec());
    }
    if let Some(mtu) = end.mtu {
        link = link.mtu(mtu);
    }
    link
}

fn first(message: Option<&LinkMessage>) -> std::result::Result<LinkInfo, rtnetlink::Error> {
    message.map(link_info).ok_or(rtnetlink::Error::RequestFailed)
}

/// What a failed request stands for. Without an answer of the kernel's it is a broken connection.
fn errno_of(error: &rtnetlink::Error) -> Errno {
    match error {
        rtnetlink::Error::NetlinkError(message) => Errno::from_raw(message.raw_code().saturating_neg()),
        rtnetlink::Error::RequestFailed => Errno::ECONNABORTED,
        rtnetlink::Error::UnexpectedMessage(_) => Errno::EPROTO,
        _ => Errno::EINVAL,
    }
}

fn held(message: &AddressMessage) -> Option<Held> {
    // On a point-to-point link "address" is the other side's and "local" is ours.
    let attribute =
        |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = attribute(|a| if let AddressAttribute::Local(addr) = a { Some(*addr) } else { None });
    let addr = local.or_else(|| {
        attribute(|a| if let AddressAttribute::Address(addr) = a { Some(*addr) } else { None })
    })?;
    Some(Held { index: message.header.index, cidr: Cidr { addr, prefix: message.header.prefix_len } })
}

fn link_info(message: &LinkMessage) -> LinkInfo {
    let flags = message.header.flags;
    let mut info = LinkInfo {
        name: String::new(),
        index: message.header.index,
        kind: match message.header.link_layer_type {
            LinkLayerType::Loopback => "loopback".into(),
            _ => "device".into(),
        },
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        running: flags.contains(LinkFlags::LowerUp),
        addresses: Vec::new(),
        peer: None,
        master: None,
        isolated: false,
    };
    let mut lower = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => info.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => info.mtu = *mtu,
            LinkAttribute::Address(bytes) => info.mac = bytes.as_slice().try_into().ok().map(Mac),
            LinkAttribute::Link(index) => lower = Some(*index),
            LinkAttribute::Controller(index) => info.master = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for entry in infos {
                    match entry {
                        Info::Kind(kind) => info.kind = kind.to_string(),
                        Info::PortData(InfoPortData::BridgePort(port)) => {
                            info.isolated = port.contains(&InfoBridgePort::Isolated(true));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if info.kind == "veth" {
        info.peer = lower;
    }
    info
}
