//! A video from its file to its client.

use std::io;

use super::secured::Secured;
use super::shared::Front;
use crate::recording::{Download, ReadError};

impl Front {
    /// Sends the head of the reply and then the video, chunk by chunk from the video's one buffer. Returns
    /// how many bytes of the video the client was given, whether or not all went well.
    ///
    /// After an error the client has less than it was promised, and the connection must be cut: a
    /// close_notify would tell it that this was all (RFC 9112 section 8).
    pub(super) fn transfer(
        &self,
        secured: &mut Secured,
        head: Vec<u8>,
        mut download: Box<Download>,
    ) -> (u64, io::Result<()>) {
        let mut sent = 0;
        let result = self.copy(secured, head, &mut download, &mut sent);
        if result.is_err() {
            self.counters().downloads_cut.add(1);
        }
        (sent, result)
    }

    fn copy(&self, secured: &mut Secured, head: Vec<u8>, download: &mut Download, sent: &mut u64) -> io::Result<()> {
        secured.queue(&head)?;
        drop(head);
        while let Some(chunk) = download.video.next_chunk().map_err(into_io)? {
            secured.send(chunk)?;
            *sent += chunk.len() as u64;
            self.counters().video_bytes.add(chunk.len() as u64);
        }
        Ok(())
    }
}

fn into_io(error: ReadError) -> io::Error {
    match error {
        ReadError::Shrunk => io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was sent"),
        ReadError::Failed(error) => error,
    }
}
