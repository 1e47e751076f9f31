//! The body of a request. Of few events it is made of slices of them as they are: nothing is copied on the way to the socket.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::Delivery;

/// Most slices that go to the socket in one write: hyper's `MAX_WRITEV_BUFS`.
const SLICES_MAX: usize = 64;

/// Parts, one after the other. As a [`Buf`] it goes to the socket in one vectored write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    /// The last part first, so that what is sent is popped.
    parts: Vec<Bytes>,
    remaining: usize,
}

impl Body {
    /// A JSON array of the events of `batch`: `[`, events joined by `,`, `]`. One part, if slices and the request's head would be
    /// more than one write: to copy takes less than the other writes, each a packet that wakes the receiver.
    pub(crate) fn array(batch: &[Delivery]) -> Self {
        if 1 + 2 * batch.len() + 1 > SLICES_MAX {
            return Self::of(joined(batch));
        }
        let mut parts = Vec::with_capacity(batch.len() * 2 + 1);
        parts.push(Bytes::from_static(b"]"));
        for delivery in batch.iter().rev() {
            parts.push(delivery.event.clone());
            parts.push(Bytes::from_static(b","));
        }
        parts.pop();
        parts.push(Bytes::from_static(b"["));
        // An empty part would read as the end of the buffer.
        parts.retain(|part| !part.is_empty());
        let remaining = parts.iter().map(Bytes::len).sum();
        Self { parts, remaining }
    }

    /// These bytes and no others.
    pub(crate) fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let remaining = bytes.len();
        Self { parts: if bytes.is_empty() { Vec::new() } else { vec![bytes] }, remaining }
    }

    /// The parts in the order they are sent.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().rev().map(AsRef::as_ref)
    }
}

fn joined(batch: &[Delivery]) -> Vec<u8> {
    let events: usize = batch.iter().map(|delivery| delivery.event.len()).sum();
    let mut body = Vec::with_capacity(events + batch.len() + 1);
    for delivery in batch {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&delivery.event);
    }
    body.push(b']');
    body
}

impl Buf for Body {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.parts.last().map_or(&[], AsRef::as_ref)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, part) in slices.iter_mut().zip(self.parts()) {
            *slice = IoSlice::new(part);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "cannot advance past the end");
        self.remaining -= count;
        while let Some(part) = self.parts.last_mut() {
            if part.len() > count {
                part.advance(count);
                return;
            }
            count -= part.len();
            self.parts.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(events: &[&'static str]) -> Vec<Delivery> {
        let delivery = |event: &&'static str| Delivery {
            id: String::new(),
            account: None,
            traceparent: String::new(),
            event: Bytes::from_static(event.as_bytes()),
            hash: None,
        };
        events.iter().map(delivery).collect()
    }

    #[test]
    fn reads_as_the_array_of_its_events() {
        for (events, array) in [
            (&["{}"][..], "[{}]"),
            (&[r#"{"a":1}"#, "{}", r#"{"b":2}"#], r#"[{"a":1},{},{"b":2}]"#),
        ] {
            let mut body = Body::array(&batch(events));
            assert_eq!(body.remaining(), array.len());
            assert_eq!(body.parts().flatten().copied().collect::<Vec<_>>(), array.as_bytes());
            assert_eq!(body.copy_to_bytes(array.len()), array);
            assert_eq!(body.remaining(), 0);
        }
    }

    #[test]
    fn is_the_array_of_its_events_in_one_write_however_many() {
        for count in [1, 2, 30, 31, 32, 33, 100] {
            let events = vec![r#"{"a":1}"#; count];
            let array = format!("[{}]", events.join(","));
            let body = Body::array(&batch(&events));
            assert_eq!(body.remaining(), array.len());
            assert_eq!(body.parts().flatten().copied().collect::<Vec<_>>(), array.as_bytes());
            assert!(body.parts().count() < SLICES_MAX, "{count} events and the head");
        }
    }

    #[test]
    fn goes_on_from_wherever_a_write_stopped() {
        let whole = r#"[{"a":1},{},{"b":2}]"#;
        for stop in 0..=whole.len() {
            let mut body = Body::array(&batch(&[r#"{"a":1}"#, "{}", r#"{"b":2}"#]));
            body.advance(stop);
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = body.chunks_vectored(&mut slices);
            let rest = slices.iter().take(filled).flat_map(|slice| slice.iter().copied());
            assert_eq!(rest.collect::<Vec<_>>(), whole.as_bytes()[stop..]);
            assert_eq!(body.remaining(), whole.len() - stop);
        }
    }

    #[test]
    fn shares_the_bytes_of_the_events() {
        let batch = batch(&[r#"{"a":1}"#]);
        let body = Body::array(&batch);
        assert_eq!(body.parts().nth(1).map(<[u8]>::as_ptr), Some(batch[0].event.as_ptr()));
    }
}
