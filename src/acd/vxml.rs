//! What is announced as a VoiceXML 2.1 document.

use super::ssml::escaped;

/// Seconds that a caller waits for the recording before the text is read instead.
const FETCH_TIMEOUT: &str = "2s";

/// The document of some texts, or of nothing. `recording`: where the same is recorded, from the place of the document.
///
/// Two forms say the same. The first ends the document, for a telephone system that goes on by itself. A dialogue that
/// calls it by `<subdialog src="...#subdialog"/>` gets the call back.
pub(super) fn document(texts: &[String], language: &str, recording: Option<&str>) -> String {
    let (language, prompt) = (escaped(language), prompt(texts, recording));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <vxml version=\"2.1\" xmlns=\"http://www.w3.org/2001/vxml\" xml:lang=\"{language}\">\n  \
         <form id=\"announcement\">\n    <block>{prompt}</block>\n  </form>\n  \
         <form id=\"subdialog\">\n    <block>{prompt}<return/></block>\n  </form>\n</vxml>\n"
    )
}

fn prompt(texts: &[String], recording: Option<&str>) -> String {
    if texts.is_empty() {
        return String::new();
    }
    let said: String = texts.iter().map(|text| format!("<p>{}</p>", escaped(text))).collect();
    match recording {
        None => format!("<prompt>{said}</prompt>"),
        Some(place) => {
            let place = escaped(place);
            format!("<prompt><audio src=\"{place}\" fetchtimeout=\"{FETCH_TIMEOUT}\">{said}</audio></prompt>")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_is_played_and_the_text_is_read_where_it_cannot_be_had() {
        let texts = ["A & B.".to_owned(), "C.".to_owned()];
        let audio = "<prompt><audio src=\"all.wav?text=1&amp;x\" fetchtimeout=\"2s\"><p>A &amp; B.</p><p>C.</p></audio>\
                     </prompt>";
        let recorded = document(&texts, "en-US", Some("all.wav?text=1&x"));
        assert_eq!(recorded.matches(audio).count(), 2, "{recorded}");
        assert_eq!(recorded.matches("<return/>").count(), 1);
        let unrecorded = document(&texts, "en-US", None);
        assert!(unrecorded.contains("<block><prompt><p>A &amp; B.</p><p>C.</p></prompt></block>"), "{unrecorded}");
        for document in [recorded, unrecorded, document(&[], "sv", None)] {
            crate::acd::tests::xml_text(&document);
        }
        assert!(!document(&[], "sv", None).contains("prompt"));
    }
}
