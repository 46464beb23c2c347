//! Fields of a form as HTML: label, hint, what is wrong, all tied together as WCAG and Bootstrap Italia want it.
//!
//! In a template: `{{ form.summary() }}`, then `{{ form.text("nome", "Nome").required().longest(80) }}` and the like.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use super::{
    Form,
    html::{Html, escaped},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Input(&'static str),
    Area(u8),
    Select,
    Radios,
}

/// A field being built in a template.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    form: &'a Form,
    name: &'a str,
    label: &'a str,
    kind: Kind,
    hint: String,
    required: bool,
    more: String,
    options: Vec<(String, String)>,
}

impl Form {
    fn field<'a>(&'a self, name: &'a str, label: &'a str, kind: Kind) -> Field<'a> {
        Field { form: self, name, label, kind, hint: String::new(), required: false, more: String::new(), options: Vec::new() }
    }

    /// A line of text.
    pub fn text<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("text"))
    }

    /// A mail address.
    pub fn email<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("email"))
    }

    /// A password; what was typed is never shown again.
    pub fn password<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("password"))
    }

    /// A day.
    pub fn day<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("date"))
    }

    /// A time of day.
    pub fn time<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("time"))
    }

    /// A whole number. As text, so that what is wrong is told in our words.
    pub fn number<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("text")).attribute("inputmode", "numeric")
    }

    /// A file; the form needs `enctype="multipart/form-data"`, and its route `.files`.
    pub fn file<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Input("file"))
    }

    /// Several lines of text.
    pub fn area<'a>(&'a self, name: &'a str, label: &'a str, rows: u8) -> Field<'a> {
        self.field(name, label, Kind::Area(rows))
    }

    /// A list to choose from; add `.option(value, label)` or `.options(…)`.
    pub fn select<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Select)
    }

    /// A few choices, all to be seen; add `.option(value, label)`.
    pub fn radios<'a>(&'a self, name: &'a str, label: &'a str) -> Field<'a> {
        self.field(name, label, Kind::Radios)
    }

    /// A box to tick, for a field that may occur several times with different values.
    pub fn tick(&self, name: &str, value: &str, label: &str) -> Html {
        let id = format!("{name}-{value}");
        let checked = if self.has(name, value) { " checked" } else { "" };
        Html(format!(
            r#"<div class="form-check"><input type="checkbox" id="{id}" name="{name}" value="{value}"{checked}><label for="{id}">{label}</label></div>"#,
            id = escaped(&id),
            name = escaped(name),
            value = escaped(value),
            label = escaped(label),
        ))
    }

    /// The version of the row that the form is made from; see [`Form::take_version`].
    pub fn version(&self, version: &i64) -> Html {
        Html(format!(r#"<input type="hidden" name="_version" value="{version}">"#))
    }

    /// A field that is not shown, with what stands in it.
    pub fn hidden(&self, name: &str) -> Html {
        Html(format!(r#"<input type="hidden" name="{}" value="{}">"#, escaped(name), escaped(self.value(name))))
    }

    /// What is wrong, in front of the form, each line leading to its field. Empty where nothing is.
    pub fn summary(&self) -> Html {
        let mut html = String::new();
        if self.is_resumed() {
            html.push_str(
                r#"<div class="alert alert-info" role="status" tabindex="-1" data-focus>Ecco ciò che stava scrivendo. Non è ancora salvato: lo controlli e lo salvi.</div>"#,
            );
        }
        if !self.errors().is_empty() {
            html.push_str(r#"<div class="alert alert-danger" role="alert" tabindex="-1" data-focus><p>Non è stato salvato nulla. C'è qualcosa da correggere:</p><ul>"#);
            for error in self.errors() {
                let text = if error.label.is_empty() {
                    escaped(&error.message)
                } else {
                    format!("{}: {}", escaped(&error.label), escaped(&error.message))
                };
                if error.name.is_empty() {
                    let _ = write!(html, "<li>{text}</li>");
                } else {
                    let _ = write!(html, r##"<li><a href="#{}">{text}</a></li>"##, escaped(&error.name));
                }
            }
            html.push_str("</ul></div>");
        }
        Html(html)
    }
}

impl Field<'_> {
    /// A sentence below the label that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Must be filled. (The browser says so first, the server again.)
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The most characters.
    #[must_use]
    pub fn longest(self, characters: usize) -> Self {
        self.attribute("maxlength", &characters.to_string())
    }

    /// Any further attribute.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: &str) -> Self {
        let _ = write!(self.more, r#" {name}="{}""#, escaped(value));
        self
    }

    /// One of the choices.
    #[must_use]
    pub fn option(mut self, value: impl Into<String>, label: impl Into<String>) -> Self {
        self.options.push((value.into(), label.into()));
        self
    }

    /// All of the choices.
    #[must_use]
    pub fn options(mut self, options: &[(String, String)]) -> Self {
        self.options.extend_from_slice(options);
        self
    }

    fn describing(&self, error: Option<&str>) -> String {
        let mut ids = Vec::new();
        if !self.hint.is_empty() {
            ids.push(format!("{}-aiuto", self.name));
        }
        if error.is_some() {
            ids.push(format!("{}-errore", self.name));
        }
        if ids.is_empty() { String::new() } else { format!(r#" aria-describedby="{}""#, escaped(&ids.join(" "))) }
    }
}

impl fmt::Display for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.form.error_of(self.name);
        let name = escaped(self.name);
        let label = escaped(self.label);
        let described = self.describing(error);
        let invalid = if error.is_some() { r#" aria-invalid="true""# } else { "" };
        let class = if error.is_some() { " is-invalid" } else { "" };
        let required = if self.required { " required" } else { "" };
        let more = &self.more;
        let value = escaped(self.form.value(self.name));
        let hint = if self.hint.is_empty() {
            String::new()
        } else {
            format!(r#"<div class="form-text" id="{name}-aiuto">{}</div>"#, escaped(&self.hint))
        };
        let told = error.map(|e| format!(r#"<p class="vg-error" id="{name}-errore">{}</p>"#, escaped(e))).unwrap_or_default();
        if self.kind == Kind::Radios {
            write!(f, r#"<fieldset class="form-group" id="{name}"{described}><legend class="h6">{label}</legend>{hint}"#)?;
            for (at, (value, text)) in self.options.iter().enumerate() {
                let checked = if self.form.has(self.name, value) { " checked" } else { "" };
                write!(
                    f,
                    r#"<div class="form-check"><input type="radio" id="{name}-{at}" name="{name}" value="{}"{checked}{required}><label for="{name}-{at}">{}</label></div>"#,
                    escaped(value),
                    escaped(text)
                )?;
            }
            return write!(f, "{told}</fieldset>");
        }
        write!(f, r#"<div class="form-group"><label class="active" for="{name}">{label}</label>{hint}"#)?;
        match self.kind {
            Kind::Input(kind) => {
                let value = match kind {
                    "password" | "file" => String::new(),
                    _ => format!(r#" value="{value}""#),
                };
                write!(
                    f,
                    r#"<input class="form-control{class}" type="{kind}" id="{name}" name="{name}"{value}{required}{invalid}{described}{more}>"#
                )?;
            }
            Kind::Area(rows) => {
                // A line end right after the tag would be dropped.
                write!(
                    f,
                    "<textarea class=\"form-control{class}\" id=\"{name}\" name=\"{name}\" rows=\"{rows}\"{required}{invalid}{described}{more}>\n{value}</textarea>"
                )?;
            }
            Kind::Select => {
                write!(f, r#"<select class="form-select{class}" id="{name}" name="{name}"{required}{invalid}{described}{more}>"#)?;
                for (value, text) in &self.options {
                    let selected = if self.form.has(self.name, value) { " selected" } else { "" };
                    write!(f, r#"<option value="{}"{selected}>{}</option>"#, escaped(value), escaped(text))?;
                }
                f.write_str("</select>")?;
            }
            Kind::Radios => {}
        }
        write!(f, "{told}</div>")
    }
}

impl HtmlSafe for Field<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_in_what_was_typed_stays_text() {
        let form = Form::showing([("nome", r#""><script>alert(1)</script>"#.to_owned())]);
        let html = form.text("nome", "Nome <b>").to_string();
        assert!(!html.contains("<script>") && !html.contains("<b>"), "{html}");
    }

    #[test]
    fn what_is_wrong_is_tied_to_its_field() {
        let mut form = Form::empty();
        form.take_text("nome", "Nome", 10);
        insta::assert_snapshot!(form.text("nome", "Nome").hint("Come in anagrafe.").required(), @r#"<div class="form-group"><label class="active" for="nome">Nome</label><div class="form-text" id="nome-aiuto">Come in anagrafe.</div><input class="form-control is-invalid" type="text" id="nome" name="nome" value="" required aria-invalid="true" aria-describedby="nome-aiuto nome-errore"><p class="vg-error" id="nome-errore">Scriva qualcosa: questo campo è obbligatorio.</p></div>"#);
        assert!(form.summary().0.contains(r##"<a href="#nome">Nome: Scriva qualcosa"##));
    }
}
