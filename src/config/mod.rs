//! Configuration: `.properties` files, the settings they hold, and what is wrong with them.

mod keys;
mod mounts;
mod notice;
mod problem;
pub mod properties;
mod rules;
#[cfg(test)]
mod sample;
mod settings;
mod source;
mod values;

pub use keys::{KEYS, Key};
pub use mounts::{Drive, MountPoint};
pub use notice::{Notice, Severity};
pub use problem::{Kind, Problem};
pub use settings::{Settings, from_text, read};
pub use values::{AuthMode, DownloadScope};
