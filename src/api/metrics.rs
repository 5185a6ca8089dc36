//! `GET /metrics`: the counters in the Prometheus text format 0.0.4.

use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::code::ResultCode;
use super::gateway::Gateway;
use super::reply::Reply;
use super::request::Request;
use crate::ops::log_lines;
use crate::recording::{Mount, MountStatus, ScanCounters};

/// A metric and the function that writes its samples.
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// What it counts or measures.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    read: fn(&Gateway, &mut Samples<'_>),
}

/// The samples of one metric on the page.
struct Samples<'a> {
    name: &'static str,
    page: &'a mut String,
}

impl Samples<'_> {
    /// The sample of a metric without labels.
    fn value<T: Display>(&mut self, gateway: &Gateway, value: impl Fn(&Gateway) -> T) {
        self.labelled("", value(gateway));
    }

    /// One sample for each interface and result code.
    fn each_request(&mut self, gateway: &Gateway) {
        for ((interface, code), count) in gateway.counters().requests() {
            self.labelled(
                &format!("{{interface=\"{interface}\",code=\"{code}\"}}"),
                count,
            );
        }
    }

    /// One sample for each mount.
    fn each_mount(&mut self, gateway: &Gateway, value: impl Fn(&Mount, MountStatus) -> usize) {
        for (mount, status) in gateway.mounts.statuses() {
            self.directory(mount, value(mount, status));
        }
    }

    /// One sample for each mount that is scanned for new recordings.
    fn each_watch<T: Display>(&mut self, gateway: &Gateway, value: impl Fn(&ScanCounters) -> T) {
        for watch in &gateway.recording_events.watches {
            self.directory(&watch.mount, value(&watch.counted));
        }
    }

    fn directory(&mut self, mount: &Mount, value: impl Display) {
        let directory = label(&mount.directory().to_string_lossy());
        self.labelled(&format!("{{directory=\"{directory}\"}}"), value);
    }

    /// One sample; `labels` includes the braces.
    fn labelled(&mut self, labels: &str, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.page, "{}{labels} {value}", self.name);
    }
}

macro_rules! metrics {
    ($($kind:ident $name:literal $help:literal $samples:ident($($value:expr)?);)*) => {
        /// Every metric, in the order of the page.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            kind: stringify!($kind),
            help: $help,
            labels: metrics!(@labels $samples),
            read: |gateway, samples| samples.$samples(gateway $(, $value)?),
        }),*];
    };
    (@labels value) => { &[] };
    (@labels each_request) => { &["interface", "code"] };
    (@labels each_mount) => { &["directory"] };
    (@labels each_watch) => { &["directory"] };
}

