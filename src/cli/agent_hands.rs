//! Whoever changes this host for its agent.

use std::path::Path;
use std::sync::Arc;

use super::scan::images;
use super::values::{engine, helper_dir, patience, undo_window};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::{CheckPackages, Settings};
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
    let packages = packages(settings.updates.check_packages, is_container);
    let all = installers(
        images(settings, dir, &clock, io.clone())?,
        containers,
        patience(settings),
        settings.labels.prefix.as_deref(),
        undo_window(settings),
        &clock,
    );
    let own = OwnHands::new(HandsParts {
        dir: dir.to_owned(),
        beside: helper_dir(settings, dir),
        // Packages that are not the host's must not be taken for them. Without rights they are planned all the same.
        installers: all
            .into_iter()
            .filter(|installer| {
                !matches!(packages, Packages::Others | Packages::LeftAlone)
                    || installer.kind() == Kind::DockerImage
            })
            .collect(),
        refreshing: Vec::new(),
        rights: Rights { packages: packages.ability(), containers: Ability::yes() },
        agent_is: AgentIs::Own,
        policy_file: settings.updates.policy_file.clone(),
        undo_window: undo_window(settings),
        clock,
        chance: Chance::system(),
    });
    let hands: Arc<dyn Hands> = if packages == Packages::Own {
        Arc::new(own)
    } else {
        let helper = HelperHands::at(&settings.updates.helper_socket);
        Arc::new(ChosenHands::new(Arc::new(own), helper))
    };
    Ok(Arc::new(OnIo::new(hands, io.clone())))
}

/// Whose packages this process sees, and what it may do with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packages {
    /// The host's, as root.
    Own,
    /// The host's, as an ordinary user.
    ToLookAt,
    /// Those of the container that it runs in.
    Others,
    /// It was told to leave them alone.
    LeftAlone,
}

fn packages(asked: CheckPackages, is_container: bool) -> Packages {
    match asked {
        CheckPackages::Never => Packages::LeftAlone,
        CheckPackages::Auto if is_container => Packages::Others,
        CheckPackages::Auto | CheckPackages::Always if rustix::process::geteuid().is_root() => Packages::Own,
        CheckPackages::Auto | CheckPackages::Always => Packages::ToLookAt,
    }
}

impl Packages {
    fn ability(self) -> Ability {
        match self {
            Self::Own => Ability::yes(),
            Self::ToLookAt => Ability::no("the agent does not run as root", Some(WAY_OUT.into())),
            Self::Others => Ability::no(
                "the agent runs in a container and changes containers only: its packages are not its host's",
                Some("mount the socket of `lightship host-helper`, which runs on the host".into()),
            ),
            Self::LeftAlone => Ability::no(
                "it is told to leave packages alone",
                Some("set `LIGHTSHIP__UPDATES__CHECK_PACKAGES` to `auto`".into()),
            ),
        }
    }
}
