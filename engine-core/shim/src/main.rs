//! The helper program's entry: no standard library, so the allocator and the end of a panic are said here.

#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "the allocator and the C entry point are unsafe by nature")]

use core::alloc::{GlobalAlloc, Layout};

/// The C library's allocator: it is linked in anyway.
struct Malloc;

// SAFETY: malloc, calloc, realloc and free keep the contract of GlobalAlloc for alignments up to that of max_align_t,
// and larger ones are refused with a null pointer, which the contract allows.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > align_of::<libc::max_align_t>() {
            return core::ptr::null_mut();
        }
        // SAFETY: takes an integer; the caller sees to it that the size is not zero.
        unsafe { libc::malloc(layout.size()).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() > align_of::<libc::max_align_t>() {
            return core::ptr::null_mut();
        }
        // SAFETY: as for alloc.
        unsafe { libc::calloc(1, layout.size()).cast() }
    }

    unsafe fn realloc(&self, pointer: *mut u8, _: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller sees to it that the pointer came from this allocator and the size is not zero.
        unsafe { libc::realloc(pointer.cast(), size).cast() }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        // SAFETY: the caller sees to it that the pointer came from this allocator.
        unsafe { libc::free(pointer.cast()) }
    }
}

#[global_allocator]
static ALLOCATOR: Malloc = Malloc;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: does not return. Exit code 134 is that of an abort: whoever waits sees a process that broke.
    unsafe { libc::_exit(134) }
}

/// The C library calls this.
// SAFETY: no other symbol of the program has this name, and the signature is that of the C standard.
#[unsafe(no_mangle)]
extern "C" fn main(
    _: libc::c_int,
    args: *const *const libc::c_char,
    env: *const *const libc::c_char,
) -> libc::c_int {
    // SAFETY: both are arrays of C strings that end with a null pointer and live as long as the program.
    unsafe { engine_shim::program::main(args, env) }
}
