//! Secrets in logs and in texts for people: none.

use std::{
    io,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use tracing_subscriber::fmt::MakeWriter;

use super::{Behaviour, NOW, Peer, SECRET, event};

pub(super) async fn are_in_no_text(peer: &dyn Peer) {
    let written = Written::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(written.clone())
        .finish();
    // Holds for this thread: the checks run on a runtime of one.
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log is read");
    let (driver, sink) = (peer.driver(), peer.sink());
    let mut texts = vec![format!("{sink:?}")];
    for behaviour in [
        Behaviour::Takes,
        Behaviour::Echoes,
        Behaviour::Fails,
        Behaviour::Throttles,
        Behaviour::Hangs,
    ] {
        if peer.behave(behaviour).await {
            let batch = [event("EZ1", 0)];
            texts.push(format!("{:?}", driver.deliver(&sink, &batch, NOW).await));
            texts.push(format!("{:?}", driver.examine(&sink, &batch[0], NOW).await));
        }
    }
    drop(guard);
    let log = written.text();
    assert!(log.contains("the log is read"), "what is logged can be seen here");
    texts.push(log);
    let forms = [SECRET.to_owned(), BASE64_STANDARD.encode(SECRET), url_encoded(SECRET)];
    for text in &texts {
        let shown = forms.iter().find(|form| text.contains(form.as_str()));
        assert!(shown.is_none(), "a secret is shown: {text}");
    }
}

fn url_encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What was logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panicked in it");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked in it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
