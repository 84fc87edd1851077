//! What is announced as SSML 1.1, for text-to-speech of others.

/// The document of some texts; a paragraph each, so that a voice pauses between them.
pub(super) fn document(texts: &[String], language: &str) -> String {
    let paragraphs: String = texts.iter().map(|text| format!("  <p>{}</p>\n", escaped(text))).collect();
    let language = escaped(language);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <speak version=\"1.1\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"{language}\">\n\
         {paragraphs}</speak>\n"
    )
}

/// For the text of an element and for an attribute's value.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_paragraphs_and_what_looks_like_a_tag_is_read_out() {
        let texts = ["Bell & Sons: <break time=\"9h\"/>".to_owned(), "]]> 'x'".to_owned()];
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <speak version=\"1.1\" xmlns=\"http://www.w3.org/2001/10/synthesis\" xml:lang=\"en-US\">\n  \
            <p>Bell &amp; Sons: &lt;break time=&quot;9h&quot;/&gt;</p>\n  <p>]]&gt; &apos;x&apos;</p>\n</speak>\n";
        let document = document(&texts, "en-US");
        assert_eq!(document, expected);
        assert_eq!(crate::acd::tests::xml_text(&document), "Bell & Sons: <break time=\"9h\"/> ]]> 'x'");
    }
}
