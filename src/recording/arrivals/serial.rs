//! The serial form of a recording's path, `recordID` of the events.

use super::super::rel_path::Segment;
use super::Recording;
use crate::config::Drive;

impl Recording {
    /// The serial, such as `Yc1v3a1203d20261124t0915307`; the event appends a dot for videos.
    ///
    /// After the drive: `c` and always 1 (its meaning is not public), `v` VDN, `a` agent, `d` day,
    /// and `t` file name without suffix (protocol.md 1.3, 9.4). Downloads use
    /// [`Recording::record_id`] instead.
    pub(crate) fn serial(&self, drive: Drive) -> String {
        let [vdn, _, day, agent] = self.folders();
        let name = self.file.as_str();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        format!("{drive}c1v{vdn}a{agent}d{day}t{stem}")
    }
}

/// A number derived from the path of a recording: 1 to 2^31 - 1, since clients read `taskId` as a
/// Java int.
///
/// FNV-1a, which is stable across restarts. Two recordings collide with a probability of 1 in 2^31.
pub(super) fn task_id(folders: &[Segment; 4], file: &Segment) -> u32 {
    let names = folders.iter().chain([file]);
    let bytes = names.flat_map(|name| name.as_str().bytes().chain(*b"/"));
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    ((hash ^ (hash >> 31)) & 0x7fff_ffff).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::MediaKind;
    use super::*;

    #[test]
    fn the_documented_serials_come_from_their_paths() {
        let table = [
            (
                ["3", "0", "20261124", "1203"],
                "0915307.V3",
                MediaKind::Audio,
                "Yc1v3a1203d20261124t0915307",
            ),
            (
                ["3", "0", "20261124", "1203"],
                "0915307.mp4",
                MediaKind::Video,
                "Yc1v3a1203d20261124t0915307",
            ),
            (
                ["1", "0", "20201202", "503"],
                "1714442.mp4",
                MediaKind::Video,
                "Yc1v1a503d20201202t1714442",
            ),
            (
                ["1", "7", "20201202", "503"],
                "a.b.mp4",
                MediaKind::Video,
                "Yc1v1a503d20201202ta.b",
            ),
        ];
        for (folders, file, kind, serial) in table {
            let segment = |name: &str| Segment::parse(name).unwrap();
            let recording = Recording::new(folders.map(segment), segment(file), kind);
            assert_eq!(recording.serial(Drive::default()), serial);
            assert_eq!(
                recording.record_id(Drive::default()),
                format!("Y:/{}/{file}", folders.join("/"))
            );
        }
    }

    #[test]
    fn recordings_have_numbers_of_their_own_that_a_java_int_holds() {
        let segment = |name: &str| Segment::parse(name).unwrap();
        let mut numbers = std::collections::HashSet::new();
        for agent in 101..151 {
            let folders = ["1", "0", "20261125", &agent.to_string()].map(segment);
            for second in 0..200 {
                let number = task_id(
                    &folders,
                    &segment(&format!("{:07}.mp4", 900_000 + second * 10)),
                );
                assert!(i32::try_from(number).is_ok_and(|number| number > 0));
                numbers.insert((agent, number));
            }
        }
        assert_eq!(numbers.len(), 50 * 200);
        let folders = ["1", "0", "20261125", "101"].map(segment);
        assert_eq!(
            task_id(&folders, &segment("0900000.mp4")),
            1_943_502_711,
            "a restart must not change the number"
        );
    }
}
