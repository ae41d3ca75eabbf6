//! `lightship config`: the settings in force, and whether a role could start with them.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;

use super::common::Common;
use super::{output, sources, values};
use crate::config::{Loaded, Role};
use crate::io::IoRuntime;

/// Options of `lightship config`.
#[derive(clap::Args)]
pub(super) struct ConfigArgs {
    /// Read the settings as this role does.
    #[arg(long, value_enum, default_value = "master")]
    role: RoleArg,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(super) enum RoleArg {
    Standalone,
    Master,
    Agent,
}

impl RoleArg {
    pub(super) fn role(self) -> Role {
        match self {
            Self::Standalone => Role::Standalone,
            Self::Master => Role::Master,
            Self::Agent => Role::Agent,
        }
    }
}

pub(super) fn run(args: ConfigArgs, common: &Common) -> anyhow::Result<ExitCode> {
    let role = args.role.role();
    let loaded = sources::load(common, role)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let mut settings = serde_json::to_value(&loaded.settings)?;
    hide_passwords(&mut settings);
    if common.json {
        output::json(&settings)?;
    } else {
        print_table(&settings, &loaded)?;
    }
    let runtime = IoRuntime::start().context("cannot start the threads for input and output")?;
    values::check(&loaded.settings, role, runtime.io())?;
    Ok(ExitCode::SUCCESS)
}

fn print_table(settings: &Value, loaded: &Loaded) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (section, fields) in settings.as_object().into_iter().flatten() {
        for (key, _) in fields.as_object().into_iter().flatten() {
            let path = format!("{section}.{key}");
            let origin = loaded.origins.get(&path).map_or("default".into(), ToString::to_string);
            rows.push(vec![path, output::text(fields, key).replace('\n', " "), origin]);
        }
    }
    output::table(&["SETTING", "VALUE", "FROM"], rows, "no settings")
}

/// Any address may carry a password, whatever setting it is in.
fn hide_passwords(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(hide_passwords),
        Value::String(text) => *text = output::address(text),
        _ => {}
    }
}
