//! `lightship config`: the settings in force.

use std::process::ExitCode;

use serde_json::Value;

use super::{Common, output, sources};
use crate::config::Role;

/// Options of `lightship config`.
#[derive(clap::Args)]
pub(super) struct ConfigArgs {
    /// Read the settings as this role does.
    #[arg(long, value_enum, default_value = "master")]
    role: RoleArg,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum RoleArg {
    Standalone,
    Master,
    Agent,
}

pub(super) fn run(args: ConfigArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let role = match args.role {
        RoleArg::Standalone => Role::Standalone,
        RoleArg::Master => Role::Master,
        RoleArg::Agent => Role::Agent,
    };
    let loaded = sources::load(common, role)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let mut settings = serde_json::to_value(&loaded.settings)?;
    hide_passwords(&mut settings);
    if common.json {
        output::json(&settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    for (section, fields) in settings.as_object().into_iter().flatten() {
        for (key, _) in fields.as_object().into_iter().flatten() {
            let path = format!("{section}.{key}");
            let origin = loaded.origins.get(&path).map_or("default".into(), ToString::to_string);
            rows.push(vec![path, output::text(fields, key).replace('\n', " "), origin]);
        }
    }
    output::table(&["SETTING", "VALUE", "FROM"], rows, "no settings")?;
    Ok(ExitCode::SUCCESS)
}

/// Any address may carry a password, whatever setting it is in.
fn hide_passwords(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(hide_passwords),
        Value::String(text) => *text = output::address(text),
        _ => {}
    }
}
