//! The serial form of a recording's path, `recordID` of the events.

use super::{MediaKind, Recording};
use crate::config::Drive;

impl Recording {
    /// The serial such as `Yc1v3a1203d20261124t0915307`; a video's ends in a dot.
    ///
    /// After the drive stand `c` and always 1 (what it counts is not public), `v` VDN, `a` agent, `d` day and `t`
    /// the file's name without its suffix (protocol.md 1.3, 9.4). It names nothing here: downloads take
    /// [`Recording::record_id`].
    pub fn serial(&self, drive: Drive) -> String {
        let [vdn, _, day, agent] = self.folders();
        let name = self.file().as_str();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let end = match self.kind() {
            MediaKind::Audio => "",
            MediaKind::Video => ".",
        };
        format!("{drive}c1v{vdn}a{agent}d{day}t{stem}{end}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::rel_path::Segment;

    #[test]
    fn the_documented_serials_come_from_their_paths() {
        let table = [
            (["3", "0", "20261124", "1203"], "0915307.V3", MediaKind::Audio, "Yc1v3a1203d20261124t0915307"),
            (["3", "0", "20261124", "1203"], "0915307.mp4", MediaKind::Video, "Yc1v3a1203d20261124t0915307."),
            (["1", "0", "20201202", "503"], "1714442.mp4", MediaKind::Video, "Yc1v1a503d20201202t1714442."),
            (["1", "7", "20201202", "503"], "a.b.mp4", MediaKind::Video, "Yc1v1a503d20201202ta.b."),
        ];
        for (folders, file, kind, serial) in table {
            let segment = |name: &str| Segment::parse(name).unwrap();
            let recording = Recording::new(folders.map(segment), segment(file), kind);
            assert_eq!(recording.serial(Drive::default()), serial);
            assert_eq!(recording.record_id(Drive::default()), format!("Y:/{}/{file}", folders.join("/")));
        }
    }
}
