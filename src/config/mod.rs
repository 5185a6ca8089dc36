//! Configuration: `.properties` files, the settings they hold, and what is wrong with them.

mod problem;
pub mod properties;

pub use problem::{Kind, Problem};
