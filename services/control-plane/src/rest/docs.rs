//! The page at `/docs`: an OpenAPI document as plain HTML. Whatever stands in the document is text and never markup.

use std::fmt::{self, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;
use serde_json::{Map, Value};

/// How the page looks.
pub(super) const STYLE: &str = "
:root{color-scheme:light dark;--line:#8884}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
code,h3{font-family:ui-monospace,monospace;font-size:.95em}
h2{border-bottom:1px solid var(--line);margin-top:3rem}
h3{margin:2rem 0 .3rem;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{border-top:1px solid var(--line);padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}
nav li{display:inline-block;margin-right:1rem}
small{opacity:.7}
";

/// The hash by which a content security policy lets a style in.
pub(super) fn hash(style: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, style.as_bytes())))
}

/// Renders a document.
pub(super) fn page(document: &Value) -> String {
    let mut page = Page(String::new());
    page.write(document).expect("a string takes everything");
    page.0
}

struct Page(String);

impl Page {
    fn write(&mut self, document: &Value) -> fmt::Result {
        let title = Text(&document["info"]["title"]);
        write!(
            self.0,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\
             <p>{}</p><p><a href=\"/openapi.json\">openapi.json</a></p><nav><ul>",
            Text(&document["info"]["description"])
        )?;
        let tags = items(&document["tags"]);
        for tag in tags {
            write!(self.0, "<li><a href=\"#{0}\">{0}</a></li>", plain(&tag["name"]))?;
        }
        self.0.push_str("<li><a href=\"#schemas\">Fields</a></li></ul></nav>");
        for tag in tags {
            let (name, description) = (plain(&tag["name"]), Text(&tag["description"]));
            write!(self.0, "<h2 id=\"{name}\">{name}</h2><p>{description}</p>")?;
            for (path, methods) in fields(&document["paths"]) {
                for (method, operation) in fields(methods) {
                    if items(&operation["tags"]).contains(&tag["name"]) {
                        self.operation(document, (method, path), operation)?;
                    }
                }
            }
        }
        self.0.push_str("<h2 id=\"schemas\">Fields</h2>");
        for (name, schema) in fields(&document["components"]["schemas"]) {
            write!(self.0, "<h3 id=\"{0}\">{0}</h3>", Escaped(name))?;
            self.schema(schema)?;
        }
        self.0.push_str("</body></html>");
        Ok(())
    }

    fn operation(
        &mut self,
        document: &Value,
        (method, path): (&str, &str),
        operation: &Value,
    ) -> fmt::Result {
        let id = plain(&operation["operationId"]);
        let (method, path) = (method.to_uppercase(), Escaped(path));
        write!(self.0, "<h3 id=\"{id}\">{} {path}</h3><p>{}", method, Text(&operation["summary"]))?;
        write!(self.0, " {}", Text(&operation["description"]))?;
        if operation["x-millrace"] == true {
            self.0.push_str(" <small>Extension to <code>events/v1</code>.</small>");
        }
        self.0.push_str("</p>");
        let parameters: Vec<&Value> = items(&operation["parameters"])
            .iter()
            .map(|parameter| resolved(document, parameter))
            .collect();
        if !parameters.is_empty() {
            self.0.push_str("<table><tr><th>Parameter</th><th>Type</th><th></th></tr>");
            for parameter in parameters {
                let name = Text(&parameter["name"]);
                let place = Text(&parameter["in"]);
                write!(self.0, "<tr><td><code>{name}</code> <small>{place}</small></td>")?;
                self.row(&parameter["schema"], &parameter["description"])?;
            }
            self.0.push_str("</table>");
        }
        for (media, content) in fields(&operation["requestBody"]["content"]) {
            write!(self.0, "<p>Body: <code>{}</code></p>", Escaped(media))?;
            self.schema(&content["schema"])?;
        }
        self.0.push_str("<table><tr><th>Answer</th><th>Body</th><th></th></tr>");
        for (status, response) in fields(&operation["responses"]) {
            let response = resolved(document, response);
            let schema = fields(&response["content"]).next().map(|(_, content)| &content["schema"]);
            write!(self.0, "<tr><td><code>{}</code></td>", Escaped(status))?;
            self.row(schema.unwrap_or(&Value::Null), &response["description"])?;
        }
        self.0.push_str("</table>");
        Ok(())
    }

