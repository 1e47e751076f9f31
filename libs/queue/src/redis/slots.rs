//! The slots of a cluster: which one a key is in, and which a command is for.

use ::redis::{Arg, Cmd};

/// How many slots every cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key: of its hash tag, if it has one.
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// The slot that a command of ours is for; `None`: it has no key, and any node will do.
pub(crate) fn slot_of(command: &Cmd) -> Option<u16> {
    let mut arguments = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes,
        _ => b"0",
    });
    match arguments.next()? {
        b"TIME" | b"INFO" | b"PING" => None,
        b"EVAL" | b"EVALSHA" => arguments.nth(2).map(slot),
        b"XREAD" | b"XREADGROUP" => {
            arguments.find(|argument| *argument == b"STREAMS")?;
            arguments.next().map(slot)
        }
        _ => arguments.next().map(slot),
    }
}

#[cfg(test)]
mod tests {
    use ::redis::cmd;

    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"{mr:1}:ready"), slot(b"mr:1"));
        assert_eq!(slot(b"{}x"), crc16(b"{}x") % SLOTS, "an empty tag is none");
        assert_eq!(slot(b"foo"), 12_182);
    }

    #[test]
    fn a_command_is_for_the_slot_of_its_first_key() {
        let of = |command: &mut Cmd| slot_of(command);
        let home = Some(slot(b"k"));
        assert_eq!(of(cmd("XADD").arg("k").arg("*")), home);
        assert_eq!(of(cmd("EVALSHA").arg("hash").arg(1).arg("k").arg("a")), home);
        assert_eq!(of(cmd("XREAD").arg("COUNT").arg(1).arg("STREAMS").arg("k").arg("0")), home);
        assert_eq!(of(&mut cmd("TIME")), None);
    }
}
