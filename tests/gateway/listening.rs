//! Listen addresses of a family that the kernel lacks, and one that another program uses.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{Manager, Scratch, Setup, eventually};

/// Runs a program as on a kernel with `ipv6.disable=1`.
const WITHOUT_IPV6: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/without-ipv6");
const LEFT_OUT: &str = "LISTEN: [::]:0 is skipped: this machine has no IPv6; remove it from LISTEN";

#[test]
fn a_family_that_the_kernel_lacks_is_left_out_with_a_warning_of_start_and_check() {
    let setup = Setup::new()
        .set("LISTEN", "127.0.0.1:0,[::]:0")
        .expect_log(LEFT_OUT);
    setup.write_files();
    let config = setup.directory().join("basic.properties");
    let check = Command::new(WITHOUT_IPV6)
        .args([env!("CARGO_BIN_EXE_cc-gateway"), "check", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert!(
        check.status.success() && said.lines().filter(|line| *line == LEFT_OUT).count() == 1,
        "{said}"
    );
    let server = setup.through(&[WITHOUT_IPV6]).start();
    assert!(server.log_line(LEFT_OUT).contains(" WARN "));
    server.serves();
}

#[test]
fn a_family_that_the_kernel_lacks_is_an_error_where_nothing_remains() {
    let setup = Setup::new().set("LISTEN", "[::1]:0,[::]:0");
    setup.write_files();
    for command in [&["--config"][..], &["check", "--config"]] {
        let output = Command::new(WITHOUT_IPV6)
            .arg(env!("CARGO_BIN_EXE_cc-gateway"))
            .args(command)
            .arg(setup.directory().join("basic.properties"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        let said = String::from_utf8(output.stderr).unwrap();
        let told = "cannot listen on [::1]:0: Address family not supported by protocol (os error 97); this machine has no \
                    such protocol; remove the address from LISTEN";
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn under_a_service_manager_a_start_waits_for_a_taken_address_and_says_so_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let scratch = Scratch::new();
    let manager = Manager::at(&scratch.path().join("notify"));
    let setup = Setup::new().set("LISTEN", &address.to_string());
    setup.write_files();
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_cc-gateway"))
            .arg("--config")
            .arg(setup.directory().join("basic.properties"))
            .env("NOTIFY_SOCKET", &manager.name)
            .stderr(Stdio::from(
                std::fs::File::create(scratch.path().join("log")).unwrap(),
            ))
            .spawn()
            .unwrap()
    };
    let log = || std::fs::read_to_string(scratch.path().join("log")).unwrap();
    let told = format!(
        "cannot listen on {address}: Address already in use (os error 98); another program listens there"
    );
    let signal = |child: &std::process::Child| {
        assert!(
            Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
    };

    // A stop ends the wait.
    let mut stopped = start();
    eventually("the log line of the taken address", || {
        log().contains(&told)
    });
    signal(&stopped);
    assert_eq!(stopped.wait().unwrap().code(), Some(0));

    let mut waiting = start();
    eventually("the log line of the taken address", || {
        log().contains(&told)
    });
    drop(taken);
    assert_eq!(manager.news(), "READY=1");
    assert_eq!(log().matches("cannot listen").count(), 1, "{}", log());
    signal(&waiting);
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
}
