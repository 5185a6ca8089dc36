//! Thousands of agents who poll, each over a TLS connection of its own. All run on one thread,
//! which leaves nearly all of the machine to the server that is measured.
//!
//!     agents ADDRESS FIRST COUNT WAIT_MS gateway|nchan
//!
//! Each agent signs in (cc-gateway only) and polls, again and again. `ready` is written to standard
//! output once the first poll of every agent is under way. From then on, each line of input is
//! answered by a line of numbers since the last one: polls answered; how late polls were answered
//! that waited for their whole time, in ms (median, 99th percentile and maximum); events of
//! recordings that began; and the time when 99 % of those events had come, in ms since 1970. The
//! program ends at the end of the input.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Most agents who connect or sign in at the same time: few enough for the backlog of a server on
/// any machine.
const ARRIVING_MAX: usize = 64;
/// Longest time until all agents have their first poll under way.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// The token of standard input.
const INPUT: u64 = u64::MAX;
/// Headers that an HTTP library adds to each request by itself.
const USUAL_HEADERS: &str = "Host: 127.0.0.1\r\nUser-Agent: okhttp/4.12.0\r\nAccept: application/json\r\nConnection: Keep-Alive\r\n";

enum State {
    Connecting,
    SigningIn,
    Polling(Instant),
}

struct Agent {
    id: usize,
    socket: TcpStream,
    tls: ClientConnection,
    inbound: Vec<u8>,
    guid: String,
    state: State,
}

struct Load {
    address: SocketAddr,
    is_gateway: bool,
    wait: Duration,
    config: Arc<ClientConfig>,
    epoll: rustix::fd::OwnedFd,
    agents: Vec<Agent>,
    arriving: usize,
    answered: usize,
    late_ms: Vec<f64>,
    recorded_ms: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, first, count, wait_ms, kind] = arguments.as_slice() else {
        return Err("usage: agents ADDRESS FIRST COUNT WAIT_MS gateway|nchan".into());
    };
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    )?;
    let first: usize = first.parse()?;
    let mut load = Load {
        address: address.parse()?,
        is_gateway: kind == "gateway",
        wait: Duration::from_millis(wait_ms.parse()?),
        config: client_config()?,
        epoll: epoll::create(CreateFlags::CLOEXEC)?,
        agents: Vec::new(),
        arriving: 0,
        answered: 0,
        late_ms: Vec::new(),
        recorded_ms: Vec::new(),
    };
    epoll::add(
        &load.epoll,
        rustix::stdio::stdin(),
        EventData::new_u64(INPUT),
        EventFlags::IN,
    )?;
    load.run((first..first + count.parse::<usize>()?).collect())
}

