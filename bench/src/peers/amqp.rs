//! AMQP 0-9-1, as much of it as the bench needs: frames, the opening of a connection with one channel, and the methods
//! of a queue with confirms. `lapin`, the client crate, would bring eighty crates for it.
//!
//! Protocol: <https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>; the numbers of classes and methods are those of
//! <https://www.rabbitmq.com/amqp-0-9-1-reference>.

use anyhow::{Context, Result, bail, ensure};

use super::wire::{Parsed, Wire};

/// Class and method.
pub(super) type Method = (u16, u16);

pub(super) const CONNECTION_START: Method = (10, 10);
const CONNECTION_START_OK: Method = (10, 11);
const CONNECTION_TUNE: Method = (10, 30);
const CONNECTION_TUNE_OK: Method = (10, 31);
const CONNECTION_OPEN: Method = (10, 40);
const CONNECTION_OPEN_OK: Method = (10, 41);
const CONNECTION_CLOSE: Method = (10, 50);
const CHANNEL_OPEN: Method = (20, 10);
const CHANNEL_OPEN_OK: Method = (20, 11);
const CHANNEL_CLOSE: Method = (20, 40);
const QUEUE_DECLARE: Method = (50, 10);
const QUEUE_DECLARE_OK: Method = (50, 11);
const BASIC_QOS: Method = (60, 10);
const BASIC_QOS_OK: Method = (60, 11);
const BASIC_CONSUME: Method = (60, 20);
pub(super) const BASIC_CONSUME_OK: Method = (60, 21);
const BASIC_PUBLISH: Method = (60, 40);
const BASIC_DELIVER: Method = (60, 60);
pub(super) const BASIC_ACK: Method = (60, 80);
pub(super) const BASIC_NACK: Method = (60, 120);
const CONFIRM_SELECT: Method = (85, 10);
const CONFIRM_SELECT_OK: Method = (85, 11);

const FRAME_METHOD: u8 = 1;
const FRAME_HEADER: u8 = 2;
const FRAME_BODY: u8 = 3;
const FRAME_HEARTBEAT: u8 = 8;
const FRAME_END: u8 = 0xce;

/// Largest frame that we agree to, and so the largest payload of a work with some room: RabbitMQ's own default.
pub(super) const FRAME_BYTES_MAX: u32 = 131_072;

/// The one channel that is used.
const CHANNEL: u16 = 1;

/// Delivery mode 2, persistent, is the only property of a message; bit 12 says that it is there.
const PROPERTY_DELIVERY_MODE: u16 = 1 << 12;
const PERSISTENT: u8 = 2;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Method(Method, Vec<u8>),
    /// The length of the content that follows.
    Header(u64),
    Body(Vec<u8>),
    Heartbeat,
}

/// Parses a frame.
///
/// # Errors
/// If it is no frame, or the server closes the connection or the channel.
pub(super) fn frame(input: &[u8]) -> Parsed<Frame> {
    let Some((head, rest)) = input.split_first_chunk::<7>() else {
        return Ok(None);
    };
    let [kind, _, _, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    let (Some(payload), Some(end)) = (rest.get(..length), rest.get(length)) else {
        return Ok(None);
    };
    ensure!(
        *end == FRAME_END,
        "a frame of the server's does not end where it says"
    );
    let frame = match kind {
        FRAME_METHOD => method_frame(payload)?,
        FRAME_HEADER => {
            // Class and weight come first.
            let length = payload.get(4..12).and_then(|bytes| bytes.try_into().ok());
            Frame::Header(u64::from_be_bytes(length.context("a header is too short")?))
        }
        FRAME_BODY => Frame::Body(payload.to_vec()),
        FRAME_HEARTBEAT => Frame::Heartbeat,
        other => bail!("the server sent a frame of kind {other}"),
    };
    Ok(Some((frame, 7 + length + 1)))
}

fn method_frame(payload: &[u8]) -> Result<Frame> {
    let (method, arguments) = payload
        .split_first_chunk::<4>()
        .context("a method is too short")?;
    let [c1, c2, m1, m2] = *method;
    let method = (u16::from_be_bytes([c1, c2]), u16::from_be_bytes([m1, m2]));
    if method == CONNECTION_CLOSE || method == CHANNEL_CLOSE {
        // Code, and a short string that explains it.
        let text = arguments.get(3..).unwrap_or_default();
        let text = text.get(..usize::from(arguments.get(2).copied().unwrap_or(0)));
        bail!(
            "the server closed: {}",
            String::from_utf8_lossy(text.unwrap_or_default())
        );
    }
    Ok(Frame::Method(method, arguments.to_vec()))
}

/// Appends a frame whose payload `write` appends.
fn framed(out: &mut Vec<u8>, kind: u8, channel: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - length_at - 4).expect("frames are small");
    out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    out.push(FRAME_END);
}

