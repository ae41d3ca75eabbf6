//! How a script is handed to PowerShell: encoded, so that no quote in it means anything to anybody on the way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Begins every script: errors end it, nothing but the answer is printed, and in UTF-8.
pub(super) const BEGINNING: &str = "$ErrorActionPreference = 'Stop'\n\
    $ProgressPreference = 'SilentlyContinue'\n\
    [Console]::OutputEncoding = New-Object Text.UTF8Encoding $false\n";

/// Returns the arguments that make PowerShell run `script` and nothing else.
pub(super) fn arguments(script: &str) -> Vec<String> {
    let units = script.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let fixed = ["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass", "-EncodedCommand"];
    fixed.into_iter().map(str::to_owned).chain([STANDARD.encode(units)]).collect()
}

/// Reads the one document that a script prints, whatever its host printed before it.
pub(super) fn document(printed: &str) -> Option<Value> {
    let starts = printed.match_indices('{').map(|(at, _)| at);
    starts.take(20).find_map(|at| {
        let mut documents = serde_json::Deserializer::from_str(&printed[at..]).into_iter::<Value>();
        documents.next()?.ok().filter(Value::is_object)
    })
}

/// Windows PowerShell writes a list of one as the one, and an empty list as nothing.
pub(super) fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(all) => all,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// Returns the texts of a list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let text =
        |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    list(value).iter().filter_map(text).collect()
}

/// Writes a code as people look it up.
pub(super) fn code_text(code: u32) -> String {
    format!("0x{code:08X}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_script_arrives_as_it_was_written() {
        let script = "Write-Output 'ä \"x\" $y; 書'";
        let arguments = arguments(script);
        assert_eq!(arguments[arguments.len() - 2], "-EncodedCommand");
        let bytes = STANDARD.decode(arguments.last().unwrap()).unwrap();
        let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(String::from_utf16(&units).unwrap(), script);
    }

    #[test]
    fn the_document_is_found_behind_what_was_printed_before_it() {
        for (printed, expected) in [
            (r#"{"ok":true}"#, Some(json!({ "ok": true }))),
            ("\u{feff}WARNING: {a} is old\r\n{\"ok\":false}\r\n", Some(json!({ "ok": false }))),
            ("{\"ok\":", None),
            ("", None),
        ] {
            assert_eq!(document(printed), expected, "{printed:?}");
        }
        assert_eq!(
            (list(&json!("a")).len(), list(&json!(["a", "b"])).len(), list(&json!(null)).len()),
            (1, 2, 0)
        );
    }
}
