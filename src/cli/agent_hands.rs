//! Whoever changes this host for its agent.

use std::path::Path;
use std::sync::Arc;

use super::scan::images;
use super::values::engine;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::Settings;
use crate::docker::{BollardDocker, EngineContainers};
use crate::domain::host::Ability;
use crate::domain::update::Kind;
use crate::io::Io;
use crate::state_dir::AgentIs;
use crate::updates::{
    ChosenHands, Hands, HandsParts, HelperHands, HostReader, OnIo, OwnHands, Rights, installers,
};

/// What lets an agent without rights install packages.
const WAY_OUT: &str = "install the helper on the host: `lightship host-helper`";

/// Describes the hands of an agent.
pub(super) fn hands(settings: &Settings, dir: &Path, io: &Io) -> anyhow::Result<Arc<dyn Hands>> {
    let clock = Clock::system();
    let containers = EngineContainers::new(BollardDocker::at(engine(settings)?, io.clone()));
    let is_container = HostReader::of_this_host().virtualisation().is_application_container();
    let all = installers(images(settings, &clock, io.clone())?, containers, &clock);
    let own = OwnHands::new(HandsParts {
        dir: dir.to_owned(),
        // A container has packages of its own; they must not be taken for its host's.
        installers: all
            .into_iter()
            .filter(|installer| !is_container || installer.kind() == Kind::DockerImage)
            .collect(),
        refreshing: Vec::new(),
        rights: Rights { packages: packages(is_container), containers: Ability::yes() },
        agent_is: AgentIs::Own,
        policy_file: settings.updates.policy_file.clone(),
        clock,
        chance: Chance::system(),
    });
    let is_root_of_host = !is_container && rustix::process::geteuid().is_root();
    let hands: Arc<dyn Hands> = if is_root_of_host {
        Arc::new(own)
    } else {
        let helper = HelperHands::at(&settings.updates.helper_socket);
        Arc::new(ChosenHands::new(Arc::new(own), helper))
    };
    Ok(Arc::new(OnIo::new(hands, io.clone())))
}

/// Containers are changed by whoever reaches their Engine; packages only by root.
fn packages(is_container: bool) -> Ability {
    if is_container {
        let way_out = "mount the socket of `lightship host-helper`, which runs on the host";
        return Ability::no(
            "the agent runs in a container and changes containers only: its packages are not its host's",
            Some(way_out.into()),
        );
    }
    if rustix::process::geteuid().is_root() {
        Ability::yes()
    } else {
        Ability::no("the agent does not run as root", Some(WAY_OUT.into()))
    }
}
