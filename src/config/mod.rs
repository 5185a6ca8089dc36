//! Configuration: `.properties` files, the settings in them, and their problems.

mod ip_prefix;
mod keys;
mod lists;
mod load;
mod mounts;
mod notice;
mod problem;
pub mod properties;
mod rules;
#[cfg(test)]
mod sample;
mod settings;
mod source;
mod text_file;
mod values;

pub(crate) use ip_prefix::IpPrefix;
pub use keys::{DefaultValue, KEYS, Key, SECTIONS, Section};
pub use load::{from_text, read};
pub(crate) use mounts::{Drive, MountPoint};
pub(crate) use notice::Notice;
pub(crate) use problem::Problem;
pub use settings::RELOADABLE;
pub(crate) use settings::Settings;
pub(crate) use text_file::{is_utf16, read_secret_text};
pub(crate) use values::{AuthMode, DownloadScope};
