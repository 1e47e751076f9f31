//! The Lua scripts, and how one is called: by its hash, and in full where the server has forgotten it.

use std::sync::LazyLock;

use ::redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, cmd};

/// A script of ours.
#[derive(Debug)]
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: ::redis::Script::new(code).get_hash().to_owned() }
    }

    /// Starts a call.
    pub(crate) fn call(&'static self) -> Call {
        Call { script: self, keys: Vec::new(), args: Vec::new() }
    }

    /// The command that makes the server know the script.
    pub(crate) fn load(&self) -> Cmd {
        cmd("SCRIPT").arg("LOAD").arg(self.code).take()
    }
}

/// Every script.
pub(crate) struct Scripts {
    pub(crate) acquire: Script,
    pub(crate) renew: Script,
    pub(crate) release: Script,
    pub(crate) announce: Script,
    pub(crate) withdraw: Script,
    pub(crate) settle: Script,
    pub(crate) group: Script,
    pub(crate) append_new: Script,
    pub(crate) set_full: Script,
    pub(crate) full: Script,
    pub(crate) inherit: Script,
    pub(crate) note: Script,
    pub(crate) redrive: Script,
}

/// The scripts, hashed once.
pub(crate) static SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts {
    acquire: Script::new(include_str!("acquire.lua")),
    renew: Script::new(include_str!("renew.lua")),
    release: Script::new(include_str!("release.lua")),
    announce: Script::new(include_str!("announce.lua")),
    withdraw: Script::new(include_str!("withdraw.lua")),
    settle: Script::new(include_str!("settle.lua")),
    group: Script::new(include_str!("group.lua")),
    append_new: Script::new(include_str!("append_new.lua")),
    set_full: Script::new(include_str!("set_full.lua")),
    full: Script::new(include_str!("full.lua")),
    inherit: Script::new(include_str!("inherit.lua")),
    note: Script::new(include_str!("note.lua")),
    redrive: Script::new(include_str!("redrive.lua")),
});

impl Scripts {
    /// All of them.
    pub(crate) fn all(&self) -> [&Script; 13] {
        [
            &self.acquire,
            &self.renew,
            &self.release,
            &self.announce,
            &self.withdraw,
            &self.settle,
            &self.group,
            &self.append_new,
            &self.set_full,
            &self.full,
            &self.inherit,
            &self.note,
            &self.redrive,
        ]
    }
}

/// One call of a script: keys and arguments in the order in which the script takes them.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    args: Vec<Arg>,
}

#[derive(Clone, Debug)]
enum Arg {
    Text(String),
    Bytes(bytes::Bytes),
}

impl Call {
    /// Adds a key.
    pub(crate) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    /// Adds an argument that is a text or a number.
    pub(crate) fn arg(&mut self, arg: impl ToString) -> &mut Self {
        self.args.push(Arg::Text(arg.to_string()));
        self
    }

    /// Adds an argument that is bytes.
    pub(crate) fn bytes(&mut self, bytes: impl Into<bytes::Bytes>) -> &mut Self {
        self.args.push(Arg::Bytes(bytes.into()));
        self
    }

    /// The command that calls it by its hash.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// The command that brings the script along.
    pub(crate) fn in_full(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for arg in &self.args {
            match arg {
                Arg::Text(text) => command.arg(text),
                Arg::Bytes(bytes) => command.arg(bytes.as_ref()),
            };
        }
        command
    }
}

/// Says whether `error` is that the server does not know the script: nothing was done.
pub(crate) fn is_forgotten(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
