//! The part of libz-ng-sys that flate2 calls, forwarded to libz-rs-sys.
//!
//! pingora turns on flate2's `zlib-ng` feature, whose real crate is built by cmake. A fresh machine
//! has none. Drop this when pingora lets one choose zlib-rs (pingora issue 704).
#![no_std]
#![allow(non_camel_case_types, non_snake_case, clippy::missing_safety_doc)]
use core::ffi::{c_char, c_int, c_void};
pub use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_DATA_ERROR, Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_FULL_FLUSH,
    Z_MEM_ERROR, Z_NEED_DICT, Z_NO_FLUSH, Z_OK, Z_PARTIAL_FLUSH, Z_STREAM_END, Z_STREAM_ERROR,
    Z_SYNC_FLUSH, uInt, uLong, zlibVersion,
};
pub type alloc_func = unsafe extern "C" fn(*mut c_void, uInt, uInt) -> *mut c_void;
pub type free_func = unsafe extern "C" fn(*mut c_void, *mut c_void);
pub type internal_state = libz_rs_sys::internal_state;
/// As `libz_rs_sys::z_stream`, with the two allocator fields not optional (same layout).
#[repr(C)]
pub struct z_stream {
    pub next_in: *mut u8, pub avail_in: uInt, pub total_in: uLong,
    pub next_out: *mut u8, pub avail_out: uInt, pub total_out: uLong,
    pub msg: *mut c_char, pub state: *mut internal_state,
    pub zalloc: alloc_func, pub zfree: free_func, pub opaque: *mut c_void,
    pub data_type: c_int, pub adler: uLong, pub reserved: uLong,
}
const _: () = {
    assert!(size_of::<z_stream>() == size_of::<libz_rs_sys::z_stream>());
    assert!(core::mem::offset_of!(z_stream, zalloc) == core::mem::offset_of!(libz_rs_sys::z_stream, zalloc));
    assert!(core::mem::offset_of!(z_stream, reserved) == core::mem::offset_of!(libz_rs_sys::z_stream, reserved));
};
macro_rules! forward { ($($n:ident($($a:ident: $t:ty),*);)*) => {$(
    pub unsafe extern "C" fn $n(s: *mut z_stream $(, $a: $t)*) -> c_int {
        unsafe { libz_rs_sys::$n(s.cast() $(, $a)*) }
    })*};
}
forward! {
    deflate(flush: c_int); deflateEnd(); deflateReset(); deflateParams(level: c_int, strategy: c_int);
    deflateInit2_(level: c_int, method: c_int, bits: c_int, mem: c_int, strategy: c_int, version: *const c_char, size: c_int);
    deflateSetDictionary(dict: *const u8, len: uInt);
    inflate(flush: c_int); inflateEnd(); inflateReset2(bits: c_int);
    inflateInit2_(bits: c_int, version: *const c_char, size: c_int);
    inflateSetDictionary(dict: *const u8, len: uInt);
}