fn method(out: &mut Vec<u8>, channel: u16, (class, id): Method, write: impl FnOnce(&mut Vec<u8>)) {
    framed(out, FRAME_METHOD, channel, |out| {
        out.extend_from_slice(&class.to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        write(out);
    });
}

fn short_string(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("our names are short"));
    out.extend_from_slice(text.as_bytes());
}

fn long_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(
        &u32::try_from(text.len())
            .expect("our texts are short")
            .to_be_bytes(),
    );
    out.extend_from_slice(text);
}

/// Opens the connection and its channel; returns the version that the server names.
pub(super) async fn open(wire: &mut Wire) -> Result<String> {
    wire.out.extend_from_slice(b"AMQP\0\0\x09\x01");
    wire.send().await?;
    let start = answer(wire, CONNECTION_START).await?;
    let version = version(&start).context("the server names no version")?;
    method(&mut wire.out, 0, CONNECTION_START_OK, |out| {
        long_string(out, b"");
        short_string(out, "PLAIN");
        long_string(out, b"\0guest\0guest");
        short_string(out, "en_US");
    });
    wire.send().await?;
    answer(wire, CONNECTION_TUNE).await?;
    method(&mut wire.out, 0, CONNECTION_TUNE_OK, |out| {
        out.extend_from_slice(&CHANNEL.to_be_bytes());
        out.extend_from_slice(&FRAME_BYTES_MAX.to_be_bytes());
        out.extend_from_slice(&0_u16.to_be_bytes()); // no heartbeats
    });
    method(&mut wire.out, 0, CONNECTION_OPEN, |out| {
        short_string(out, "/");
        out.extend_from_slice(&[0, 0]);
    });
    wire.send().await?;
    answer(wire, CONNECTION_OPEN_OK).await?;
    method(&mut wire.out, CHANNEL, CHANNEL_OPEN, |out| short_string(out, ""));
    wire.send().await?;
    answer(wire, CHANNEL_OPEN_OK).await?;
    Ok(version)
}

/// The entry `version` in the table of the server's properties: its name, `S` for a long string, the string.
fn version(start: &[u8]) -> Option<String> {
    const ENTRY: &[u8] = b"\x07versionS";
    let at = start.windows(ENTRY.len()).position(|bytes| bytes == ENTRY)? + ENTRY.len();
    let (length, rest) = start.get(at..)?.split_first_chunk::<4>()?;
    let text = rest.get(..u32::from_be_bytes(*length) as usize)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Waits for a method and returns its arguments.
///
/// # Errors
/// If another one comes.
pub(super) async fn answer(wire: &mut Wire, expected: Method) -> Result<Vec<u8>> {
    loop {
        match wire.next(frame).await? {
            Frame::Method(method, arguments) if method == expected => return Ok(arguments),
            Frame::Heartbeat => {}
            other => bail!("the server sent {other:?} in the place of {expected:?}"),
        }
    }
}

/// Declares a durable queue of a kind (`classic`, `quorum`), or asks whether it is there.
pub(super) async fn declare(wire: &mut Wire, queue: &str, kind: &str) -> Result<()> {
    const DURABLE: u8 = 2;
    method(&mut wire.out, CHANNEL, QUEUE_DECLARE, |out| {
        out.extend_from_slice(&[0, 0]);
        short_string(out, queue);
        out.push(DURABLE);
        let mut table = Vec::new();
        short_string(&mut table, "x-queue-type");
        table.push(b'S');
        long_string(&mut table, kind.as_bytes());
        long_string(out, &table);
    });
    wire.send().await?;
    answer(wire, QUEUE_DECLARE_OK).await.map(drop)
}

/// Has the server confirm what is published.
pub(super) async fn confirm_select(wire: &mut Wire) -> Result<()> {
    method(&mut wire.out, CHANNEL, CONFIRM_SELECT, |out| out.push(0));
    wire.send().await?;
    answer(wire, CONFIRM_SELECT_OK).await.map(drop)
}

/// Consumes a queue, with at most `prefetch` messages that are not acknowledged.
pub(super) async fn consume(wire: &mut Wire, queue: &str, prefetch: u16) -> Result<()> {
    method(&mut wire.out, CHANNEL, BASIC_QOS, |out| {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&prefetch.to_be_bytes());
        out.push(0);
    });
    wire.send().await?;
    answer(wire, BASIC_QOS_OK).await?;
    method(&mut wire.out, CHANNEL, BASIC_CONSUME, |out| {
        out.extend_from_slice(&[0, 0]);
        short_string(out, queue);
        short_string(out, "");
        out.push(0);
        long_string(out, b"");
    });
    wire.send().await
}

