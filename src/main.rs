//! The `cc-gateway` program: hands its arguments to the library and its result to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    let result = cc_gateway::run(std::env::args_os());
    log::logger().flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cc_gateway::ops::log_lines::last_words(&failure);
            ExitCode::from(failure.exit() as u8)
        }
    }
}
