//! What this host can be changed with.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use super::patient::Patient;
use crate::cli::agent_hands::hands;
use crate::config::CheckPackages;
use crate::domain::doctor::Check;
use crate::domain::doctor::hands::{Facts, Helper, Policy};
use crate::domain::host::Ability;
use crate::updates::{Hands, HelperHands, HostReader, check_policy};

pub(super) async fn look(patient: &Patient) -> Vec<Check> {
    let updates = &patient.settings.updates;
    let reader = HostReader::of_this_host();
    let is_container = reader.virtualisation().is_application_container();
    let managers = match updates.check_packages {
        CheckPackages::Never => Err("it is told to leave packages alone".to_owned()),
        CheckPackages::Auto if is_container => {
            Err("this is a container, whose packages are not its host's".to_owned())
        }
        CheckPackages::Auto | CheckPackages::Always => Ok(reader.read().await.package_managers),
    };
    let installs = match hands(&patient.settings, &patient.dir, &patient.io) {
        Ok(hands) => hands.status().await.installs_packages,
        Err(error) => Ability::no(error.to_string(), None),
    };
    let (socket, policy_file) = (&updates.helper_socket, &updates.policy_file);
    let facts = Facts {
        helper: helper(updates.check_packages, is_container, socket).await,
        managers,
        installs,
        socket: socket.display().to_string(),
        policy: policy(policy_file),
        policy_file: policy_file.display().to_string(),
    };
    facts.judge()
}

async fn helper(packages: CheckPackages, is_container: bool, socket: &Path) -> Helper {
    let helper = HelperHands::at(socket);
    let is_root = rustix::process::geteuid().is_root() && !is_container;
    if !helper.is_there() {
        return if is_root || packages == CheckPackages::Never { Helper::NotNeeded } else { Helper::Absent };
    }
    match helper.status().await.problem {
        None => Helper::Answers,
        Some(reason) => Helper::Silent(reason),
    }
}

fn policy(path: &Path) -> Policy {
    if File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        return Policy::Hidden;
    }
    match check_policy(path) {
        Ok(true) => Policy::Followed,
        Ok(false) => Policy::Absent,
        Err(fault) => Policy::Wrong(fault.to_string()),
    }
}
