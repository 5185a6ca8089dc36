//! The few messages of the FUSE protocol (Linux, `linux/fuse.h`, version 7.31) that a read-only
//! tree needs.

use rustix::io::Errno;

/// A FUSE operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opcode {
    Lookup,
    Forget,
    Attributes,
    Open,
    Read,
    Release,
    Flush,
    Init,
    OpenFolder,
    ReadFolder,
    ReleaseFolder,
    Interrupt,
    ForgetMany,
    Other,
}

impl Opcode {
    fn from_number(number: u32) -> Opcode {
        match number {
            1 => Opcode::Lookup,
            2 => Opcode::Forget,
            3 => Opcode::Attributes,
            14 => Opcode::Open,
            15 => Opcode::Read,
            18 => Opcode::Release,
            25 => Opcode::Flush,
            26 => Opcode::Init,
            27 => Opcode::OpenFolder,
            28 => Opcode::ReadFolder,
            29 => Opcode::ReleaseFolder,
            36 => Opcode::Interrupt,
            42 => Opcode::ForgetMany,
            _ => Opcode::Other,
        }
    }
}

/// A request of the kernel.
#[derive(Debug)]
pub struct Request {
    pub opcode: Opcode,
    pub unique: u64,
    pub node: u64,
    content: Vec<u8>,
}

impl Request {
    /// Parses a `fuse_in_header` and its payload.
    pub fn read(bytes: &[u8]) -> Request {
        Request {
            opcode: Opcode::from_number(number(&bytes[4..8]).try_into().unwrap()),
            unique: number(&bytes[8..16]),
            node: number(&bytes[16..24]),
            content: bytes[40..].to_vec(),
        }
    }

    /// The name in a lookup.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.content)
            .unwrap()
            .trim_end_matches('\0')
    }

    /// Where a read begins (`fuse_read_in`).
    pub fn offset(&self) -> u64 {
        number(&self.content[8..16])
    }

    /// The maximum number of bytes to read.
    pub fn size(&self) -> usize {
        number(&self.content[16..20]).try_into().unwrap()
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The default mtime.
pub const CHANGED: u64 = 1_600_000_000;

/// A folder, or a file with its bytes.
pub struct Node {
    pub parent: u64,
    pub name: String,
    content: Option<Vec<u8>>,
    /// The reported size, if it differs from the content's.
    pub told: Option<u64>,
    /// The mtime, in seconds since 1970.
    pub changed: u64,
}

impl Node {
    pub fn folder(parent: u64, name: &str) -> Node {
        Node::new(parent, name, None)
    }

    pub fn file(parent: u64, name: &str, content: Vec<u8>) -> Node {
        Node::new(parent, name, Some(content))
    }

    fn new(parent: u64, name: &str, content: Option<Vec<u8>>) -> Node {
        Node {
            parent,
            name: name.to_owned(),
            content,
            told: None,
            changed: CHANGED,
        }
    }

    pub fn is_folder(&self) -> bool {
        self.content.is_none()
    }

    /// At most `size` bytes from `from` on.
    pub fn part(&self, from: u64, size: usize) -> &[u8] {
        let rest = self
            .content
            .iter()
            .flat_map(|bytes| bytes.get(usize::try_from(from).unwrap()..))
            .next();
        rest.map_or(&[], |rest| &rest[..rest.len().min(size)])
    }

    /// `fuse_attr`.
    fn attributes(&self, number: u64) -> Vec<u8> {
        let size = self
            .told
            .unwrap_or_else(|| self.content.as_ref().map_or(0, |bytes| bytes.len() as u64));
        let mode: u32 = if self.content.is_some() {
            0o100_644
        } else {
            0o040_755
        };
        let long = [
            number,
            size,
            size.div_ceil(512),
            self.changed,
            self.changed,
            self.changed,
        ];
        let short = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0];
        longs(long).chain(words(short)).collect()
    }
}

fn longs<const N: usize>(numbers: [u64; N]) -> impl Iterator<Item = u8> {
    numbers.into_iter().flat_map(u64::to_le_bytes)
}

fn words<const N: usize>(numbers: [u32; N]) -> impl Iterator<Item = u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes)
}

/// `fuse_entry_out`, not to be cached.
pub fn entry(number: u64, node: &Node) -> Vec<u8> {
    longs([number, 0, 0, 0, 0])
        .chain(node.attributes(number))
        .collect()
}

/// `fuse_attr_out`, to be cached for so many seconds.
pub fn attributes(number: u64, node: &Node, remembered: u64) -> Vec<u8> {
    longs([remembered, 0])
        .chain(node.attributes(number))
        .collect()
}

/// A `fuse_dirent`; `next` is the offset of the following entry.
pub fn listed(number: u64, next: u64, name: &str, is_folder: bool) -> Vec<u8> {
    let kind: u32 = if is_folder { 4 } else { 8 };
    let length = u32::try_from(name.len()).unwrap();
    let mut bytes: Vec<u8> = longs([number, next])
        .chain(words([length, kind]))
        .chain(name.bytes())
        .collect();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// `fuse_open_out` with `FOPEN_DIRECT_IO`: every read reaches the server.
pub fn opened() -> Vec<u8> {
    words([0, 0, 1, 0]).collect()
}

/// `fuse_init_out`: version 7.31, no options.
pub fn init() -> Vec<u8> {
    let mut bytes: Vec<u8> = words([7, 31, 0, 0, 0, 4096, 1]).collect();
    bytes.resize(64, 0);
    bytes
}

/// `fuse_out_header` and its payload.
pub fn answer(unique: u64, content: &Result<Vec<u8>, Errno>) -> Vec<u8> {
    let (errno, content) = match content {
        Ok(content) => (0, &content[..]),
        Err(errno) => (-errno.raw_os_error(), &[][..]),
    };
    let length = u32::try_from(16 + content.len()).unwrap();
    let head = length
        .to_le_bytes()
        .into_iter()
        .chain(errno.to_le_bytes())
        .chain(unique.to_le_bytes());
    head.chain(content.iter().copied()).collect()
}