impl Load {
    fn run(&mut self, mut absent: VecDeque<usize>) -> Result<()> {
        let began = Instant::now();
        let mut is_ready = false;
        let mut events = Vec::with_capacity(256);
        loop {
            while self.arriving < ARRIVING_MAX
                && let Some(id) = absent.pop_front()
            {
                self.connect(id)?;
            }
            if !is_ready && absent.is_empty() && self.arriving == 0 {
                is_ready = true;
                println!("ready");
            }
            if !is_ready && began.elapsed() > READY_TIMEOUT {
                return Err(format!(
                    "{} agents are still without a poll",
                    absent.len() + self.arriving
                )
                .into());
            }
            events.clear();
            let second = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&second)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    INPUT if !self.report()? => return Ok(()),
                    INPUT => {}
                    index => self.advance(index as usize)?,
                }
            }
        }
    }

    fn connect(&mut self, id: usize) -> Result<()> {
        let (socket, tls) = self.connection(self.agents.len())?;
        let (inbound, guid) = (Vec::new(), String::new());
        self.agents.push(Agent {
            id,
            socket,
            tls,
            inbound,
            guid,
            state: State::Connecting,
        });
        Ok(())
    }

    /// The server has ended the connection, which may carry only so many requests.
    fn connect_again(&mut self, index: usize) -> Result<()> {
        let (socket, tls) = self.connection(index)?;
        let agent = &mut self.agents[index];
        (agent.socket, agent.tls, agent.state) = (socket, tls, State::Connecting);
        agent.inbound.clear();
        Ok(())
    }

    fn connection(&mut self, index: usize) -> Result<(TcpStream, ClientConnection)> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let tls = ClientConnection::new(
            Arc::clone(&self.config),
            ServerName::IpAddress(self.address.ip().into()),
        )?;
        // The first event comes at once, since the socket can be written to.
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
        epoll::add(
            &self.epoll,
            &socket,
            EventData::new_u64(index as u64),
            interest,
        )?;
        self.arriving += 1;
        Ok((socket, tls))
    }

    /// Continues with an agent until its socket would block.
    fn advance(&mut self, index: usize) -> Result<()> {
        let agent = &mut self.agents[index];
        loop {
            agent.flush()?;
            if !agent.tls.is_handshaking() {
                if let State::Connecting = agent.state {
                    if self.is_gateway && agent.guid.is_empty() {
                        agent.send(
                            "PUT",
                            &format!("/agentgateway/resource/onlineagent/{}/forcelogin", agent.id),
                            SIGN_IN,
                        )?;
                        agent.state = State::SigningIn;
                    } else {
                        agent.poll(self.is_gateway)?;
                        self.arriving -= 1;
                    }
                    continue;
                }
                if let Some(response) = agent.take_response()? {
                    let status = response.split(' ').nth(1).unwrap_or_default();
                    // A sign-in returns the first Guid, and a poll a new one now and then.
                    if let Some(guid) = header(&response, "set-guid") {
                        agent.guid = guid.trim_start_matches("JSESSIONID=").to_owned();
                    }
                    match agent.state {
                        State::SigningIn if agent.guid.is_empty() => return Err(response.into()),
                        State::SigningIn => self.arriving -= 1,
                        State::Polling(since) => {
                            // nchan answers 408 when the time is up.
                            let is_good = if self.is_gateway {
                                status == "200"
                            } else {
                                matches!(status, "200" | "304" | "408")
                            };
                            if !is_good
                                || self.is_gateway && !response.contains("\"retcode\":\"0\"")
                            {
                                return Err(format!("agent {}: {response}", agent.id).into());
                            }
                            self.answered += 1;
                            if response.contains("\"AgentMediaEvent_Record\"") {
                                self.recorded_ms.push(
                                    SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64()
                                        * 1000.0,
                                );
                            }
                            let took = since.elapsed();
                            if took + Duration::from_millis(1) >= self.wait {
                                self.late_ms
                                    .push((took.as_secs_f64() - self.wait.as_secs_f64()) * 1000.0);
                            }
                        }
                        State::Connecting => {}
                    }
                    if header(&response, "connection")
                        .is_some_and(|value| value.eq_ignore_ascii_case("close"))
                    {
                        return self.connect_again(index);
                    }
                    agent.poll(self.is_gateway)?;
                    continue;
                }
            }
            match agent.tls.read_tls(&mut &agent.socket) {
                Ok(0) => {
                    return Err(
                        format!("agent {}: the server has ended the connection", agent.id).into(),
                    );
                }
                Ok(_) => agent.decrypt()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Answers a line of input; false at the end of the input.
    fn report(&mut self) -> Result<bool> {
        let mut line = [0; 64];
        if io::stdin().lock().read(&mut line)? == 0 {
            return Ok(false);
        }
        let [late, recorded] = [&mut self.late_ms, &mut self.recorded_ms].map(|times| {
            let mut times = std::mem::take(times);
            times.sort_by(f64::total_cmp);
            times
        });
        let percentile = |times: &[f64], percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or_default()
        };
        let [half, most, all] = [50, 99, 100].map(|percent| percentile(&late, percent));
        let (begun, come) = (recorded.len(), percentile(&recorded, 99));
        println!(
            "{} {half:.3} {most:.3} {all:.3} {begun} {come:.3}",
            self.answered
        );
        self.answered = 0;
        Ok(true)
    }
}

const SIGN_IN: &str = r#"{"password":""}"#;

impl Agent {
    fn poll(&mut self, is_gateway: bool) -> Result<()> {
        let path = if is_gateway {
            "/agentgateway/resource/agentevent"
        } else {
            "/agentevent"
        };
        self.state = State::Polling(Instant::now());
        self.send("GET", &format!("{path}/{}", self.id), "")
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n{USUAL_HEADERS}");
        if !self.guid.is_empty() {
            request += &format!("Guid: {}\r\n", self.guid);
        }
        if !body.is_empty() {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        request += "\r\n";
        request += body;
        self.tls.writer().write_all(request.as_bytes())?;
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut &self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn decrypt(&mut self) -> Result<()> {
        let state = self.tls.process_new_packets()?;
        let before = self.inbound.len();
        self.inbound
            .resize(before + state.plaintext_bytes_to_read(), 0);
        Ok(self.tls.reader().read_exact(&mut self.inbound[before..])?)
    }

    /// Takes a whole response, if one is there.
    fn take_response(&mut self) -> Result<Option<String>> {
        let Some(end) = self
            .inbound
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
        else {
            return Ok(None);
        };
        let head = String::from_utf8(self.inbound[..end + 4].to_vec())?;
        let length: usize = header(&head, "content-length").map_or(Ok(0), |value| value.parse())?;
        if self.inbound.len() < end + 4 + length {
            return Ok(None);
        }
        let rest = self.inbound.split_off(end + 4 + length);
        Ok(Some(String::from_utf8(std::mem::replace(
            &mut self.inbound,
            rest,
        ))?))
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find(|line| {
        line.split(':')
            .next()
            .is_some_and(|known| known.eq_ignore_ascii_case(name))
    })?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn client_config() -> Result<Arc<ClientConfig>> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts any certificate: verifying it is work of the client, which is not measured.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
