//! `ns`: namespaces.

use crate::runtime::ns::NsSet;
use crate::script::handle::Kind;

impl Kind for NsSet {
    const NAME: &'static str = "Ns";
}