    /// The fields of an object, or what else a schema says.
    fn schema(&mut self, schema: &Value) -> fmt::Result {
        let mut properties = fields(&schema["properties"]).peekable();
        if properties.peek().is_none() {
            return write!(self.0, "<p>{} {}</p>", Type(schema), Text(&schema["description"]));
        }
        write!(self.0, "<p>{}</p><table>", Text(&schema["description"]))?;
        for (name, property) in properties {
            write!(self.0, "<tr><td><code>{}</code>", Escaped(name))?;
            if items(&schema["required"]).iter().any(|required| required == name) {
                self.0.push_str(" <small>required</small>");
            }
            if property["x-millrace"] == true {
                self.0.push_str(" <small>extension</small>");
            }
            self.0.push_str("</td>");
            self.row(property, &property["description"])?;
        }
        self.0.push_str("</table>");
        Ok(())
    }

    fn row(&mut self, schema: &Value, description: &Value) -> fmt::Result {
        write!(self.0, "<td>{}</td><td>{}</td></tr>", Type(schema), Text(description))
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let fields = value.as_object().into_iter().flat_map(Map::iter);
    fields.map(|(name, value)| (name.as_str(), value))
}

/// What a reference names; itself, where it is none.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

/// A name of the document.
fn plain(value: &Value) -> Escaped<'_> {
    Escaped(value.as_str().unwrap_or_default())
}

/// Text in which nothing is markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A text of the document, what stands between backticks as code; nothing where it is none.
struct Text<'a>(&'a Value);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.as_str().unwrap_or_default().split('`').enumerate() {
            match at % 2 {
                0 => write!(f, "{}", Escaped(part))?,
                _ => write!(f, "<code>{}</code>", Escaped(part))?,
            }
        }
        Ok(())
    }
}

/// What a schema takes, in a few words.
struct Type<'a>(&'a Value);

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.0;
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return write!(f, "<a href=\"#{0}\">{0}</a>", Escaped(name));
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            for (at, choice) in choices.iter().enumerate() {
                write!(f, "{}{}", if at > 0 { " or " } else { "" }, Type(choice))?;
            }
            return Ok(());
        }
        match schema["type"].as_str() {
            Some("array") => write!(f, "array of {}", Type(&schema["items"]))?,
            Some(named) => write!(f, "{}", Escaped(named))?,
            None if schema.is_null() => {}
            None => f.write_str("any")?,
        }
        if schema["nullable"] == true {
            f.write_str(" or null")?;
        }
        if let Some(format) = schema["format"].as_str() {
            write!(f, " <small>{}</small>", Escaped(format))?;
        }
        for choice in items(&schema["enum"]).iter().filter_map(Value::as_str) {
            write!(f, " <code>{}</code>", Escaped(choice))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_in_the_document_is_never_markup() {
        let bad = "\"><script>alert('1')</script>`<b>`&";
        let schema = json!({
            "type": bad, "format": bad, "enum": [bad], "description": bad,
            "properties": {bad: {"$ref": bad, "description": bad}}, "required": [bad],
        });
        let operation = json!({
            "operationId": bad, "summary": bad, "description": bad, "tags": [bad],
            "parameters": [{"name": bad, "in": bad, "description": bad, "schema": {"type": bad, "enum": [bad]}}],
            "requestBody": {"content": {bad: {"schema": schema}}},
            "responses": {bad: {"description": bad, "content": {bad: {"schema": {"$ref": bad}}}}},
        });
        let page = page(&json!({
            "info": {"title": bad, "description": bad}, "tags": [{"name": bad, "description": bad}],
            "paths": {bad: {bad: operation}}, "components": {"schemas": {bad: schema}},
        }));
        assert!(page.contains("&lt;script&gt;"), "{page}");
        for markup in ["<script", "<b>", "alert('"] {
            assert!(!page.contains(markup), "{markup}: {page}");
        }
    }

    #[test]
    fn the_policy_knows_the_style_of_the_page() {
        // As `openssl dgst -sha256 -binary | base64` says of nothing.
        assert_eq!(hash(""), "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert!(page(&json!({})).contains(&format!("<style>{STYLE}</style>")));
    }
}
