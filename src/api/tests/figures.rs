//! The metrics page.

use super::*;

/// The samples of the page, without its comments.
fn samples(desk: &Desk) -> Vec<(String, f64)> {
    let reply = desk.ask(&get("metrics"));
    assert_eq!(
        (reply.status, reply.field("Content-Type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let lines = reply.body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn sample(samples: &[(String, f64)], name: &str) -> f64 {
    let found = samples.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn every_metric_is_explained_and_has_its_samples() {
    let desk = Desk::new();
    let body = desk.ask(&get("metrics")).body;
    let mut rest = &*body;
    for metric in METRICS {
        let head = format!(
            "# HELP {0} {1}\n# TYPE {0} {2}\n",
            metric.name, metric.help, metric.kind
        );
        let (between, after) = rest.split_once(&head).unwrap();
        assert!(
            between
                .lines()
                .all(|line| line.contains(' ') && !line.starts_with('#'))
        );
        let sample = after.lines().next().unwrap_or_default();
        let has_samples = !metric.labels.contains(&"interface") && !metric.name.contains("_look");
        assert_eq!(sample.starts_with(metric.name), has_samples, "{sample}");
        rest = after;
    }
}

#[test]
fn each_counter_shows_under_its_own_name() {
    let desk = Desk::with("RECORD_SCAN_INTERVAL=3600000");
    desk.mount.file("1/0/20201202/101/0900000.mp4", b"video");
    let counters = desk.gateway.counters();
    let counted = [
        (&counters.connections, "cc_gateway_connections_total"),
        (
            &counters.connections_refused,
            "cc_gateway_connections_refused_total",
        ),
        (
            &counters.connections_evicted,
            "cc_gateway_connections_evicted_total",
        ),
        (&counters.accept_errors, "cc_gateway_accept_errors_total"),
        (&counters.thread_errors, "cc_gateway_thread_errors_total"),
        (
            &counters.handshakes_failed,
            "cc_gateway_handshakes_failed_total",
        ),
        (
            &counters.requests_malformed,
            "cc_gateway_requests_malformed_total",
        ),
        (&counters.worker_panics, "cc_gateway_worker_panics_total"),
        (&counters.downloads_cut, "cc_gateway_downloads_cut_total"),
        (&counters.video_bytes, "cc_gateway_video_bytes_total"),
        (
            &desk.gateway.recording_events.queued,
            "cc_gateway_recording_events_total",
        ),
    ];
    for (index, (counter, _)) in counted.iter().enumerate() {
        counter.add(100 + index as u64);
    }
    counters.certificate_expiry.store(77, Ordering::Relaxed);
    desk.sign_in(101);
    let _permit = desk.gateway.downloads.acquire(101, 0).unwrap();
    let watch = &desk.gateway.recording_events.watches[0].counted;
    for (index, (counter, _)) in [
        (&watch.scans, "looks_total"),
        (&watch.failed, "looks_failed_total"),
        (&watch.cut_short, "looks_cut_short_total"),
        (&watch.skipped, "looks_skipped_total"),
    ]
    .iter()
    .enumerate()
    {
        counter.store(200 + index as u64, Ordering::Relaxed);
    }
    for (index, counter) in [&watch.folders, &watch.entries, &watch.overfull]
        .into_iter()
        .enumerate()
    {
        counter.store(300 + index, Ordering::Relaxed);
    }
    let deadline = Instant::now() + LONG;
    let directory = format!("{{directory=\"{}\"}}", desk.mount.path().display());
    let up = format!("cc_gateway_mount_up{directory}");
    while sample(&samples(&desk), &up) != 1.0 {
        assert!(Instant::now() < deadline);
    }
    let samples = samples(&desk);
    for (index, (_, name)) in counted.iter().enumerate() {
        assert_eq!(sample(&samples, name), 100.0 + index as f64, "{name}");
    }
    for (name, value) in [
        ("looks_total", 200.0),
        ("looks_failed_total", 201.0),
        ("looks_cut_short_total", 202.0),
        ("looks_skipped_total", 203.0),
        ("look_folders", 300.0),
        ("look_entries", 301.0),
        ("look_overfull_folders", 302.0),
        ("look_cpu_seconds_total", 0.0),
        ("mount_hung_threads", 0.0),
        ("mount_reading_threads", 0.0),
    ] {
        let name = format!("cc_gateway_{name}{directory}");
        assert_eq!(sample(&samples, &name), value, "{name}");
    }
    for (name, value) in [
        ("cc_gateway_sessions", 1.0),
        ("cc_gateway_connections", 0.0),
        ("cc_gateway_requests_waiting", 0.0),
        ("cc_gateway_polls_parked", 0.0),
        ("cc_gateway_downloads", 1.0),
        ("cc_gateway_events_dropped_total", 0.0),
        ("cc_gateway_certificate_expiry_timestamp_seconds", 77.0),
    ] {
        assert_eq!(sample(&samples, name), value, "{name}");
    }
    assert!(sample(&samples, "cc_gateway_uptime_seconds") < 3600.0);
}

#[test]
fn the_requests_are_counted_by_interface_and_code() {
    let desk = Desk::new();
    desk.gateway.counters().count_request("login", "0");
    desk.gateway.counters().count_request("login", "0");
    let name = r#"cc_gateway_requests_total{interface="login",code="0"}"#;
    assert_eq!(sample(&samples(&desk), name), 2.0);
}

#[test]
fn a_lost_mount_is_not_up() {
    let desk = Desk::with("MOUNT_DIR=@/missing");
    let directory = desk.mount.path().join("missing");
    let name = format!(
        "cc_gateway_mount_up{{directory=\"{}\"}}",
        directory.display()
    );
    let deadline = Instant::now() + LONG;
    while !desk.gateway.mounts.any_lost() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(sample(&samples(&desk), &name), 0.0);
}

#[test]
fn only_clients_of_this_machine_see_them() {
    let desk = Desk::new();
    for (peer, via, status) in [
        ("127.0.0.1", None, 200),
        ("127.9.9.9", None, 200),
        ("::1", None, 200),
        ("::ffff:127.0.0.1", None, 200),
        ("192.0.2.1", None, 404),
        ("::ffff:192.0.2.1", None, 404),
        ("127.0.0.1", Some("127.0.0.1"), 404),
    ] {
        let mut call = get("metrics").from(peer);
        call.via = via.map(|via| via.parse().unwrap());
        assert_eq!(desk.ask(&call).status, status, "{peer}");
    }
}
