//! Configuration: `.properties` files, the settings they hold, and what is wrong with them.

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

pub use ip_prefix::IpPrefix;
pub use keys::{DefaultValue, KEYS, Key, SECTIONS, Section};
pub use load::{from_text, read};
pub use mounts::{Drive, MountPoint};
pub use notice::{Notice, Severity};
pub use problem::{Problem, ProblemKind};
pub use settings::{Change, RELOADABLE, Settings};
pub use text_file::read_secret_text;
pub use values::{AuthMode, DownloadScope};
