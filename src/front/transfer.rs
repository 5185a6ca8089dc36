//! A video from its file to its client.

use std::io;
use std::time::{Duration, Instant};

use super::secured::Secured;
use super::shared::Front;
use crate::recording::Download;

impl Front {
    /// Sends the head of the reply and then the video, portion by portion. Returns, in whole portions,
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
        secured.cork(true);
        secured.queue(&head)?;
        drop(head);
        let (mut taken, mut time) = (0, Duration::MAX);
        loop {
            let portion = self.portions.next(*sent, taken, time);
            let asked = Instant::now();
            let count = {
                let mut buffer = portion.buffer();
                let room = buffer.get_mut(..portion.bytes).unwrap_or_default();
                let count = download.next_chunk(room)?;
                secured.queue(room.get(..count).unwrap_or_default())?;
                count
            };
            if count == 0 {
                secured.cork(false);
                return Ok(());
            }
            let began = Instant::now();
            // The file server may have been slow.
            secured.excuse(began - asked);
            secured.flush()?;
            (taken, time) = (count, began.elapsed());
            *sent += count as u64;
            self.counters().video_bytes.add(count as u64);
        }
    }
}
