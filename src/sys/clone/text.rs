//! The program's own pages within reach, before a child reads them whose memory is limited.
//!
//! Such a child is charged for the page tables that its first look at a page takes. Where there is too little for them, and
//! nobody may be ended (see [`super::broker`]), the kernel has it try again for ever: so we look first.

use nix::libc;
use std::sync::Once;

/// How much one page table maps.
const REACH: usize = 512 * super::PAGE;

/// Has page tables for the program's code and constants: once, as they stay. The pages themselves are the files', and ours.
pub(super) fn present() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function is called for each object with its description, and keeps nothing of it.
        unsafe { libc::dl_iterate_phdr(Some(look), std::ptr::null_mut()) };
    });
}

/// Looks at a byte within the reach of each page table that what cannot be written of an object takes.
unsafe extern "C" fn look(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the C library gives the description of an object that is loaded.
    let object = unsafe { &*object };
    // SAFETY: it has so many headers.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let fixed = |flags: u32| flags & (libc::PF_R | libc::PF_W) == libc::PF_R;
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && fixed(header.p_flags)) {
        let start = object.dlpi_addr + header.p_vaddr;
        let (Ok(start), Ok(len)) = (usize::try_from(start), usize::try_from(header.p_memsz)) else {
            continue;
        };
        let mut at = start;
        while at < start + len {
            let byte = std::ptr::with_exposed_provenance::<u8>(at);
            // SAFETY: it is in a part of the object that is loaded and can be read.
            let _ = unsafe { byte.read_volatile() };
            at = (at + 1).next_multiple_of(REACH);
        }
    }
    0
}
