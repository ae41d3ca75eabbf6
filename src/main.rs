//! One binary, all roles; see `lightship --help`.

/// Gives back what was needed for a moment; `.cargo/config.toml` says how soon.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    lightship::cli::run()
}
