//! The program `pcdn`; everything is in the library, so that it can be tested and embedded.

fn main() -> std::process::ExitCode {
    pcdn::cli::run(std::env::args_os())
}
