//! A scripted file server: a FUSE file system over `/dev/fuse`, mounted without a helper, that
//! answers, fails or hangs.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::fuse_wire::{Node, Opcode, Request, answer, attributes, entry, init, listed, opened};

/// The root's node number, fixed by the protocol.
const ROOT: u64 = 1;

/// The requests left unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hang {
    Nothing,
    /// All of them.
    Everything,
    /// Opening files.
    Opens,
    /// Reading files.
    Reads,
    /// Listing folders.
    Listings,
    /// Closing files.
    Closes,
}

/// The content of the file server.
pub struct Tree {
    nodes: Vec<Node>,
    failures: HashMap<(u64, Opcode), (u64, Errno)>,
    /// A folder with an endless listing.
    endless: Option<u64>,
    /// How long the kernel may cache attributes, in seconds.
    remembered: u64,
}

impl Tree {
    pub fn new() -> Tree {
        Tree {
            nodes: vec![Node::folder(ROOT, "")],
            failures: HashMap::new(),
            endless: None,
            remembered: 0,
        }
    }

    /// Makes the listing of a folder endless, with files that are not recordings.
    pub fn endless(mut self, path: &str) -> Tree {
        self.endless = Some(self.number(path));
        self
    }

    /// Lets the kernel cache attributes, as with NFS and CIFS.
    pub fn remembered(self) -> Tree {
        Tree {
            remembered: 3600,
            ..self
        }
    }

    /// Adds a file with its folders.
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Tree {
        let parent = self.folders_of(path);
        self.nodes.push(Node::file(
            parent,
            path.rsplit('/').next().unwrap(),
            content.into(),
        ));
        self
    }

    /// Makes an operation on a path fail; reads from offset `from` on.
    pub fn failing(mut self, path: &str, operation: Opcode, from: u64, errno: Errno) -> Tree {
        let number = self.number(path);
        self.failures.insert((number, operation), (from, errno));
        self
    }

    /// Mounts it; `None`, with a message on stderr, if this machine does not allow that.
    pub fn mount(self, directory: &Path) -> Option<Fuse> {
        std::fs::create_dir_all(directory).unwrap();
        let device = match File::options().read(true).write(true).open("/dev/fuse") {
            Ok(device) => device,
            Err(error) => return skipped(&error),
        };
        rustix::io::ioctl_fionbio(&device, true).unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let options = CString::new(options).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(error) = rustix::mount::mount(
            "cc-gateway-test",
            directory,
            "fuse",
            flags,
            options.as_c_str(),
        ) {
            return skipped(&error);
        }
        let (stirred, stir) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let hang = Arc::new(Mutex::new(Hang::Nothing));
        let tree = Arc::new(Mutex::new(self));
        let server = Server {
            tree: Arc::clone(&tree),
            device,
            stirred,
            hang: Arc::clone(&hang),
            held: Vec::new(),
        };
        let serving = std::thread::spawn(move || server.serve());
        Some(Fuse {
            directory: directory.to_owned(),
            tree,
            hang,
            stir: Some(stir),
            serving: Some(serving),
        })
    }

    fn folders_of(&mut self, path: &str) -> u64 {
        let (folders, _) = path.rsplit_once('/').unwrap_or_default();
        folders
            .split('/')
            .filter(|name| !name.is_empty())
            .fold(ROOT, |parent, name| {
                self.find(parent, name).unwrap_or_else(|| {
                    self.nodes.push(Node::folder(parent, name));
                    self.nodes.len() as u64
                })
            })
    }

    fn number(&self, path: &str) -> u64 {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.fold(ROOT, |parent, name| self.find(parent, name).unwrap())
    }

    fn find(&self, parent: u64, name: &str) -> Option<u64> {
        let index = self
            .nodes
            .iter()
            .position(|node| node.parent == parent && node.name == name)?;
        Some(index as u64 + 1)
    }

    fn node(&self, number: u64) -> &Node {
        &self.nodes[usize::try_from(number).unwrap() - 1]
    }
}

fn skipped(error: &dyn std::fmt::Display) -> Option<Fuse> {
    eprintln!("skipped: no FUSE file system can be mounted here: {error}");
    None
}

/// The mounted file system. Dropping it unmounts it; hung requests fail.
pub struct Fuse {
    directory: PathBuf,
    tree: Arc<Mutex<Tree>>,
    hang: Arc<Mutex<Hang>>,
    stir: Option<OwnedFd>,
    serving: Option<JoinHandle<()>>,
}

impl Fuse {
    /// From now on leaves these requests unanswered; answers all other held ones.
    pub fn hang(&self, hang: Hang) {
        *self.hang.lock().unwrap() = hang;
        rustix::io::write(self.stir.as_ref().unwrap(), b"!").unwrap();
    }

