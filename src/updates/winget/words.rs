//! What Winget's exit codes mean.

/// Codes that say that there is nothing to do.
const NOTHING: [u32; 2] = [0x8A15_0014, 0x8A15_002B];

/// True if it ended because there is nothing to do. Started from within Linux on Windows, only the last byte of the code is
/// left; that means nothing else where no table is printed.
pub(super) fn is_nothing(code: u32, has_table: bool) -> bool {
    let is_last_byte = |whole: &u32| cfg!(unix) && !has_table && whole & 0xFF == code;
    NOTHING.contains(&code) || NOTHING.iter().any(is_last_byte)
}

/// Returns what a code means and what to do about it, if it is one of those that people meet.
pub(super) fn words(code: u32) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0x8A15_0010 => ("there is no installer for this system", "install it by hand"),
        0x8A15_0011 => (
            "an installer was not the one that it should be",
            "wait for its publisher, or refresh the sources",
        ),
        0x8A15_0016 => ("several programs have this name", "name it by its id"),
        0x8A15_0019 => ("Winget needs an administrator's rights", "run the agent as SYSTEM, in a service"),
        0x8A15_002C => ("some programs could not be upgraded", "see the log of Winget on the host"),
        0x8A15_004F => ("the version on offer is not newer", "nothing is to be done"),
        0x8A15_0050 => ("the installed version is not known", "upgrade it by name"),
        0x8A15_0056 => {
            ("the installer must not run with an administrator's rights", "upgrade it as its user")
        }
        0x8A15_0061 => ("it is installed already", "nothing is to be done"),
        0x8A15_008E => {
            ("the newer version is installed in another way", "remove the old one, and install it again")
        }
        0x8A15_0101 => ("the program is running", "close it, and try again"),
        0x8A15_0102 => ("another installation is running", "it is tried again with the next scan"),
        0x8A15_0103 => ("a file of the program is in use", "close what uses it, and try again"),
        0x8A15_0105 => ("the disk is full", "make room"),
        0x8A15_0107 => ("there is no network", "check the network of the host"),
        0x8A15_0109 => ("a restart is needed to finish", "restart the host"),
        0x8A15_010A => ("a restart is needed first", "restart the host, and try again"),
        0x8A15_010C => ("somebody cancelled it", "try again"),
        0x8A15_010E => ("a higher version is installed", "nothing is to be done"),
        0x8A15_010F => ("a policy of the organisation forbids it", "ask its administrators"),
        0x8A15_0110 => {
            ("something that it needs could not be installed", "see the log of Winget on the host")
        }
        0x8A15_000F | 0x8A15_004B => {
            ("a source of Winget could not be opened", "`winget source reset --force` makes them anew")
        }
        _ => return None,
    })
}
