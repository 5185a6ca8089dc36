//! The `cc-gateway` program: passes its arguments to the library and returns the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = cc_gateway::run(std::env::args_os());
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cc_gateway::ops::console::print_fatal(&error);
            ExitCode::from(error.exit() as u8)
        }
    }
}