    /// Changes the reported size (not the content) and mtime of a file.
    pub fn tell(&self, path: &str, size: u64, changed: u64) {
        let mut tree = self.tree.lock().unwrap();
        let index = usize::try_from(tree.number(path)).unwrap() - 1;
        (tree.nodes[index].told, tree.nodes[index].changed) = (Some(size), changed);
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.directory, UnmountFlags::DETACH);
        // Closing the pipe ends the thread, which closes the connection to the kernel.
        self.stir = None;
        let _ = self.serving.take().unwrap().join();
    }
}

/// The serving thread.
struct Server {
    tree: Arc<Mutex<Tree>>,
    device: File,
    stirred: OwnedFd,
    hang: Arc<Mutex<Hang>>,
    /// Requests left unanswered.
    held: Vec<Request>,
}

impl Server {
    fn serve(mut self) {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let mut sources = [
                PollFd::new(&self.device, PollFlags::IN),
                PollFd::new(&self.stirred, PollFlags::IN),
            ];
            if poll(&mut sources, None) == Err(Errno::INTR) {
                continue;
            }
            let (asked, stirred) = (
                !sources[0].revents().is_empty(),
                !sources[1].revents().is_empty(),
            );
            if stirred {
                if rustix::io::read(&self.stirred, &mut [0_u8; 16][..]) == Ok(0) {
                    return;
                }
                let hang = *self.hang.lock().unwrap();
                let (held, due) = std::mem::take(&mut self.held)
                    .into_iter()
                    .partition(|asked| holds(hang, asked));
                self.held = held;
                due.iter()
                    .for_each(|request: &Request| self.answer(request));
            }
            if asked {
                match rustix::io::read(&self.device, &mut buffer[..]) {
                    Ok(count) => self.take(Request::read(&buffer[..count])),
                    // A request that was withdrawn before it was read.
                    Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                    Err(_) => return,
                }
            }
        }
    }

    fn take(&mut self, request: Request) {
        if holds(*self.hang.lock().unwrap(), &request) {
            self.held.push(request);
        } else {
            self.answer(&request);
        }
    }

    fn answer(&self, request: &Request) {
        if matches!(
            request.opcode,
            Opcode::Forget | Opcode::ForgetMany | Opcode::Interrupt
        ) {
            return;
        }
        let content = self.content(request);
        // The requester may be gone.
        let _ = rustix::io::write(&self.device, &answer(request.unique, &content));
    }

    fn content(&self, request: &Request) -> Result<Vec<u8>, Errno> {
        let (number, tree) = (request.node, self.tree.lock().unwrap());
        let target = match request.opcode {
            Opcode::Lookup => tree.find(number, request.name()).ok_or(Errno::NOENT)?,
            _ => number,
        };
        let from = if request.opcode == Opcode::Read {
            request.offset()
        } else {
            0
        };
        match tree.failures.get(&(target, request.opcode)) {
            Some((first, errno)) if from >= *first => return Err(*errno),
            _ => {}
        }
        match request.opcode {
            Opcode::Init => Ok(init()),
            Opcode::Lookup => Ok(entry(target, tree.node(target))),
            Opcode::Attributes => Ok(attributes(target, tree.node(target), tree.remembered)),
            Opcode::Open | Opcode::OpenFolder => Ok(opened()),
            Opcode::Read => Ok(tree.node(target).part(from, request.size()).to_vec()),
            Opcode::ReadFolder => Ok(tree.listing(target, request.offset(), request.size())),
            Opcode::Release | Opcode::ReleaseFolder | Opcode::Flush => Ok(Vec::new()),
            _ => Err(Errno::NOSYS),
        }
    }
}

impl Tree {
    /// As many entries of a folder as fit, starting with number `from`.
    fn listing(&self, folder: u64, from: u64, size: usize) -> Vec<u8> {
        let nodes = self.nodes.iter().zip(ROOT..).skip(1);
        let inside: Vec<_> = nodes.filter(|(node, _)| node.parent == folder).collect();
        let last = if self.endless == Some(folder) {
            u64::MAX
        } else {
            inside.len() as u64
        };
        let mut bytes = Vec::new();
        for at in from..last {
            let entry = match inside.get(usize::try_from(at).unwrap()) {
                Some((node, number)) => listed(*number, at + 1, &node.name, node.is_folder()),
                None => listed(u64::MAX / 2 + at, at + 1, &format!("junk-{at:010}"), false),
            };
            if bytes.len() + entry.len() > size {
                break;
            }
            bytes.extend(entry);
        }
        bytes
    }
}

fn holds(hang: Hang, request: &Request) -> bool {
    match hang {
        Hang::Nothing => false,
        Hang::Everything => true,
        Hang::Opens => request.opcode == Opcode::Open,
        Hang::Reads => request.opcode == Opcode::Read,
        Hang::Listings => request.opcode == Opcode::ReadFolder,
        Hang::Closes => request.opcode == Opcode::Flush,
    }
}
