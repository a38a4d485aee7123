//! The program's own pages in memory, before a child reads them whose memory is limited.
//!
//! Such a child is charged for the page tables and the like that its first look at a page takes. Where there is too little
//! for them, and nobody may be ended (see [`super::broker`]), the kernel has it try again for ever: so we look first.

use nix::libc;
use std::sync::Once;

/// Has the program's code and constants in memory: once, as its pages stay mapped.
///
/// A kernel that does not do that by order (`MADV_POPULATE_READ`, Linux 5.14) refuses, and nothing is lost by that.
pub(super) fn present() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function is called for each object with its description, and keeps nothing of it.
        unsafe { libc::dl_iterate_phdr(Some(populate), std::ptr::null_mut()) };
    });
}

/// Populates what of an object cannot be written.
unsafe extern "C" fn populate(
    object: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut libc::c_void,
) -> libc::c_int {
    const PAGE: u64 = super::PAGE as u64;
    // SAFETY: the C library gives the description of an object that is loaded.
    let object = unsafe { &*object };
    // SAFETY: it has so many headers.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    for header in headers.iter().filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0) {
        let start = (object.dlpi_addr + header.p_vaddr) & !(PAGE - 1);
        let end = (object.dlpi_addr + header.p_vaddr + header.p_memsz).next_multiple_of(PAGE);
        let (Ok(start), Ok(len)) = (usize::try_from(start), usize::try_from(end - start)) else { continue };
        let start = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: it changes nothing of what is in memory.
        unsafe { libc::madvise(start, len, libc::MADV_POPULATE_READ) };
    }
    0
}
