//! One binary, all roles; see `lightship --help`.

fn main() -> std::process::ExitCode {
    lightship::cli::run()
}
