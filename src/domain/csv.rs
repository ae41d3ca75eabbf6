//! Lines of a table for other programs, as RFC 4180 has them.

/// Returns a field: in quotes if it holds what would end it.
pub fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.into()
    }
}

/// Returns a line of fields that others wrote. A spreadsheet takes a field that begins like a formula for one and may carry
/// it out; an apostrophe before it makes it a text.
pub fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|field| quoted(&harmless(field))).collect();
    fields.join(",") + "\r\n"
}

fn harmless(field: &str) -> String {
    match field.trim_start().starts_with(['=', '+', '-', '@']) || field.starts_with(['\t', '\r']) {
        true => format!("'{field}"),
        false => field.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_field_and_never_a_formula() {
        for (field, written) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("  =1", "'  =1"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=cmd|' /C calc'!A0,x", "\"'=cmd|' /C calc'!A0,x\""),
            ("a=1", "a=1"),
        ] {
            assert_eq!(line([field]), format!("{written}\r\n"), "{field:?}");
        }
        assert_eq!(line(["a", "=b", "c,d"]), "a,'=b,\"c,d\"\r\n");
    }
}
