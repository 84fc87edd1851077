//! The `ringfence` program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    ringfence::cli::run()
}