/// Appends a persistent message to a queue, by the default exchange.
pub(super) fn publish(out: &mut Vec<u8>, queue: &str, length: usize, body: impl FnOnce(&mut Vec<u8>)) {
    method(out, CHANNEL, BASIC_PUBLISH, |out| {
        out.extend_from_slice(&[0, 0]);
        short_string(out, "");
        short_string(out, queue);
        out.push(0);
    });
    framed(out, FRAME_HEADER, CHANNEL, |out| {
        out.extend_from_slice(&BASIC_PUBLISH.0.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(length as u64).to_be_bytes());
        out.extend_from_slice(&PROPERTY_DELIVERY_MODE.to_be_bytes());
        out.push(PERSISTENT);
    });
    framed(out, FRAME_BODY, CHANNEL, body);
}

/// Appends an acknowledgement of this delivery and all before it.
pub(super) fn ack_up_to(out: &mut Vec<u8>, tag: u64) {
    method(out, CHANNEL, BASIC_ACK, |out| {
        out.extend_from_slice(&tag.to_be_bytes());
        out.push(1);
    });
}

/// Tag and "and all before it" of an acknowledgement.
pub(super) fn acked(arguments: &[u8]) -> Result<(u64, bool)> {
    let (tag, rest) = arguments
        .split_first_chunk::<8>()
        .context("an acknowledgement is too short")?;
    Ok((
        u64::from_be_bytes(*tag),
        rest.first().is_some_and(|bits| bits & 1 == 1),
    ))
}

/// Tag of a delivery, if the method is one.
pub(super) fn delivered(method: Method, arguments: &[u8]) -> Option<u64> {
    if method != BASIC_DELIVER {
        return None;
    }
    // The consumer's name comes first.
    let name = usize::from(*arguments.first()?);
    let tag = arguments.get(1 + name..9 + name)?;
    Some(u64::from_be_bytes(tag.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_method_a_header_and_a_body() {
        let mut out = Vec::new();
        publish(&mut out, "works", 3, |out| out.extend_from_slice(b"abc"));
        let mut frames = Vec::new();
        let mut at = 0;
        while let Some((next, bytes)) = frame(&out[at..]).expect("frames") {
            frames.push(next);
            at += bytes;
        }
        assert_eq!(at, out.len());
        assert!(matches!(&frames[0], Frame::Method(method, _) if *method == BASIC_PUBLISH));
        assert_eq!(frames[1..], [Frame::Header(3), Frame::Body(b"abc".to_vec())]);
    }

    #[test]
    fn half_a_frame_is_waited_for_and_a_wrong_end_is_an_error() {
        let mut out = Vec::new();
        ack_up_to(&mut out, 7);
        for end in 0..out.len() {
            assert_eq!(frame(&out[..end]).expect("fine"), None, "{end}");
        }
        let Some((Frame::Method(BASIC_ACK, arguments), _)) = frame(&out).expect("fine") else {
            panic!("an acknowledgement");
        };
        assert_eq!(acked(&arguments).expect("fine"), (7, true));
        *out.last_mut().expect("not empty") = 0;
        assert!(frame(&out).is_err());
    }

    #[test]
    fn a_server_that_closes_says_why() {
        let mut out = Vec::new();
        method(&mut out, 0, CONNECTION_CLOSE, |out| {
            out.extend_from_slice(&530_u16.to_be_bytes());
            short_string(out, "NOT_ALLOWED");
            out.extend_from_slice(&[0; 4]);
        });
        let failed = frame(&out).expect_err("closed");
        assert!(failed.to_string().contains("NOT_ALLOWED"), "{failed}");
    }

    #[test]
    fn the_version_is_found_among_the_properties() {
        let start = b"\0\x09\0\0\0\x20\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8";
        assert_eq!(version(start).as_deref(), Some("3.10.8"));
        assert_eq!(version(b"\0\x09\0\0\0\0"), None);
    }

    #[test]
    fn a_delivery_has_its_tag_behind_the_name_of_the_consumer() {
        let mut arguments = Vec::new();
        short_string(&mut arguments, "amq.ctag-1");
        arguments.extend_from_slice(&9_u64.to_be_bytes());
        assert_eq!(delivered(BASIC_DELIVER, &arguments), Some(9));
        assert_eq!(delivered(BASIC_DELIVER, &arguments[..12]), None);
        assert_eq!(delivered(BASIC_ACK, &arguments), None);
    }
}
