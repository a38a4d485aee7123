//! Network links, addresses and routes over netlink, and a small TCP and HTTP client.
//!
//! A socket, of netlink or TCP, belongs to the network namespace in which it was made, and stays usable from outside.
//! So entering a namespace takes one short-lived thread that opens the socket ([`crate::sys::nsfd::inside`]); the
//! work itself is done from this thread, which never leaves its own namespace.

mod addr;
mod bridge;
mod end;
mod home;
mod http;
pub mod leaks;
mod link;
mod netlink;
mod netns;
mod outside;
mod port;
pub mod reclaim;
mod route;
mod subnet;
mod tcp;
mod veth;

pub use addr::{Cidr, Mac, is_chosen_name, parse_cidr, parse_mac, parse_name};
pub use bridge::{Bridge, BridgeSpec, bridge};
pub use end::{EndFacts, EndSpec};
pub use home::home;
pub use http::{HttpOptions, HttpResponse, http_get};
pub use link::{LinkInfo, addr, down, links, up};
pub use netns::Netns;
pub use outside::{Helper, outside};
pub use port::{Device, attach, detach, ports};
pub use route::{Route, route, routes};
pub use tcp::wait_port;
pub use veth::{Veth, VethSpec, veth};
