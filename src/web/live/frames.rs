//! Refuses a WebSocket frame by its header, before any of its content is kept.
//!
//! actix-http checks a frame's size only when the whole frame has arrived, so a header that announces 4 GB, with bytes after
//! it, would fill the memory. A watcher has nothing to send but control frames, and these have at most 125 bytes
//! (RFC 6455, 5.5): whatever announces more is refused at its second byte.

use actix_web::{
    FromRequest as _, HttpRequest, dev,
    error::PayloadError,
    web::{Bytes, Payload},
};
use futures::{StreamExt as _, future};

/// The most that a control frame may hold.
const LARGEST: u8 = 125;

/// The length of a frame is in the lower seven bits of its second byte; 126 and 127 announce a longer one.
const LENGTH: u8 = 0x7F;

/// Whether a mask of four bytes follows, as it does in all that clients send.
const MASKED: u8 = 0x80;

/// Follows the frames in a stream of bytes, however it is cut into pieces.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the current frame that are still to come, behind its header.
    ahead: u8,
    /// The first byte of a header was there, the second was not.
    in_header: bool,
}

/// A frame announces more than any may have.
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

/// The same bytes, up to the first header of a frame that is too large: there they end with [`PayloadError::Overflow`].
///
/// # Errors
/// None: it fails where a request has no payload, and this one has.
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

    /// A masked frame of this kind and length.
    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0x80 | kind, MASKED | length, 1, 2, 3, 4];
        frame.extend(std::iter::repeat_n(0xFF, usize::from(length)));
        frame
    }

    #[test]
    fn control_frames_pass_however_they_are_cut() {
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
    fn what_announces_more_is_refused_at_its_second_byte() {
        for second in [126, 127, MASKED | 126, MASKED | 127] {
            let mut frames = Frames::default();
            assert_eq!(frames.follow(&frame(0xA, 125)), Ok(()));
            assert_eq!(frames.follow(&[0x82]), Ok(()));
            assert_eq!(frames.follow(&[second]), Err(TooLarge));
        }
    }

    proptest! {
        /// Whatever comes, and however it is cut: what the codec keeps of it, while it waits for the rest of a frame, is less
        /// than the largest frame that may be sent, with its header and its mask.
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
