//! The `cc-gateway` program: hands its arguments to the library and its result to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    match cc_gateway::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("cc-gateway: {failure}");
            ExitCode::from(failure.exit() as u8)
        }
    }
}
