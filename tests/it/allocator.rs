//! The allocator of the program is built with the settings that give memory back.

#[test]
fn the_program_holds_the_settings_of_its_allocator() {
    let config = include_str!("../../.cargo/config.toml");
    let settings = config.lines().find_map(|line| line.strip_prefix("JEMALLOC_SYS_WITH_MALLOC_CONF = "));
    let settings = settings.unwrap().trim_matches('"');
    assert!(
        settings.contains("dirty_decay_ms:") && settings.contains("background_thread:true"),
        "{settings}"
    );
    let left_out = include_str!("../../.dockerignore");
    assert!(left_out.lines().all(|line| !line.contains("cargo")), "the image is built without {settings}");
    let program = std::fs::read(env!("CARGO_BIN_EXE_lightship")).unwrap();
    assert!(String::from_utf8_lossy(&program).contains(settings), "built without {settings}");
}