metrics! {
    gauge "cc_gateway_uptime_seconds" "Seconds since the service started."
        value(|gateway| gateway.started.elapsed().as_secs());
    gauge "cc_gateway_sessions" "Agents signed in."
        value(|gateway| gateway.sessions.len(Instant::now()));
    gauge "cc_gateway_connections" "Clients connected."
        value(|gateway| gateway.counters().connected.value());
    counter "cc_gateway_connections_total" "Clients accepted."
        value(|gateway| gateway.counters().connections.value());
    counter "cc_gateway_connections_refused_total" "Clients turned away at a connection limit."
        value(|gateway| gateway.counters().connections_refused.value());
    counter "cc_gateway_connections_evicted_total" "Idle clients without a Guid that made room for others."
        value(|gateway| gateway.counters().connections_evicted.value());
    counter "cc_gateway_accept_errors_total" "Failed calls of accept, for instance for lack of descriptors."
        value(|gateway| gateway.counters().accept_errors.value());
    counter "cc_gateway_thread_errors_total" "Clients lost because no thread could be started."
        value(|gateway| gateway.counters().thread_errors.value());
    counter "cc_gateway_handshakes_failed_total" "TLS handshakes that failed or timed out."
        value(|gateway| gateway.counters().handshakes_failed.value());
    counter "cc_gateway_requests_malformed_total" "Requests refused before they reached an interface."
        value(|gateway| gateway.counters().requests_malformed.value());
    counter "cc_gateway_requests_total" "Requests answered, by log name of the interface and result code."
        each_request();
    gauge "cc_gateway_requests_waiting" "Requests that wait without holding a worker."
        value(|gateway| gateway.counters().waiting.value());
    gauge "cc_gateway_polls_parked" "Polls among the requests that wait."
        value(|gateway| gateway.counters().parked_polls.value());
    counter "cc_gateway_worker_panics_total" "Panics of workers, which were contained; please report them."
        value(|gateway| gateway.counters().worker_panics.value());
    counter "cc_gateway_log_lines_dropped_total" "Log lines dropped because nobody read them."
        value(|_| log_lines::dropped_lines());
    gauge "cc_gateway_downloads" "Downloads running."
        value(|gateway| gateway.downloads.running());
    counter "cc_gateway_downloads_cut_total" "Downloads that ended early, for any reason."
        value(|gateway| gateway.counters().downloads_cut.value());
    counter "cc_gateway_video_bytes_total" "Bytes of recordings sent."
        value(|gateway| gateway.counters().video_bytes.value());
    gauge "cc_gateway_mount_up" "1 if the mount directory is there, mounted and answers."
        each_mount(|_, status| usize::from(status == MountStatus::Up));
    gauge "cc_gateway_mount_hung_threads" "Threads kept by the file server for more than five seconds: of 8 that open, 2 that search, 2 that close, 1 that probes, 1 that looks for new ones."
        each_mount(|mount, _| mount.hung());
    gauge "cc_gateway_mount_reading_threads" "Downloads inside a read of a recording right now; if it lasts, they wait for the file server."
        each_mount(|mount, _| mount.reading());
    counter "cc_gateway_looks_total" "Looks for new recordings."
        each_watch(|counted| counted.scans.load(Ordering::Relaxed));
    counter "cc_gateway_looks_failed_total" "Looks in which the file server failed."
        each_watch(|counted| counted.failed.load(Ordering::Relaxed));
    counter "cc_gateway_looks_cut_short_total" "Looks that met a limit and were continued by the next one; if it grows steadily, events are late."
        each_watch(|counted| counted.cut_short.load(Ordering::Relaxed));
    counter "cc_gateway_looks_skipped_total" "Looks skipped because the one before had not ended; if it grows, the file server is slow or hangs."
        each_watch(|counted| counted.skipped.load(Ordering::Relaxed));
    counter "cc_gateway_look_cpu_seconds_total" "Processor time of all looks."
        each_watch(|counted| counted.cpu().as_secs_f64());
    gauge "cc_gateway_look_folders" "Folders of agents in the last look for all of them."
        each_watch(|counted| counted.folders.load(Ordering::Relaxed));
    gauge "cc_gateway_look_entries" "Directory entries read by that look."
        each_watch(|counted| counted.entries.load(Ordering::Relaxed));
    gauge "cc_gateway_look_overfull_folders" "Folders with too many entries for that look, in which nothing is announced."
        each_watch(|counted| counted.overfull.load(Ordering::Relaxed));
    counter "cc_gateway_recording_events_total" "Events of recordings queued for agents."
        value(|gateway| gateway.recording_events.queued.value());
    counter "cc_gateway_events_dropped_total" "Events of any kind lost because an agent did not poll for them and 64 newer ones came."
        value(|gateway| gateway.sessions.dropped_events());
    gauge "cc_gateway_certificate_expiry_timestamp_seconds" "When the certificate in force expires, in seconds since 1970; 0 if that is not known."
        value(|gateway| gateway.counters().certificate_expiry.load(Ordering::Relaxed));
    gauge "cc_gateway_tcp_memory_bytes" "Memory of all TCP sockets of the network namespace, of this process and of others; 0 if that is not known."
        value(|_| tcp_memory_bytes());
}

impl Gateway {
    /// The metrics, for clients on this machine; 404 for all others. A client behind a proxy never
    /// counts as local, whatever the proxy says.
    pub(super) fn metrics(&self, request: &Request<'_>) -> Reply {
        if request.via.is_some() || !request.peer.to_canonical().is_loopback() {
            return Reply::http_error(404, ResultCode::INVALID_PARAMETER);
        }
        let mut page = String::with_capacity(8192);
        for Metric {
            name,
            kind,
            help,
            read,
            ..
        } in METRICS
        {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            read(
                self,
                &mut Samples {
                    name,
                    page: &mut page,
                },
            );
        }
        Reply::new(
            200,
            ResultCode::SUCCESS,
            "text/plain; version=0.0.4; charset=utf-8",
            page,
        )
    }
}

/// Kernel memory of the TCP sockets of the network namespace; the kernel keeps no count per
/// process.
fn tcp_memory_bytes() -> u64 {
    let sockstat = std::fs::read_to_string("/proc/self/net/sockstat").ok();
    let page = rustix::param::page_size() as u64;
    sockstat
        .and_then(|sockstat| tcp_memory(&sockstat, page))
        .unwrap_or(0)
}

/// TCP memory in bytes, from the pages in `sockstat`.
fn tcp_memory(sockstat: &str, page: u64) -> Option<u64> {
    let line = sockstat
        .lines()
        .find_map(|line| line.strip_prefix("TCP:"))?;
    let pages: u64 = line
        .split_whitespace()
        .skip_while(|word| *word != "mem")
        .nth(1)?
        .parse()
        .ok()?;
    Some(pages * page)
}

/// A label value, escaped for the text format.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
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
        for (index, metric) in METRICS.iter().enumerate() {
            assert!(
                METRICS[..index]
                    .iter()
                    .all(|other| other.name != metric.name)
            );
            assert_eq!(
                metric.name.ends_with("_total"),
                metric.kind == "counter",
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn the_memory_of_tcp_sockets_is_read() {
        let sockstat =
            "sockets: used 298\nTCP: inuse 7 orphan 0 tw 3 alloc 9 mem 42\nUDP: inuse 3 mem 4\n";
        assert_eq!(tcp_memory(sockstat, 4096), Some(172_032));
        assert_eq!(tcp_memory("TCP: inuse 7 mem", 4096), None);
        assert_eq!(tcp_memory("", 4096), None);
    }
}
