//! The command line of RedFlag's agent: flags with one dash or two, and its own name.

use std::ffi::OsString;
use std::path::Path;

/// What RedFlag's agent is called.
const NAMES: [&str; 2] = ["aggregator-agent", "redflag-agent"];
/// Its flags that this program knows; those with `true` or `false` behind them too.
const SWITCHES: [&str; 3] = ["scan", "status", "list-updates"];

/// Returns the command line in this program's form. What is none of RedFlag's stays as it is.
pub(in crate::cli) fn translated(args: Vec<OsString>) -> Vec<OsString> {
    let is_seed = args.first().is_some_and(|name| {
        let name = Path::new(name).file_name().unwrap_or_default();
        NAMES.iter().any(|seed| name == *seed)
    });
    let has_verb = args.get(1).is_some_and(|arg| arg == "agent");
    if !is_seed && !has_verb {
        return args;
    }
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.by_ref().take(1 + usize::from(has_verb)).collect();
    let rest: Vec<OsString> = args.filter_map(flag).collect();
    let asks_for_itself = |arg: &OsString| ["--version", "-V", "--help", "-h"].iter().any(|flag| arg == flag);
    if is_seed && !has_verb && !(rest.len() == 1 && asks_for_itself(&rest[0])) {
        out.push("agent".into());
    }
    out.extend(rest);
    out
}

/// `-scan`, `-scan=true`, `-export=json`; one that is switched off is none.
fn flag(arg: OsString) -> Option<OsString> {
    let Some(text) = arg.to_str().and_then(|text| text.strip_prefix('-')) else { return Some(arg) };
    let text = text.strip_prefix('-').unwrap_or(text);
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    if SWITCHES.contains(&name) {
        return match value {
            None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Some(format!("--{name}").into()),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => None,
            Some(_) => Some(arg),
        };
    }
    let is_known = matches!(name, "export" | "version" | "help");
    Some(if is_known { format!("--{text}").into() } else { arg })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redflags_command_lines_mean_what_they_meant() {
        for (given, meant) in [
            ("aggregator-agent --scan", "aggregator-agent agent --scan"),
            (
                "/usr/local/bin/aggregator-agent -scan -export=json",
                "/usr/local/bin/aggregator-agent agent --scan --export=json",
            ),
            (
                "aggregator-agent -list-updates=true -export csv",
                "aggregator-agent agent --list-updates --export csv",
            ),
            ("aggregator-agent -scan=false", "aggregator-agent agent"),
            ("aggregator-agent", "aggregator-agent agent"),
            ("aggregator-agent agent -status", "aggregator-agent agent --status"),
            ("redflag-agent -version", "redflag-agent --version"),
            ("lightship agent -scan", "lightship agent --scan"),
            ("lightship agent --state-dir /x --scan", "lightship agent --state-dir /x --scan"),
            ("lightship scan -x", "lightship scan -x"),
            ("lightship", "lightship"),
            ("lightship agent -scan=maybe", "lightship agent -scan=maybe"),
        ] {
            let args = given.split(' ').map(OsString::from).collect();
            let meant: Vec<OsString> = meant.split(' ').map(OsString::from).collect();
            assert_eq!(translated(args), meant, "{given}");
        }
    }
}
