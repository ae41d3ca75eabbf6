//! What the numbers of Windows' update agent mean.

/// Codes that say that there is nothing to do.
pub(super) const NOTHING: [u32; 2] = [0x8024_0024, 0x0024_0001];

/// Returns what a code means and what to do about it, if it is one of those that people meet.
pub(super) fn words(code: u32) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0x8024_0016 => {
            ("another installation is running, or a restart is waited for", "restart the host, or wait")
        }
        0x8024_000B => ("the search was cancelled", "it is tried again with the next scan"),
        0x8024_001E => ("the update service was being stopped", "it is tried again with the next scan"),
        0x8007_0422 => ("the update service is switched off", "switch on the service `wuauserv`"),
        0x8024_402C => ("the update server's name is not known", "check DNS and the proxy of the host"),
        0x8024_4018 => (
            "the update server or a proxy refuses the host",
            "allow it there, or set the proxy: `netsh winhttp`",
        ),
        0x8024_401C => {
            ("the update server did not answer in time", "check the network of the host, or the WSUS server")
        }
        0x8024_0022 => ("no update could be looked at", "see the log of Windows Update on the host"),
        0x8007_0005 => ("this user may not search for updates", "run the agent as SYSTEM, in a service"),
        0x8024_0438 => ("there is no way to the update server", "check the network of the host"),
        _ => return None,
    })
}
