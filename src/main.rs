//! The `wicket` binary: everything is in the library, so that tests can reach it.

/// Most of a call's cost beyond system calls is small allocations; this allocator saves a fifth to a
/// third of them over the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    wicket::cli::main()
}
