//! Writes JSON objects with their members in the order given, whatever a JSON library would do.

/// An object that grows member by member.
#[derive(Default)]
pub(super) struct Object(String);

impl Object {
    /// Begins an object.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a string.
    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.raw(name, &quoted(value))
    }

    /// Adds a string where there is one.
    pub(super) fn text_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Adds a whole number.
    pub(super) fn number(self, name: &str, value: u32) -> Self {
        self.raw(name, &value.to_string())
    }

    /// Adds true or false.
    pub(super) fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// Adds null.
    pub(super) fn null(self, name: &str) -> Self {
        self.raw(name, "null")
    }

    /// Adds an array of strings.
    pub(super) fn texts(self, name: &str, values: &[&str]) -> Self {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        self.raw(name, &format!("[{}]", values.join(",")))
    }

    /// Adds an array of objects.
    pub(super) fn objects(self, name: &str, values: Vec<Object>) -> Self {
        let values: Vec<String> = values.into_iter().map(Object::finish).collect();
        self.raw(name, &format!("[{}]", values.join(",")))
    }

    /// Adds an object.
    pub(super) fn object(self, name: &str, value: Object) -> Self {
        self.raw(name, &value.finish())
    }

    /// Ends the object.
    pub(super) fn finish(self) -> String {
        format!("{{{}}}", self.0)
    }

    fn raw(mut self, name: &str, json: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(json);
        self
    }
}

fn quoted(text: &str) -> String {
    millrace_domain::event::quoted(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_and_escapes() {
        let json = Object::new()
            .text("b", "a \"b\"")
            .number("a", 1)
            .flag("c", true)
            .null("n")
            .texts("t", &["x"])
            .object("o", Object::new())
            .objects("l", vec![Object::new().number("i", 1)])
            .text_if("absent", None)
            .finish();
        assert_eq!(
            json,
            r#"{"b":"a \"b\"","a":1,"c":true,"n":null,"t":["x"],"o":{},"l":[{"i":1}]}"#
        );
    }
}
