//! `GET /metrics`: what the service counts, in the Prometheus text format 0.0.4.

use std::fmt::{Display, Write as _};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::code::ResultCode;
use super::gateway::Gateway;
use super::reply::Reply;
use crate::recording::MountStatus;

/// Every metric by name, with its type and what it tells.
pub const NAMES: &[(&str, &str, &str)] = &[
    ("cc_gateway_uptime_seconds", "gauge", "Seconds since the service started."),
    ("cc_gateway_sessions", "gauge", "Agents signed in."),
    ("cc_gateway_connections", "gauge", "Clients connected."),
    ("cc_gateway_connections_total", "counter", "Clients accepted."),
    ("cc_gateway_connections_refused_total", "counter", "Clients turned away at a connection limit."),
    ("cc_gateway_accept_errors_total", "counter", "Failed calls of accept."),
    ("cc_gateway_thread_errors_total", "counter", "Clients lost because no thread could be started."),
    ("cc_gateway_handshakes_failed_total", "counter", "TLS handshakes that failed or timed out."),
    (
        "cc_gateway_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the first certificate ends that clients look at, in seconds since 1970.",
    ),
    ("cc_gateway_requests_malformed_total", "counter", "Requests refused before they reached an interface."),
    ("cc_gateway_requests_total", "counter", "Requests answered, by interface and result code."),
    ("cc_gateway_requests_waiting", "gauge", "Requests that wait without holding a worker."),
    ("cc_gateway_polls_parked", "gauge", "Polls parked until something happens."),
    ("cc_gateway_worker_panics_total", "counter", "Defects met and contained by workers."),
    ("cc_gateway_downloads", "gauge", "Downloads running."),
    ("cc_gateway_downloads_cut_total", "counter", "Downloads cut before their end."),
    ("cc_gateway_video_bytes_total", "counter", "Bytes of videos sent."),
    ("cc_gateway_mount_up", "gauge", "1 if the mount directory is there, mounted and answers."),
    ("cc_gateway_mount_hung_threads", "gauge", "Threads that wait for a file server beyond their deadline."),
    ("cc_gateway_mount_reading_threads", "gauge", "Threads inside a read of a video right now."),
];

impl Gateway {
    /// The counters, for clients on this machine; to everyone else the path leads nowhere.
    pub(super) fn metrics(&self, peer: IpAddr) -> Reply {
        if !peer.to_canonical().is_loopback() {
            return Reply::http_error(404, ResultCode::INVALID_PARAMETER);
        }
        let mut text = String::with_capacity(4096);
        for (name, kind, help) in NAMES {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            self.write_samples(name, &mut text);
        }
        Reply::new(200, ResultCode::SUCCESS, "text/plain; version=0.0.4; charset=utf-8", text)
    }

    fn write_samples(&self, name: &str, text: &mut String) {
        let counters = self.counters();
        let mut sample = |labels: &str, value: &dyn Display| {
            let _ = writeln!(text, "{name}{labels} {value}");
        };
        match name {
            "cc_gateway_uptime_seconds" => sample("", &counters.started.elapsed().as_secs()),
            "cc_gateway_sessions" => sample("", &self.sessions.len(Instant::now())),
            "cc_gateway_connections" => sample("", &counters.connected.value()),
            "cc_gateway_connections_total" => sample("", &counters.connections.value()),
            "cc_gateway_connections_refused_total" => sample("", &counters.connections_refused.value()),
            "cc_gateway_accept_errors_total" => sample("", &counters.accept_errors.value()),
            "cc_gateway_thread_errors_total" => sample("", &counters.thread_errors.value()),
            "cc_gateway_handshakes_failed_total" => sample("", &counters.handshakes_failed.value()),
            "cc_gateway_certificate_expiry_timestamp_seconds" => {
                sample("", &counters.certificate_expiry.load(Ordering::Relaxed));
            }
            "cc_gateway_requests_malformed_total" => sample("", &counters.requests_malformed.value()),
            "cc_gateway_requests_total" => {
                for ((interface, code), count) in counters.requests() {
                    sample(&format!("{{interface=\"{interface}\",code=\"{code}\"}}"), &count);
                }
            }
            "cc_gateway_requests_waiting" => sample("", &counters.waiting.value()),
            "cc_gateway_polls_parked" => sample("", &counters.parked_polls.value()),
            "cc_gateway_worker_panics_total" => sample("", &counters.worker_panics.value()),
            "cc_gateway_downloads" => sample("", &self.downloads.running()),
            "cc_gateway_downloads_cut_total" => sample("", &counters.downloads_cut.value()),
            "cc_gateway_video_bytes_total" => sample("", &counters.video_bytes.value()),
            _ => {
                for (mount, status) in self.mounts.statuses() {
                    let value = match name {
                        "cc_gateway_mount_up" => usize::from(status == MountStatus::Up),
                        "cc_gateway_mount_hung_threads" => mount.hung(),
                        "cc_gateway_mount_reading_threads" => mount.reading(),
                        _ => continue,
                    };
                    let directory = label(&mount.directory().to_string_lossy());
                    sample(&format!("{{directory=\"{directory}\"}}"), &value);
                }
            }
        }
    }
}

/// A label value, escaped as the text format demands.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(label("/mnt/\"a\"\\b\nc"), "/mnt/\\\"a\\\"\\\\b\\nc");
    }

    #[test]
    fn names_are_unique_and_counters_end_in_total() {
        for (index, (name, kind, _)) in NAMES.iter().enumerate() {
            assert!(NAMES[..index].iter().all(|(other, ..)| other != name));
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        }
    }
}
