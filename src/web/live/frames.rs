//! Rejects an oversized WebSocket frame by its header, before any of its content is buffered.
//!
//! actix-http checks a frame's size only when the whole frame has arrived, so a frame whose header announces 4 GB would
//! fill the memory. Watchers send only control frames, which have at most 125 bytes (RFC 6455, 5.5). A frame that
//! announces more is rejected at its second byte.

use actix_web::{
    FromRequest as _, HttpRequest, dev,
    error::PayloadError,
    web::{Bytes, Payload},
};
use futures::{StreamExt as _, future};

/// The most bytes that a control frame may contain.
const LARGEST: u8 = 125;

/// The lower seven bits of the second byte: the length; 126 and 127 announce a longer length field.
const LENGTH: u8 = 0x7F;

/// The bit that announces a mask of four bytes; all frames from clients have one.
const MASKED: u8 = 0x80;

/// Tracks the frames in a stream of bytes, however it is split into pieces.
#[derive(Debug, Default)]
struct Frames {
    /// The remaining bytes of the current frame, after its header.
    ahead: u8,
    /// Whether only the first byte of a header has arrived.
    in_header: bool,
}

/// A frame announces more bytes than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TooLarge;

impl Frames {
    fn follow(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        for byte in piece {
            if self.ahead > 0 {
                self.ahead -= 1;
            } else if self.in_header {
                let length = byte & LENGTH;
                if length > LARGEST {
                    return Err(TooLarge);
                }
                self.ahead = if byte & MASKED == 0 { length } else { length + 4 };
                self.in_header = false;
            } else {
                self.in_header = true;
            }
        }
        Ok(())
    }
}

/// Returns the same bytes, up to the first header of a frame that is too large. There they end with
/// [`PayloadError::Overflow`].
///
/// # Errors
/// None: extraction fails only if a request has no payload, and this one has.
pub async fn bounded(request: &HttpRequest, payload: Payload) -> actix_web::Result<Payload> {
    let mut frames = Frames::default();
    let follow = move |piece: Result<Bytes, PayloadError>| {
        piece.and_then(|bytes| frames.follow(&bytes).map(|()| bytes).map_err(|TooLarge| PayloadError::Overflow))
    };
    let mut ended = false;
    let until_error = move |piece: &Result<Bytes, PayloadError>| {
        let goes_on = !ended;
        ended = piece.is_err();
        future::ready(goes_on)
    };
    let payload = payload.map(follow).take_while(until_error).boxed_local();
    Payload::from_request(request, &mut dev::Payload::Stream { payload }).await
}

#[cfg(test)]
mod tests {
    use actix_http::ws::Codec;
    use actix_web::web::BytesMut;
    use proptest::{collection::vec, prelude::*};
    use tokio_util::codec::Decoder as _;

    use super::*;

    /// Returns a masked frame of this kind and length.
    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0x80 | kind, MASKED | length, 1, 2, 3, 4];
        frame.extend(std::iter::repeat_n(0xFF, usize::from(length)));
        frame
    }

    #[test]
    fn control_frames_pass_however_they_are_split() {
        let all: Vec<u8> =
            [frame(0xA, 0), frame(0x9, 125), frame(0xA, 4), vec![0x8A, 3, 9, 9, 9], frame(0x8, 2)].concat();
        for size in 1..all.len() {
            let mut frames = Frames::default();
            for piece in all.chunks(size) {
                assert_eq!(frames.follow(piece), Ok(()), "pieces of {size}");
            }
            assert_eq!((frames.ahead, frames.in_header), (0, false));
        }
    }

    #[test]
    fn a_longer_frame_is_rejected_at_its_second_byte() {
        for second in [126, 127, MASKED | 126, MASKED | 127] {
            let mut frames = Frames::default();
            assert_eq!(frames.follow(&frame(0xA, 125)), Ok(()));
            assert_eq!(frames.follow(&[0x82]), Ok(()));
            assert_eq!(frames.follow(&[second]), Err(TooLarge));
        }
    }

    proptest! {
        /// For any bytes, however they are split, the codec buffers less than the largest allowed frame with its header
        /// and mask while it waits for the rest of a frame.
        #[test]
        fn no_more_is_kept_than_the_largest_frame(
            frames in vec((any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..140)), 0..12),
            size in 1_usize..300,
        ) {
            let sent: Vec<u8> = frames
                .into_iter()
                .flat_map(|(first, second, content)| [vec![first, second], content].concat())
                .collect();
            let (mut frames, mut codec, mut kept) = (Frames::default(), Codec::new(), BytesMut::new());
            for piece in sent.chunks(size) {
                if frames.follow(piece).is_err() {
                    break;
                }
                kept.extend_from_slice(piece);
                let rest = std::iter::repeat_with(|| codec.decode(&mut kept)).find(|decoded| !matches!(decoded, Ok(Some(_))));
                if let Some(Err(_)) = rest {
                    break;
                }
                prop_assert!(kept.len() < 2 + 4 + usize::from(LARGEST), "{} bytes are kept", kept.len());
            }
        }
    }
}
