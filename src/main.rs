//! The `wicket` binary: everything is in the library, so that tests can reach it.

fn main() -> std::process::ExitCode {
    wicket::cli::main()
}
