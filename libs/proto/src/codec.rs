//! How messages are read and written: as prost does, but a message of very many parts is refused before it is decoded. An empty
//! part takes two bytes on the wire and hundreds in memory: what bounds bytes does not bound these.

use std::marker::PhantomData;

use prost::{
    Message,
    bytes::Buf,
    encoding::{DecodeContext, decode_key, skip_field},
};
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Most fields of a message, each element of a list counted; not of the messages in it. More than any call may have.
pub const FIELDS_MAX: usize = 32_768;

/// The codec of all services.
#[derive(Debug)]
pub struct Bounded<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Bounded<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for Bounded<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = BoundedEncoder<T>;
    type Decoder = BoundedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        BoundedEncoder(ProstEncoder::default())
    }

    fn decoder(&mut self) -> Self::Decoder {
        BoundedDecoder(ProstDecoder::default())
    }
}

/// Writes as prost does.
#[derive(Debug)]
pub struct BoundedEncoder<T>(ProstEncoder<T>);

impl<T: Message> Encoder for BoundedEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.0.encode(item, buf)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Reads as prost does what has few enough fields.
#[derive(Debug)]
pub struct BoundedDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default> Decoder for BoundedDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // A message is in one piece; were it not, its first would be looked at.
        if has_too_many(buf.chunk()) {
            let message =
                format!("a message has at most {FIELDS_MAX} fields and elements of lists");
            return Err(Status::resource_exhausted(message));
        }
        self.0.decode(buf)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Tells whether there are too many fields up to the first that is malformed.
fn has_too_many(mut message: &[u8]) -> bool {
    let mut fields = 0;
    while let Ok((number, wire_type)) = decode_key(&mut message) {
        fields += 1;
        let skipped = skip_field(wire_type, number, &mut message, DecodeContext::default());
        if fields > FIELDS_MAX || skipped.is_err() {
            break;
        }
    }
    fields > FIELDS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Event, PublishRequest};

    #[test]
    fn elements_of_a_list_are_counted_and_what_is_in_them_is_not() {
        let publish = |events| {
            let event = Event { id: "an id".to_owned(), ..Event::default() };
            PublishRequest { events: vec![event; events], ..PublishRequest::default() }
                .encode_to_vec()
        };
        assert!(!has_too_many(&publish(FIELDS_MAX)));
        assert!(has_too_many(&publish(FIELDS_MAX + 1)));
        assert!(has_too_many(&[0x0a, 0].repeat(FIELDS_MAX + 1)), "empty ones");
    }

    #[test]
    fn what_is_malformed_is_left_to_the_decoder() {
        for bytes in [&[][..], &[0xff], &[0x0a, 9, 1], &[0x0a, 0, 0xff]] {
            assert!(!has_too_many(bytes));
        }
    }
}
