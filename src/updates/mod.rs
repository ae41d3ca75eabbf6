//! Looking for pending updates, one folder a kind, and what the machine is.
//!
//! A scanner never fails: what goes wrong is said in its findings, beside what was last known. It changes nothing on the
//! host but the lists of what there is, and those only with the right to; it never takes a lock that an installer needs.
//! Its parsers are pure and apart from its calls.

mod apt;
mod dnf;
mod docker_image;
mod hands;
mod helper;
mod host;
mod installer;
mod keep;
mod kept;
mod known_registries;
mod lifelines;
mod list;
mod packages;
mod powershell;
mod print;
mod processes;
mod programs;
mod restart;
mod run;
mod scanner;
mod services;
mod tidy;
mod watch;
mod windows_update;
mod winget;

pub use apt::{Apt, AptInstaller, run_for_apt};
pub use dnf::{Dnf, DnfInstaller};
pub use docker_image::{DockerImage, EngineLookup, ImageInstaller, failed_images};
pub use hands::{
    ChosenHands, Errand, Hands, HandsFault, HandsParts, HandsStatus, KeyNews, KeyWas, NotCarriedOut, OnIo,
    OwnHands, Rights, TellProgress, check_policy,
};
pub use helper::{Allowed, HelperHands, serve as serve_helper};
pub use host::{HostReader, Virtualisation};
pub use installer::{Installer, Patience};
pub use known_registries::KnownRegistries;
pub use list::{Images, installers, scan_all, scanners};
pub use programs::{HostPrograms, Programs, Ran};
pub use run::{Progress, Step, StepFailed, cancel, carry_out};
pub use scanner::{ScanAsk, Scanner};
pub use windows_update::WindowsUpdate;
pub use winget::Winget;
