//! What a container's image is made for.

use serde_json::Value;

use crate::domain::registry::Platform;

/// Returns the platform of a container if it is another one than the Engine's, which the Engine takes where none is named. By the
/// container, if it says which manifest of its image it has; else by the image.
pub fn other_platform(container: &Value, image: &Value, engine: Option<&Platform>) -> Option<Platform> {
    let engine = engine?;
    let picked = container.get("ImageManifestDescriptor").and_then(|manifest| manifest.get("platform"));
    let own = picked
        .and_then(|picked| read(picked, ["os", "architecture", "variant"]))
        .or_else(|| read(image, ["Os", "Architecture", "Variant"]))?;
    ((&own.os, &own.architecture) != (&engine.os, &engine.architecture)).then_some(own)
}

fn read(from: &Value, keys: [&str; 3]) -> Option<Platform> {
    let [os, architecture, variant] = keys.map(|key| from.get(key).and_then(Value::as_str));
    let is_said = |text: &&str| !text.is_empty();
    Some(Platform::new(os.filter(is_said)?, architecture.filter(is_said)?, variant))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_platform_is_named_where_the_engine_would_take_another_one() {
        let engine = Platform::new("linux", "amd64", None);
        let image = |architecture: &str, variant: &str| json!({ "Os": "linux", "Architecture": architecture, "Variant": variant });
        let picked = |architecture: &str| json!({ "ImageManifestDescriptor": { "platform": { "os": "linux", "architecture": architecture } } });
        for (container, image, expected) in [
            (json!({}), image("amd64", ""), None),
            (json!({}), image("arm64", "v8"), Some("linux/arm64/v8")),
            (json!({}), image("386", ""), Some("linux/386")),
            (json!({}), image("", ""), None),
            (json!({}), Value::Null, None),
            (picked("arm64"), image("amd64", ""), Some("linux/arm64")),
            (picked("amd64"), image("arm64", ""), None),
        ] {
            let found =
                other_platform(&container, &image, Some(&engine)).map(|platform| platform.to_string());
            assert_eq!(found.as_deref(), expected, "{container} {image}");
        }
        assert_eq!(
            other_platform(&json!({}), &image("arm64", ""), None),
            None,
            "the Engine does not say what it is"
        );
    }
}
